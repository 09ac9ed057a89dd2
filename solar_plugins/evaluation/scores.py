"""One model's six scores as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from solar_plugins.evaluation.benchmarks import BENCHMARKS, BY_TASK
from solar_plugins.evaluation.paper import row_of_stage

NOT_RUN = "not run"


def percent(value: float | None, missing: str = NOT_RUN) -> str:
    """A share between 0 and 1 as the paper prints it, in percent with two digits."""
    return missing if value is None else f"{100 * value:.2f}"


def scores_table(result: Mapping) -> Table:
    """The six scores and H6 of a result file beside chance, and the paper's row on its own six."""
    by_benchmark = {task["benchmark"]: task for task in result["tasks"].values()}
    real = all(name in BY_TASK for name in result["tasks"])
    row = row_of_stage(result["model"]) if real else None
    table = Table(title=_title(result), title_justify="left", caption_justify="left")
    table.add_column("benchmark")
    for heading in ("score", "± stderr", "chance", "few-shot", "items"):
        table.add_column(heading, justify="right")
    if row is not None:
        table.add_column(f"paper: {row.model} (Table {row.table})", justify="right")
    for benchmark in BENCHMARKS:
        task = by_benchmark.get(benchmark.key)
        cells = [NOT_RUN, "", "", "", ""]
        if task is not None:
            cells = [
                percent(task["value"], "not a number"),
                percent(task["stderr"], ""),
                percent(task["chance"], ""),
                "" if task["num_fewshot"] is None else str(task["num_fewshot"]),
                str(task["n"]),
            ]
        paper = [f"{row.score(benchmark.key):.2f}"] if row is not None else []
        table.add_row(benchmark.title, *cells, *paper)
    table.add_section()
    paper = [f"{row.h6:.2f}"] if row is not None else []
    table.add_row("H6", percent(result["h6"]), "", "", "", "", *paper, style="bold")
    for name, loss in result["losses"].items():
        value = "not a number" if loss["value"] is None else f"{loss['value']:.4f}"
        table.add_row(name, value, "", "", "", str(loss["n"]), *([""] if row is not None else []))
    if result["losses"]:
        table.caption = "losses in bits per byte of text"
    return table


def _title(result: Mapping) -> str:
    title = f"{result['model']}, lm-eval {result['harness']['lm_eval']}"
    if result["limit"] is not None:
        title += f"; a trial with {result['limit']:g} items per task, not a score"
    return title
