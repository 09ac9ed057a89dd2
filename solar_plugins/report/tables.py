"""The tables of a run, for the terminal, the page and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from solar_plugins.chain.run.record import FAILED
from solar_plugins.evaluation.benchmarks import sample_note
from solar_plugins.report import results
from solar_plugins.report.run import NOT_RUN, Run
from solar_plugins.terminal import print_whole

ABOVE = "*"
BAR = "\\|"  # in a cell of Markdown
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
            is_left = number < self.left
            table.add_column(FOLDED.get(column, column), justify="left" if is_left else "right")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def to_markdown(self) -> str:
        """The table without its title, and the notes."""
        marks = ["---" if i < self.left else "---:" for i in range(len(self.columns))]
        lines = [
            f"| {' | '.join(' '.join(cell.split()).replace('|', BAR) for cell in row)} |"
            for row in [self.columns, marks, *self.rows]
        ]
        lines += ["", *[f"{note}  " for note in self.notes]]
        return "\n".join(lines).replace("<", "&lt;").rstrip() + "\n"


def number(value: Any, form: str = ".2f", missing: str = "-") -> str:
    """A value in the format `form`, or what is written where there is none."""
    return missing if value is None else format(value, form)


def percent(share: float | None, missing: str) -> str:
    return number(None if share is None else 100 * share, ".2f", missing)


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


def print_results(run: Run, console: Console | None = None) -> None:
    """What a run shows, for the terminal: scores, loss around the up-scaling, reward accuracy."""
    console = console or Console()
    if not (grids := result_grids(run)):
        console.print("The chain evaluates no model, so there are no scores.")
    print_whole(console, *[grid.to_rich() for grid in grids])


def result_grids(run: Run) -> list[Grid]:
    """The result tables that the run has anything for."""
    made = (scores_grid, others_grid, up_scaling_grid, rewards_grid, failures_grid)
    return [grid for make in made if (grid := make(run)).rows]


def scores_grid(run: Run) -> Grid:
    """Scores, H6 and held-out loss per model, chance first; only what the chain asks for."""
    rows, unit, levels = results.model_rows(run), results.loss_unit(run), results.chance_levels(run)
    columns = ["model", *results.titles(run), *["H6"] * run.asks_for_h6, *([unit] if unit else [])]
    body = []
    if levels:
        cells = [percent(levels.get(key), "-") for key in run.benchmarks]
        body.append(["chance", *cells, *["-"] * (len(columns) - 1 - len(cells))])
    for row in rows:
        cells = [
            percent(score.value, row.missing) + ABOVE * bool(score.above_chance)
            for score in row.scores.values()
        ]
        cells += [percent(row.h6, row.missing)] * run.asks_for_h6
        body.append([row.model, *cells, *[number(row.loss, ".4f", row.missing)] * bool(unit)])
    notes = [f"{ABOVE} more than two standard errors above chance"] if levels else []
    if results.is_miniature(run):
        notes.append(
            "The miniature benchmarks are not the paper's: compare the rows, not the values."
        )
    sample = sample_note(run.results.values())
    notes += [sample] if sample else []
    rows_of_any = body if len(columns) > 1 else []
    return Grid("Scores in percent, higher is better", columns, rows_of_any, notes)


def others_grid(run: Run) -> Grid:
    """What was measured besides the six and the held-out loss."""
    rows = []
    for row in results.model_rows(run):
        for task, values in row.other.items():
            for metric, value in values.items():
                name, _, filter_ = metric.partition(",")
                if not name.endswith("_stderr"):
                    error = number(values.get(f"{name}_stderr,{filter_}"), ".4f", "")
                    shown = number(value, ".4f", "not a number" if metric else NOT_RUN)
                    rows.append([row.model, task, metric.removesuffix(",none"), shown, error])
    columns = ["model", "task", "metric", "value", "±"]
    return Grid("Other tasks, as lm-eval reports them", columns, rows, left=3)


def up_scaling_grid(run: Run) -> Grid:
    """Held-out loss of the base, of the up-scaled model before training, and after it."""
    rows = [
        [what, model, number(loss, ".4f", NOT_RUN)]
        for found in results.up_scalings(run)
        if any(loss is not None for _, (_, loss) in found.losses)
        # else a chain that goes on from models that another one has measured
        for what, (model, loss) in found.losses
    ]
    unit = results.loss_unit(run)
    columns = ["", "model", unit or "loss"]
    return Grid("Held-out loss around the up-scaling", columns, rows if unit else [], left=2)


def rewards_grid(run: Run) -> Grid:
    """Reward accuracy at the start and the end of every preference step."""
    rows = []
    for one in results.rewards(run):
        means = [number(value, ".3f") for value in (one.first, one.last, one.margin_last)]
        start = [one.stage, str(one.step), number(one.rows, ",")]
        rows.append([*start, *means, number(one.kl_last)])
    columns = ["stage", "step", "pairs", "start", "end", "margin at end", "KL at end"]
    notes = [
        "Means over the first and the last fifth of the step's logs. Guessing is 0.5; a step",
        "begins near 0, since policy and reference are one model and ties do not count.",
    ]
    return Grid("Reward accuracy over each preference step", columns, rows, notes)


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
        sources, record = stage.sources, stage.record
        rows.append(
            [
                stage.name,
                stage.kind,
                ", ".join(sources) if len(sources) < 4 else f"{len(sources)} models",
                stage.state,
                number(stage.facts.get("num_hidden_layers"), "", ""),
                number(stage.facts.get("parameters"), ",", ""),
                stage.rows,
                duration(record.wall_s) if record and record.wall_s else "",
                number((record and record.peak_memory_gib) or None, ".2f", ""),
            ]
        )
    columns = ["stage", "kind", "from", "state", "layers", "parameters", "time", "peak GiB"]
    return Grid("Stages", columns, rows, left=4)


def filter_grid(stage: str, audit: dict[str, Any]) -> Grid:
    """What a FLAN filter removed, by dataset and task."""
    rows, near = [], []
    for dataset in audit["datasets"]:
        for task, reasons in dataset["removed"].items():
            spelt = ", ".join(dataset.get("spellings", {}).get(task, {}))
            rows.append([dataset["source"], task, f"{sum(reasons.values()):,}", spelt])
        near += dataset.get("near_misses", [])
    notes = [f"{audit['rows_removed']:,} of {audit['rows_in']:,} rows removed."]
    notes += [f"Kept, although close to a listed name: {', '.join(near)}"] if near else []
    columns = ["dataset", "task", "rows removed", "as spelt in the data"]
    return Grid(f"FLAN filter of {stage}", columns, rows, [*notes, *audit["recall_ceiling"]], 2)
