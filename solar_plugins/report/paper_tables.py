"""Tables 2 to 7 of the paper with the run's own scores below each printed row."""

from __future__ import annotations

import json

from solar_plugins.evaluation import paper
from solar_plugins.evaluation.benchmarks import BENCHMARKS, BY_KEY
from solar_plugins.evaluation.paper import PaperRow
from solar_plugins.report import results
from solar_plugins.report.results import ModelRow
from solar_plugins.report.run import NOT_RUN, Run
from solar_plugins.report.tables import Grid

TITLES = {
    2: "Table 2: pretrained models",
    3: "Table 3: data of the instruction tuning",
    4: "Table 4: data of the alignment tuning",
    5: "Table 5: the SFT model that alignment starts from",
    6: "Table 6: candidates for the merge",
    7: "Table 7: merge methods",
}


def paper_tables(run: Run) -> list[Grid]:
    """One grid for every table of the paper of which the run evaluates a model.

    A row of the paper has a line as printed, a line as measured with its standard errors and,
    where the benchmarks are the paper's own, a line with the difference. A row of Tables 3 to 7
    that this run does not evaluate stays, marked as not run.
    """
    measured = {row.model: row for row in results.model_rows(run)}
    miniature = results.is_miniature(run)
    grids = []
    for number, title in TITLES.items():
        rows = [(row, _stage(row, measured)) for row in paper.table(number)]
        if number == 2:  # most of its models are other people's
            rows = [(row, stage) for row, stage in rows if stage is not None]
        if any(stage is not None for _, stage in rows):
            lines = [
                line
                for row, stage in rows
                for line in _lines(row, measured.get(stage or ""), compare=not miniature)
            ]
            columns = ["model", "", *[benchmark.title for benchmark in BENCHMARKS], "H6"]
            grids.append(Grid(title, columns, lines, [_note(miniature)], left=2))
    tested = contamination_results(run)
    return [*grids, contamination_grid(tested)] if tested else grids


def contamination_results(run: Run) -> dict[str, dict]:
    """What `solar contamination` left beside the models of the run, by the model's name."""
    files = {name: run.folder / f"{name}.contamination.json" for name in run.stages}
    return {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name, file in files.items()
        if file.is_file()
    }


def contamination_grid(tested: dict[str, dict]) -> Grid:
    """Table 9 as printed, and below it the tested models with their standard errors."""
    keys = list(paper.TABLE_9)
    lines = [["SOLAR 10.7B-Instruct", "paper", *[f"{paper.TABLE_9[key]:.2f}" for key in keys]]]
    for name, result in tested.items():
        found = [result["benchmarks"].get(key) for key in keys]
        cells = [
            NOT_RUN if one is None else f"{one['share_below_0_1']:.2f} ±{one['stderr']:.2f}"
            for one in found
        ]
        lines.append(["", name, *cells])
    columns = ["model", "", *[BY_KEY[key].title for key in keys]]
    title = "Table 9: contamination test, share of items with result < 0.1"
    note = f"{paper.CONTAMINATION_THRESHOLD} or more: the benchmark was probably trained on."
    return Grid(title, columns, lines, [note], left=2)


def _stage(row: PaperRow, measured: dict[str, ModelRow]) -> str | None:
    """The evaluated stage that makes the model of `row`; tables name some models twice."""
    names = [stage for other in paper.ROWS if other.model == row.model for stage in other.stages]
    return next((stage for stage in names if stage in measured), None)


def _lines(row: PaperRow, ours: ModelRow | None, compare: bool) -> list[list[str]]:
    printed = [row.score(benchmark.key) for benchmark in BENCHMARKS]
    lines = [[row.model, "paper", *[f"{value:.2f}" for value in printed], f"{row.h6:.2f}"]]
    if ours is None:
        return [*lines, ["", NOT_RUN, *[""] * (len(printed) + 1)]]
    scores = [ours.scores[benchmark.key] for benchmark in BENCHMARKS]
    cells = [_score(score.value, score.stderr, ours.missing) for score in scores]
    cells.append(_score(ours.h6, ours.h6_stderr, ours.missing))
    lines.append(["", ours.model, *cells])
    if compare:
        pairs = zip([*[score.value for score in scores], ours.h6], [*printed, row.h6], strict=True)
        apart = [
            "" if value is None else f"{100 * value - in_paper:+.2f}" for value, in_paper in pairs
        ]
        lines.append(["", "difference", *apart])
    return lines


def _score(value: float | None, stderr: float | None, missing: str) -> str:
    if value is None:
        return missing
    return f"{100 * value:.2f}" + ("" if stderr is None else f" ±{100 * stderr:.2f}")


def _note(miniature: bool) -> str:
    if miniature:
        return (
            "The miniature benchmarks are not the paper's: compare how the rows differ from one "
            "another, not the values."
        )
    return "± is one standard error. A point or two can come from the version of the harness alone."
