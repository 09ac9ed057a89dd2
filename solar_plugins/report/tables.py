"""The tables of a run: for the terminal (`results_table`) and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from solar_plugins.chain.run.record import FAILED
from solar_plugins.evaluation.benchmarks import BENCHMARKS
from solar_plugins.report import results
from solar_plugins.report.results import Score
from solar_plugins.report.run import NOT_RUN, Run, read_run

ABOVE = "*"
FOLDED = {  # so that the scores fit a terminal of 80 columns
    "HellaSwag": "Hella-\nSwag",
    "TruthfulQA": "Truthful-\nQA",
    "Winogrande": "Wino-\ngrande",
    "bits per byte": "bits per\nbyte",
}


@dataclass(frozen=True)
class Grid:
    """A table of text: what it shows, its columns (the first to the left, the others to the right),
    its rows, and notes that belong below it."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    left: int = 1

    def to_rich(self) -> Table:
        table = Table(
            title=Text(self.title, style="bold"),
            caption=Text("\n".join(self.notes), style="dim") if self.notes else None,
            title_justify="left",
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        for number, column in enumerate(self.columns):
            table.add_column(
                FOLDED.get(column, column),
                justify="left" if number < self.left else "right",
                no_wrap=True,
            )
        for row in self.rows:
            table.add_row(*[Text(cell) for cell in row])
        return table

    def to_markdown(self) -> str:
        marks = ["---" if i < self.left else "---:" for i in range(len(self.columns))]
        lines = [f"### {self.title}", ""]
        lines += [_markdown_row(row) for row in [self.columns, marks, *self.rows]]
        lines += ["", *[f"{note}  " for note in self.notes]]
        return "\n".join(lines).rstrip() + "\n"


def results_table(run_dir: str | Path) -> Group:
    """What a run shows, for the terminal: scores, loss around the up-scaling, reward accuracy."""
    grids = [grid.to_rich() for grid in result_grids(read_run(run_dir))]
    return (
        Group(*grids) if grids else Group("The chain evaluates no model, so there are no scores.")
    )


def result_grids(run: Run) -> list[Grid]:
    """The result tables that the run has anything for."""
    grids = [scores_grid(run), up_scaling_grid(run), rewards_grid(run), failures_grid(run)]
    return [grid for grid in grids if grid.rows]


def scores_grid(run: Run) -> Grid:
    """Six scores, H6 and held-out loss per model, chance first."""
    rows = results.model_rows(run)
    unit = results.loss_unit(run)
    columns = ["model", *[benchmark.title for benchmark in BENCHMARKS], "H6"]
    levels = results.chance_levels(rows)
    chance = ["chance", *[_number(levels[benchmark.key], "-") for benchmark in BENCHMARKS], "-"]
    known = any(level is not None for level in levels.values())
    body = [chance] if known else []
    for row in rows:
        cells = [score_cell(row.scores[benchmark.key], row.missing) for benchmark in BENCHMARKS]
        body.append([row.model, *cells, _number(row.h6, row.missing)])
    if unit is not None:
        columns.append(unit)
        losses = [loss_cell(row.loss, row.missing) for row in rows]
        for cells, loss in zip(body, ["-", *losses] if known else losses, strict=True):
            cells.append(loss)
    notes = [f"{ABOVE} more than two standard errors above chance"] if known else []
    if results.is_miniature(run):
        notes.append(
            "The miniature benchmarks are not the paper's: compare the rows, not the values."
        )
    return Grid("Scores in percent, higher is better", columns, body, notes)


def up_scaling_grid(run: Run) -> Grid:
    """Held-out loss of the base, of the up-scaled model before training, and after it."""
    rows = []
    for found in results.up_scalings(run):
        if any(loss is not None for _, (_, loss) in found.losses):
            rows += [[what, model, loss_cell(loss)] for what, (model, loss) in found.losses]
        # else a chain that goes on from models that another one has measured
    unit = results.loss_unit(run)
    columns = ["", "model", unit or "loss"]
    return Grid("Held-out loss around the up-scaling", columns, rows if unit else [], left=2)


def rewards_grid(run: Run) -> Grid:
    """Reward accuracy at the start and the end of every preference step."""
    rows = [
        [
            found.stage,
            str(found.step),
            "-" if found.rows is None else f"{found.rows:,}",
            f"{found.first:.3f}",
            f"{found.last:.3f}",
            "-" if found.margin_last is None else f"{found.margin_last:.3f}",
        ]
        for found in results.rewards(run)
    ]
    return Grid(
        "Reward accuracy over each preference step",
        ["stage", "step", "pairs", "start", "end", "margin at end"],
        rows,
        [
            "Means over the first and the last fifth of the step's logs. Guessing is 0.5; a step",
            "begins near 0, since policy and reference are one model and ties do not count.",
        ],
    )


def failures_grid(run: Run) -> Grid:
    """Stages that failed, with their line."""
    rows = [
        [stage.name, stage.record.error or "no cause recorded"]
        for stage in run.stages.values()
        if stage.record is not None and stage.state == FAILED
    ]
    return Grid("Failed stages", ["stage", "error"], rows, left=2)


def stages_grid(run: Run) -> Grid:
    """Every stage: state, size, time and memory."""
    rows = []
    for stage in run.stages.values():
        record = stage.record
        facts = stage.facts
        rows.append(
            [
                stage.name,
                stage.kind,
                ", ".join(stage.sources)
                if len(stage.sources) < 4
                else f"{len(stage.sources)} models",
                stage.state,
                str(facts["num_hidden_layers"]) if "num_hidden_layers" in facts else "",
                f"{facts['parameters']:,}" if "parameters" in facts else "",
                stage.rows,
                duration(record.wall_s) if record and record.wall_s else "",
                f"{record.peak_memory_gib:.2f}" if record and record.peak_memory_gib else "",
            ]
        )
    columns = ["stage", "kind", "from", "state", "layers", "parameters", "rows"]
    columns += ["time", "peak GiB"]
    return Grid("Stages", columns, rows, left=4)


def score_cell(score: Score, missing: str) -> str:
    """A score in percent, marked where it is clearly above chance."""
    return _number(score.value, missing) + (ABOVE if score.above_chance else "")


def loss_cell(loss: float | None, missing: str = NOT_RUN) -> str:
    return missing if loss is None else f"{loss:.4f}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(75), duration(7260)
    ('1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _number(share: float | None, missing: str) -> str:
    return missing if share is None else f"{100 * share:.2f}"


def _markdown_row(cells: list[str]) -> str:
    safe = [" ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;") for cell in cells]
    return f"| {' | '.join(safe)} |"
