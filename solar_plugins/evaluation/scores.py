"""The results of one model as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from solar_plugins.evaluation.benchmarks import BENCHMARKS, BY_TASK, CONTAMINABLE, notes_of
from solar_plugins.evaluation.paper import TABLE_9, harness_row, row_of_model

NOT_RUN = "not run"


def percent(value: float | None, missing: str = NOT_RUN) -> str:
    """A share between 0 and 1 as the paper prints it, in percent with two digits."""
    return missing if value is None else f"{100 * value:.2f}"


def _table(title: str, headings: list[str], notes: list[str]) -> Table:
    caption = "\n".join(notes) or None
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("benchmark", "") else "right")
    return table


def scores_table(result: Mapping) -> Table:
    """The six scores and H6 of a result file, guessing, and the paper's row on its own six."""
    by_benchmark = {task["benchmark"]: task for task in result["tasks"].values()}
    rows = []
    if all(name in BY_TASK for name in result["tasks"]):  # and not the miniature
        row = row_of_model(result["model"], result["model_path"])
        if row is not None:
            rows.append((f"paper: {row.model} (Table {row.table})", row))
        row = harness_row(result["model_path"])
        if row is not None:
            rows.append(("the same under a later lm-eval (evalverse)", row))
    title = f"{result['model']}, lm-eval {result['harness']['lm_eval']}"
    if result["limit"] is not None:
        title += f"; a trial with {result['limit']:g} items per task, not a score"
    notes = notes_of(result)
    notes += ["losses in bits per byte of text"] if result["losses"] else []
    notes += [f"{name} is not run: {cause}" for name, cause in result["not_run"].items()]
    headings = ["benchmark", "score", "± stderr", "chance", "few-shot", "items"]
    table = _table(title, [*headings, *(heading for heading, _ in rows)], notes)
    not_run = {BY_TASK[name].key for name in result["not_run"] if name in BY_TASK}
    for benchmark in BENCHMARKS:
        task = by_benchmark.get(benchmark.key)
        if task is None and benchmark.key not in not_run:
            continue  # nobody asked for it
        cells = [NOT_RUN, "", "", "", ""]
        if task is not None:
            cells = [
                percent(task["value"], "not a number"),
                percent(task["stderr"], ""),
                percent(task["chance"], ""),
                "" if task["num_fewshot"] is None else str(task["num_fewshot"]),
                str(task["n"]),
            ]
        printed = [f"{row.score(benchmark.key):.2f}" for _, row in rows]
        table.add_row(benchmark.title, *cells, *printed)
    for name in result["not_run"]:
        if name not in BY_TASK:
            table.add_row(name, NOT_RUN)
    if len(by_benchmark) + len(result["not_run"]) >= len(BENCHMARKS):
        table.add_section()
        cells = [percent(result["h6"]), percent(result["h6_stderr"], ""), "", "", ""]
        table.add_row("H6", *cells, *[f"{row.h6:.2f}" for _, row in rows], style="bold")
    for name, loss in result["losses"].items():
        error = loss.get("stderr")
        shown = _plain(loss["value"]), "" if error is None else _plain(error)
        table.add_row(name, *shown, "", "", str(loss["n"]))
    for name, kept in result["other"].items():
        for metric, value in kept["values"].items():
            if "_stderr" not in metric:
                error = kept["values"].get(metric.replace(",", "_stderr,", 1))
                shown = _plain(value), "" if error is None else _plain(error)
                table.add_row(f"{name} {metric.partition(',')[0]}", *shown, "", "", str(kept["n"]))
    return table


def _plain(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.4f}"


def contamination_table(result: Mapping) -> Table:
    """The shares that `solar contamination` found, with the threshold and the paper's Table 9."""
    notes = [
        f"{result['threshold']} or more: the benchmark was probably trained on. Table 9 is of "
        "SOLAR 10.7B-Instruct with SOLAR 10.7B as reference.",
        *(f"{key} is not run: {cause}" for key, cause in result["not_run"].items()),
    ]
    title = f"{result['model']}, neighbours by {result['reference']}"
    headings = ["benchmark", "result < 0.1", "± stderr", "items", "Table 9", ""]
    table = _table(title, headings, notes)
    for key, benchmark in CONTAMINABLE.items():
        entry = result["benchmarks"].get(key)
        if entry is None and key not in result["not_run"]:
            continue
        cells = [NOT_RUN, "", "", f"{TABLE_9[key]:.2f}", ""]
        if entry is not None:
            share = entry["share_below_0_1"]
            cells[:3] = [f"{share:.2f}", f"{entry['stderr']:.2f}", str(entry["n"])]
            cells[4] = "contaminated" if share >= result["threshold"] else "below"
        table.add_row(benchmark.title, *cells)
    return table
