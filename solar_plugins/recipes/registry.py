"""The stage kinds, our plugins, and which of them a recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STAGE_KINDS = ("train", "merge", "evaluate", "data")
"""What may run a stage: Axolotl, MergeKit, lm-eval, or a generator of ours."""


@dataclass(frozen=True)
class Plugin:
    """One of our Axolotl plugins.

    Attributes:
        module: Where its class is defined.
        block: The key of its YAML block, which also names its run record.
    """

    module: str
    block: str


PLUGINS = {
    "DepthUpScalingPlugin": Plugin("solar_plugins.depth_up_scaling.plugin", "depth_up_scaling"),
    "FlanFilterPlugin": Plugin("solar_plugins.flan_filter.plugin", "flan_filter"),
    "StepwiseDPOPlugin": Plugin("solar_plugins.sdpo.plugin", "sdpo"),
    "StagePlugin": Plugin("solar_plugins.chain.training.stage_plugin", "stage"),
}
"""By class name."""


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
