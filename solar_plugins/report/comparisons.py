"""Models of one run side by side: all of them, merges beside their parents, and ablations.

An ablation is several trainings of one file. The chain says what varies: the keys in the stages'
``set``, and the model that each starts from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solar_plugins.depth_up_scaling.layer_map import seams
from solar_plugins.depth_up_scaling.picture import how_far
from solar_plugins.report import results
from solar_plugins.report.charts import Dot, Figure, Points, Series, dot_chart, line_chart, smooth
from solar_plugins.report.results import ModelRow
from solar_plugins.report.run import NOT_RUN, Run, StageRun
from solar_plugins.report.stacks import stack_figures
from solar_plugins.report.tables import Grid, number

BEFORE, AFTER = "as training found it", "as it left it"
FROM = "from"


@dataclass(frozen=True)
class Comparison:
    """Models that belong together.

    Attributes:
        grid: their table, where there is more to say than the pictures show.
    """

    title: str
    drawn: list[Figure]
    grid: Grid | None = None

    @property
    def figures(self) -> list[Figure]:
        return [figure for figure in self.drawn if figure.picture]


@dataclass(frozen=True)
class Variant:
    """One training of a file that several run.

    Attributes:
        changed: its value of each key in which they differ; None where nothing says one.
        before: the evaluated models that it came from: the one that went in and, where that one
            was up-scaled first, the up-scaled one as training found it.
        after: the trained model's row.
    """

    stage: StageRun
    changed: dict[str, Any]
    before: tuple[ModelRow, ...]
    after: ModelRow | None

    @property
    def seam(self) -> str:
        """How far apart the base's layers are that an up-scaling lets meet."""
        layers = self.stage.proofs.get("depth_up_scaling", {}).get("layer_map", [])
        return ", ".join(how_far(layers[at - 1], layers[at]) for at in seams(layers))

    @property
    def starts(self) -> tuple[tuple[str, float], ...]:
        """Held-out losses of the models before."""
        return tuple((row.model, row.loss) for row in self.before if row.loss is not None)


def comparisons(run: Run) -> list[Comparison]:
    """All models, the merges beside their parents, and each file that several trainings run."""
    rows = {row.model: row for row in results.model_rows(run)}
    merges = [
        (rows[stage.name], [rows[name] for name in stage.sources])
        for stage in run.stages.values()
        if stage.kind == "merge" and len(stage.sources) > 1
        if {stage.name, *stage.sources} <= rows.keys()
    ]
    both = [
        Figure("H6 with one standard error", _h6_dots((row, ()) for row in rows.values())),
        Figure("H6 of each merge, its parents hollow", _h6_dots(merges)),
    ]
    found = [Comparison("All models", both), *_ablations(run, rows)]
    if run.measured_stacks is not None:
        title = "Ways to grow the base, before training"
        found.append(Comparison(title, stack_figures(run.measured_stacks)))
    return [one for one in found if one.figures]


def _ablations(run: Run, rows: dict[str, ModelRow]) -> Iterable[Comparison]:
    by_file: dict[Path, list[StageRun]] = {}
    for stage in run.stages.values():
        if stage.kind == "train":
            by_file.setdefault(run.chain.stages[stage.name].file, []).append(stage)
    up_scaled = {found.stage: found.up_scaled for found in results.up_scalings(run)}
    unit = results.loss_unit(run)
    for file, stages in by_file.items():
        set_ = {key: None for stage in stages for key in run.chain.settings.get(stage.name, {})}
        values = {key: [_value(run, stage, key) for stage in stages] for key in [FROM, *set_]}
        values = {key: found for key, found in values.items() if len({*map(str, found)}) > 1}
        if not values:
            continue
        variants = []
        for number_, stage in enumerate(stages):
            names = [*stage.sources, *(up_scaled.get(stage.name) or ())[:1]]
            before = tuple(rows[name] for name in names if name in rows)
            changed = {key: found[number_] for key, found in values.items()}
            variants.append(Variant(stage, changed, before, rows.get(stage.name)))
        named = ", ".join("start" if key == FROM else _short(key) for key in values)
        title = f"{file.name} with {'another' if len(values) == 1 else 'other'} {named}"
        scored = [(variant.after, variant.before) for variant in variants if variant.after]
        h6 = Figure("H6 with one standard error, before the training hollow", _h6_dots(scored))
        figures = [h6, _losses(variants, unit or ""), *_curves(variants)]
        yield Comparison(title, figures, _grid(title, variants, unit, run.asks_for_h6))


def _value(run: Run, stage: StageRun, key: str) -> Any:
    """What the chain, else the file that was run, else the plugin's proof has for `key`."""
    if key == FROM:
        return ", ".join(stage.sources)
    found: Any = stage.recipe
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    block, _, rest = key.partition(".")
    proof = stage.proofs.get(block, {}).get(rest)
    return run.chain.settings.get(stage.name, {}).get(key, proof if found is None else found)


def _grid(title: str, variants: list[Variant], loss_unit: str | None, with_h6: bool) -> Grid:
    """One line per training: what it changed, its depth, and its scores before and after."""
    seam = ["at the seam"] if any(variant.seam for variant in variants) else []
    keys = [*map(_short, variants[0].changed)]
    columns = [
        "stage",
        *keys,
        "layers",
        *seam,
        *["H6"] * with_h6,
        *([loss_unit] if loss_unit else []),
    ]
    rows = []
    for variant in variants:
        layers = variant.stage.facts.get("num_hidden_layers")
        cells = [variant.stage.name, *map(_shown, variant.changed.values())]
        cells += [number(layers, "", NOT_RUN), *[variant.seam] * len(seam)]
        both = [*variant.before[-1:], variant.after] if variant.before else [None, variant.after]
        h6 = [100 * row.h6 if row and row.h6 is not None else None for row in both]
        losses = [row.loss if row else None for row in both]
        for values, form, shown in ((h6, ".2f", with_h6), (losses, ".4f", loss_unit)):
            if shown:
                cells.append(" -> ".join(number(value, form, NOT_RUN) for value in values))
        rows.append(cells)
    note = "Scores and loss: as training found the model -> as it left it."
    return Grid(title, columns, rows, [note], left=1 + len(keys))


def _short(key: str) -> str:
    """The last part of a dotted key."""
    return key.rpartition(".")[2]


def _shown(value: Any) -> str:
    return f"{len(value)} entries" if isinstance(value, list | dict) else number(value, "")


def _h6_dots(pairs: Iterable[tuple[ModelRow, Iterable[ModelRow]]]) -> str:
    """H6 of each model, and hollow those of the models that it came from."""
    dots = []
    for row, sources in pairs:
        if row.h6 is not None:
            error = row.h6_stderr
            before = tuple((one.model, 100 * one.h6) for one in sources if one.h6 is not None)
            dots.append(Dot(row.model, 100 * row.h6, error and 100 * error, before))
    several = len(dots) > 1 or any(dot.before for dot in dots)
    return dot_chart("H6 by model", dots) if several else ""


def _losses(variants: list[Variant], unit: str) -> Figure:
    """Held-out loss before and after; against what varies, where that is one number."""
    what = f"Held-out loss, {unit}"
    measured = [
        (variant, variant.after.loss)
        for variant in variants
        if variant.after and variant.after.loss is not None
    ]
    if len(measured) < 2:
        return Figure(what, "")
    changed = [[*variant.changed.values()] for variant, _ in measured]
    if all(len(values) == 1 and type(values[0]) in (int, float) for values in changed):
        xs = [float(values[0]) for values in changed]
        ended = [(x, loss) for x, (_, loss) in zip(xs, measured, strict=True)]
        started = [
            (x, variant.before[-1].loss)
            for x, (variant, _) in zip(xs, measured, strict=True)
            if variant.before and variant.before[-1].loss is not None
        ]
        lines = [Series(BEFORE, sorted(started), 1), Series(AFTER, sorted(ended), 2)]
        names = {x: variant.seam for x, (variant, _) in zip(xs, measured, strict=True)}
        label = _short(next(iter(variants[0].changed)))
        label += ", distance at the seam" if any(names.values()) else ""
        return Figure(what, line_chart(what, lines, label, names=names), lines)
    dots = [Dot(one.stage.name, loss, None, one.starts) for one, loss in measured]
    return Figure(f"{what}, before the training hollow", dot_chart(what, dots, digits=4))


def _curves(variants: list[Variant]) -> list[Figure]:
    """What the trainings logged, over each other; the lines of one sDPO step end with it."""
    preferences = any(results.preference_logs(variant.stage) for variant in variants)
    logged: dict[str, Callable[[StageRun], Iterable[Points]]] = {
        "loss": lambda stage: [results.series(stage, "loss")]
    }
    if preferences:
        logged = {
            "reward accuracy": lambda stage: results.by_step(stage, "rewards/accuracies"),
            "KL to the start": lambda stage: results.kl_to_start(stage).values(),
        }
    figures = []
    for what, parts in logged.items():
        lines = [
            Series(variant.stage.name, smooth(part), color)
            for color, variant in enumerate(variants)
            for part in parts(variant.stage)
        ]
        several = len({line.label for line in lines if line.points}) > 1
        picture = line_chart(what, lines, "step") if several else ""
        figures.append(Figure(f"Training: {what}", picture, lines))
    return figures
