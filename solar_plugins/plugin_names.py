"""Which of our plugins a recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
