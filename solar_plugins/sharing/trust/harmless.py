"""The settings that are known to be harmless in a stranger's recipe: the names in harmless.yml."""

from __future__ import annotations

from pathlib import Path

import yaml

_LISTS: dict[str, frozenset[str]] = {
    name: frozenset(names.split())
    for name, names in yaml.safe_load(
        Path(__file__).with_name("harmless.yml").read_text(encoding="utf-8")
    ).items()
}
AXOLOTL, DEEPSPEED = _LISTS["axolotl"], _LISTS["deepspeed"]
NAMED_BY_USER, TEXT_KEYS = _LISTS["named_by_user"], _LISTS["text"]
PLUGINS, LOADERS = _LISTS["plugins"], _LISTS["loaders"]
_NOT_KEYS = ("named_by_user", "text", "plugins", "loaders")
KEYS = frozenset().union(*(names for key, names in _LISTS.items() if key not in _NOT_KEYS))
"""Every key that may be in a recipe without the user being asked; dangerous values still ask."""
