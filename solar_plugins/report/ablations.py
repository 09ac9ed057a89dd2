"""Trainings that run the same file with something changed: what an ablation is made of.

The chain says what varies: the keys in the stages' ``set``, and the model that each starts from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from solar_plugins.depth_up_scaling.layer_map import seams
from solar_plugins.depth_up_scaling.picture import how_far
from solar_plugins.report import results
from solar_plugins.report.results import ModelRow
from solar_plugins.report.run import NOT_RUN, Run, StageRun
from solar_plugins.report.tables import Grid

FROM = "from"


@dataclass(frozen=True)
class Variant:
    """One training of a family.

    Attributes:
        changed: its value of each key in which the family differs; None where neither chain,
            recipe nor plugin says one.
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


@dataclass(frozen=True)
class Family:
    """Two or more trainings of one file.

    Attributes:
        file: its name.
        keys: in which the trainings differ, as the chain writes them, or `FROM`.
    """

    file: str
    keys: list[str]
    variants: list[Variant]

    @property
    def title(self) -> str:
        names = ["start" if key == FROM else short(key) for key in self.keys]
        return f"{self.file} with {'another' if len(names) == 1 else 'other'} {', '.join(names)}"


def families(run: Run) -> list[Family]:
    """Every file that several trainings of the chain run, in the chain's order."""
    by_file: dict[str, list[StageRun]] = {}
    for stage in run.stages.values():
        if stage.kind == "train":
            by_file.setdefault(str(run.chain.stages[stage.name].file), []).append(stage)
    rows = {row.model: row for row in results.model_rows(run)}
    started = {found.stage: found.up_scaled for found in results.up_scalings(run)}
    found = []
    for stages in by_file.values():
        keys = _keys(run, stages)
        if not keys:
            continue
        variants = []
        for stage in stages:
            up_scaled = started.get(stage.name)
            names = [*stage.sources, *([up_scaled[0]] if up_scaled else [])]
            variants.append(
                Variant(
                    stage,
                    {key: _value(run, stage, key) for key in keys},
                    tuple(rows[name] for name in names if name in rows),
                    rows.get(stage.name),
                )
            )
        name = run.chain.stages[stages[0].name].file.name
        found.append(Family(name, keys, variants))
    return found


def grid(family: Family, loss_unit: str | None) -> Grid:
    """One line per training: what it changed, its depth, and its scores before and after."""
    deeper = any(variant.seam for variant in family.variants)
    columns = [
        "stage",
        *map(short, family.keys),
        "layers",
        *(["at the seam"] if deeper else []),
        "H6",
    ]
    columns += [loss_unit] if loss_unit else []
    rows = []
    for variant in family.variants:
        layers = variant.stage.facts.get("num_hidden_layers")
        cells = [variant.stage.name, *map(_shown, variant.changed.values())]
        cells += [NOT_RUN if layers is None else str(layers), *([variant.seam] if deeper else [])]
        both = [variant.before[-1] if variant.before else None, variant.after]
        cells.append(_path([row.h6 if row else None for row in both], 100, 2))
        if loss_unit:
            cells.append(_path([row.loss if row else None for row in both], 1, 4))
        rows.append(cells)
    note = "H6 and loss: as training found the model -> as it left it."
    return Grid(family.title, columns, rows, [note], left=1 + len(family.keys))


def short(key: str) -> str:
    """The last part of a dotted key."""
    return key.rpartition(".")[2]


def _keys(run: Run, stages: list[StageRun]) -> list[str]:
    """The keys in which the stages differ."""
    named = {key: None for stage in stages for key in run.chain.settings.get(stage.name, {})}
    keys = [FROM, *named]
    return [key for key in keys if len({str(_value(run, s, key)) for s in stages}) > 1]


def _value(run: Run, stage: StageRun, key: str) -> Any:
    """What the chain, else the file that was run, else the plugin's proof has for `key`."""
    if key == FROM:
        return ", ".join(stage.sources)
    settings = run.chain.settings.get(stage.name, {})
    if key in settings:
        return settings[key]
    block, _, rest = key.partition(".")
    for known in (_at(stage.recipe, key), stage.proofs.get(block, {}).get(rest)):
        if known is not None:
            return known
    return None


def _at(recipe: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        recipe = recipe.get(part) if isinstance(recipe, dict) else None
    return recipe


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{len(value)} entries" if isinstance(value, list | dict) else str(value)


def _path(values: list[float | None], scale: float, digits: int) -> str:
    cells = [NOT_RUN if value is None else f"{scale * value:.{digits}f}" for value in values]
    return " -> ".join(cells)
