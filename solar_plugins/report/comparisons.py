"""Pictures that set the models of one run side by side: what an ablation is made for."""

from __future__ import annotations

from dataclasses import dataclass

from solar_plugins.report import ablations, results
from solar_plugins.report.ablations import Family, short
from solar_plugins.report.charts import Dot, Figure, Series, dot_chart, line_chart, smooth
from solar_plugins.report.results import ModelRow
from solar_plugins.report.run import Run, StageRun
from solar_plugins.report.tables import Grid

BEFORE, AFTER = "as training found it", "as it left it"


@dataclass(frozen=True)
class Comparison:
    """Models that belong together.

    Attributes:
        grid: their table, where there is more to say than the pictures show.
    """

    title: str
    figures: list[Figure]
    grid: Grid | None = None


def comparisons(run: Run) -> list[Comparison]:
    """All models, the merges beside their parents, and each family of trainings."""
    rows = results.model_rows(run)
    found = [
        Comparison(
            "All models",
            [
                Figure("H6 with one standard error", _h6_dots([(row, ()) for row in rows])),
                Figure("H6 of each merge, its parents hollow", _h6_dots(_merges(run, rows))),
            ],
        )
    ]
    unit = results.loss_unit(run)
    for family in ablations.families(run):
        figures = [_h6(family), _losses(family, unit), *_curves(family)]
        found.append(Comparison(family.title, figures, ablations.grid(family, unit)))
    drawn = [
        Comparison(one.title, [figure for figure in one.figures if figure.picture], one.grid)
        for one in found
    ]
    return [one for one in drawn if one.figures]


def _h6_dots(pairs: list[tuple[ModelRow, tuple[ModelRow, ...]]]) -> str:
    """H6 of each model, and hollow those of the models that it came from."""
    dots = []
    for row, sources in pairs:
        if row.h6 is not None:
            error = row.h6_stderr
            before = tuple((one.model, 100 * one.h6) for one in sources if one.h6 is not None)
            dots.append(
                Dot(row.model, 100 * row.h6, None if error is None else 100 * error, before)
            )
    several = len(dots) > 1 or any(dot.before for dot in dots)
    return dot_chart("H6 by model", dots) if several else ""


def _merges(run: Run, rows: list[ModelRow]) -> list[tuple[ModelRow, tuple[ModelRow, ...]]]:
    """The merges of several models that are evaluated with all their parents."""
    by_name = {row.model: row for row in rows}
    found = []
    for stage in run.stages.values():
        names = {stage.name, *stage.sources}
        if stage.kind == "merge" and len(stage.sources) > 1 and names <= by_name.keys():
            found.append((by_name[stage.name], tuple(by_name[name] for name in stage.sources)))
    return found


def _h6(family: Family) -> Figure:
    pairs = [(variant.after, variant.before) for variant in family.variants if variant.after]
    return Figure("H6 with one standard error, before the training hollow", _h6_dots(pairs))


def _losses(family: Family, unit: str | None) -> Figure:
    """Held-out loss before and after; against what varies, where that is one number."""
    measured = [
        (variant, variant.after.model, variant.after.loss)
        for variant in family.variants
        if variant.after and variant.after.loss is not None
    ]
    what = f"Held-out loss, {unit or ''}"
    if len(measured) < 2:
        return Figure(what, "")
    key = family.keys[0]
    values = [variant.changed[key] for variant, _, _ in measured]
    if len(family.keys) == 1 and all(type(value) in (int, float) for value in values):
        started = [
            (float(variant.changed[key]), row.loss)
            for variant, _, _ in measured
            for row in variant.before[-1:]
            if row.loss is not None
        ]
        ended = [(float(variant.changed[key]), loss) for variant, _, loss in measured]
        lines = [Series(BEFORE, sorted(started), 1), Series(AFTER, sorted(ended), 2)]
        names = {float(variant.changed[key]): variant.seam for variant, _, _ in measured}
        label = short(key) + (", distance at the seam" if any(names.values()) else "")
        return Figure(what, line_chart(what, lines, label, names=names), lines)
    dots = [
        Dot(
            model,
            loss,
            None,
            tuple((row.model, row.loss) for row in variant.before if row.loss is not None),
        )
        for variant, model, loss in measured
    ]
    return Figure(f"{what}, before the training hollow", dot_chart(what, dots, digits=4))


def _curves(family: Family) -> list[Figure]:
    """What the trainings logged, over each other; the lines of one sDPO step end with it."""
    preferences = any(results.preference_logs(variant.stage) for variant in family.variants)
    figures = []
    for what in ("reward accuracy", "KL to the start") if preferences else ("loss",):
        lines = [
            Series(variant.stage.name, smooth(part), color)
            for color, variant in enumerate(family.variants)
            for part in _logged(variant.stage, what)
        ]
        several = len({line.label for line in lines}) > 1
        picture = line_chart(what, lines, "step") if several else ""
        figures.append(Figure(f"Training: {what}", picture, lines))
    return figures


def _logged(stage: StageRun, what: str) -> list[list[tuple[float, float]]]:
    """`(step, value)` of one quantity, by sDPO step where it is one of preference training."""
    if what == "loss":
        points = results.series(stage, "loss")
        return [points] if points else []
    if what == "KL to the start":
        return list(results.kl_to_start(stage).values())
    return [
        [(float(log["step"]), log["rewards/accuracies"]) for log in logs]
        for logs in results.preference_logs(stage).values()
    ]
