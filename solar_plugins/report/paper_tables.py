"""Tables 2 to 7 and 9 of the paper with the run's own scores below each printed row."""

from __future__ import annotations

import json

from solar_plugins.chain.data_stage import CONTAMINATION
from solar_plugins.evaluation import paper
from solar_plugins.evaluation.benchmarks import BY_KEY
from solar_plugins.evaluation.paper import PaperRow
from solar_plugins.report import results
from solar_plugins.report.results import ModelRow
from solar_plugins.report.run import NOT_RUN, Run
from solar_plugins.report.tables import Grid, number, percent

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
    where the benchmarks are the paper's own, a line with the difference. A row that this run could
    have made and does not evaluate stays, marked as not run; most of Table 2 are other people's.
    """
    rows = reversed(results.model_rows(run))  # of two models of one row, the first
    measured = {row.paper.model: row for row in rows if row.paper}
    if "Merge v1" in measured:  # section 4.3.2; as submitted to the leaderboard in Table 2
        measured["SOLAR 10.7B-Instruct"] = measured["Merge v1"]
    miniature = results.is_miniature(run)
    note = "± is one standard error. A point or two can come from the version of the harness alone."
    if miniature:
        note = (
            "The miniature benchmarks are not the paper's: compare how the rows differ from one "
            "another, not the values."
        )
    titles = [BY_KEY[key].title for key in run.benchmarks]
    columns = ["model", "", *titles, *["H6"] * run.asks_for_h6]
    grids = []
    for table, title in TITLES.items():
        printed = paper.table(table)
        if run.benchmarks and any(row.model in measured for row in printed):
            lines = [
                line
                for row in printed
                for line in _lines(row, measured.get(row.model), run, compare=not miniature)
            ]
            grids.append(Grid(title, columns, lines, [note], left=2))
    tested = {}
    for name in run.stages:
        for file in (run.folder / f"{name}.contamination.json", run.folder / name / CONTAMINATION):
            if file.is_file():
                result = json.loads(file.read_text(encoding="utf-8"))
                tested[result.get("model", name)] = result
    return [*grids, contamination_grid(tested)] if tested else grids


def contamination_grid(tested: dict[str, dict]) -> Grid:
    """Table 9 as printed, and below it what `solar contamination` left beside models of the run."""
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


def _lines(row: PaperRow, ours: ModelRow | None, run: Run, compare: bool) -> list[list[str]]:
    printed = [row.score(key) for key in run.benchmarks] + [row.h6] * run.asks_for_h6
    lines = [[row.model, "paper", *[f"{value:.2f}" for value in printed]]]
    if ours is None:
        is_ours_to_make = bool(paper.stages_of_row(row.model))
        return lines + [["", NOT_RUN, *[""] * len(printed)]] * is_ours_to_make
    pairs = [(score.value, score.stderr) for score in ours.scores.values()]
    pairs += [(ours.h6, ours.h6_stderr)] * run.asks_for_h6
    cells = [
        percent(value, ours.missing) + ("" if error is None else f" ±{100 * error:.2f}")
        for value, error in pairs
    ]
    lines.append(["", ours.model, *cells])
    if compare:
        apart = [
            None if value is None else 100 * value - in_paper
            for (value, _), in_paper in zip(pairs, printed, strict=True)
        ]
        lines.append(["", "difference", *[number(value, "+.2f", "") for value in apart]])
    return lines
