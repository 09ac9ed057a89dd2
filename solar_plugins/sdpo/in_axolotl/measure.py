"""`solar difficulty`: what a recipe's data are for its starting model, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axolotl.cli.config import load_cfg
from axolotl.integrations.base import PluginManager

from solar_plugins import StepwiseDPOPlugin
from solar_plugins.errors import SolarError
from solar_plugins.sdpo.in_axolotl.run import AxolotlSession


def measure_recipe(file: Path, **changes: Any) -> dict[str, Any]:
    """Measure the data of the `sdpo:` recipe in `file`.

    The log-probabilities stay beside the prepared data: measured again, or trained with
    `order_by: reward_accuracy`, they are found there, and a measurement that was killed goes on
    with the data set that it was in.

    Args:
        file: an Axolotl recipe.
        changes: keys of the recipe to replace.

    Returns:
        As `AxolotlSession.measure`.

    Raises:
        SolarError: the recipe names no StepwiseDPOPlugin, or cannot be honoured.
    """
    cfg = load_cfg(str(file), **changes)
    plugin = next(
        (p for p in PluginManager.get_instance().plugins.values() if type(p) is StepwiseDPOPlugin),
        None,
    )
    if plugin is None or plugin.plan is None:
        raise SolarError(
            f"{file}: no `sdpo:` block with plugins: [solar_plugins.StepwiseDPOPlugin]. Name a "
            "recipe that lists preference data as steps."
        )
    return AxolotlSession(cfg, plugin.plan, plugin.recipe).measure()
