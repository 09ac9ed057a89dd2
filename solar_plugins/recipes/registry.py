"""The stage kinds, our plugins, and which of them a recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STAGE_KINDS = ("train", "merge", "evaluate", "data")
"""What may run a stage: Axolotl, MergeKit, lm-eval, or a generator of ours."""


@dataclass(frozen=True)
class Plugin:
    """One of our Axolotl plugins: its module and the key of its YAML block and run record.

    Attributes:
        result_version: Raised by the author when a training with the same recipe, data and base
            model gives another result than before. Finished trainings of the old version then
            count as changed; a comment, a rename or a refactoring must not raise it.
    """

    module: str
    block: str
    result_version: int = 1


PLUGINS = {
    "DepthUpScalingPlugin": Plugin("solar_plugins.depth_up_scaling.plugin", "depth_up_scaling"),
    "FlanFilterPlugin": Plugin("solar_plugins.flan_filter.plugin", "flan_filter"),
    # 2: a text that begins with the start of sequence, as templates write it, gets no second one
    "StepwiseDPOPlugin": Plugin("solar_plugins.sdpo.plugin", "sdpo", result_version=2),
    "StagePlugin": Plugin("solar_plugins.chain.training.stage_plugin", "stage"),
}
"""By class name. StagePlugin fixes the order of the rows and adapts recipes to their base."""

RESULT_VERSIONS = {
    "miniature_world": 1,
    "untrained_model": 1,
    "flan_index": 2,  # 2: knows the definition of Natural Instructions' task 1389
    "synth_math": 1,
    "contamination_test": 1,
    "merge": 1,
    "evaluate": 2,  # 2: a group of tasks (MMLU) is the plain mean of them; the miniature has none
}
"""Result versions of the generators of data stages, of merges (a stack is written by
`depth_up_scaling.on_disk`), and of evaluations (with the tasks in `miniature/lm_eval_tasks`)."""


def result_versions(kind: str, recipe: Mapping[str, Any]) -> dict[str, int]:
    """The result versions of what takes part in a stage, by YAML block, generator or stage kind.

    >>> result_versions("train", {"plugins": ["solar_plugins.StepwiseDPOPlugin"]})
    {'sdpo': 2}
    """
    if kind == "train":
        plugins = [PLUGINS[name] for name in plugins_of(recipe)]
        return {plugin.block: plugin.result_version for plugin in plugins}
    tasks = recipe.get("tasks")
    only_mini = isinstance(tasks, list) and all(str(one).startswith("mini_") for one in tasks)
    if kind == "evaluate" and only_mini:
        return {kind: 1}
    name = str(recipe.get("generator")) if kind == "data" else kind
    return {name: RESULT_VERSIONS[name]} if name in RESULT_VERSIONS else {}


def blocks_of(recipe: Mapping[str, Any]) -> list[str]:
    """The YAML blocks (and run records) of our plugins that the recipe names."""
    return [PLUGINS[name].block for name in plugins_of(recipe)]


def plugins_of(recipe: Mapping[str, Any]) -> list[str]:
    """The class names of our plugins that the recipe names, in its order."""
    return [name for name in PLUGINS if is_named(recipe, name)]


def is_named(recipe: Mapping[str, Any], plugin: str) -> bool:
    """Whether ``plugins:`` of the recipe has our class `plugin`, by whichever of its paths.

    Axolotl keeps the plugins of every recipe that a process has met and calls the hooks of all of
    them, so a hook acts only where its plugin is named.

    >>> is_named({"plugins": ["solar_plugins.FlanFilterPlugin"]}, "FlanFilterPlugin")
    True
    """
    return any(
        str(name).startswith("solar_plugins.") and str(name).endswith(f".{plugin}")
        for name in recipe.get("plugins") or ()
    )
