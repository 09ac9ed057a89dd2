"""What is known of the settings of a stranger's recipe: the lists in harmless.yml."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_ALL: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("harmless.yml").read_text(encoding="utf-8")
)
_LISTS = {name: frozenset(w.split()) for name, w in _ALL.items() if isinstance(w, str)}
AXOLOTL, DEEPSPEED = _LISTS["axolotl"], _LISTS["deepspeed"]
NAMED_BY_USER, TEXT_KEYS = _LISTS.pop("named_by_user"), _LISTS.pop("text")
PLUGINS, LOADERS = _LISTS.pop("plugins"), _LISTS.pop("loaders")
KEYS: frozenset[str] = frozenset().union(*_LISTS.values())
"""Every key that may be in a recipe without the user being asked; dangerous values still ask."""
KINDS: dict[str, str] = _ALL["kinds"]
"""What a risk does, by its name: it is refused unless the user allows it, by name and file."""
VALUES: dict[str, tuple[str, str]] = _ALL["values"]
"""The risk of a key, and the values without it."""


@cache
def named_risk(key: str) -> str | None:
    """The risk of a key whatever its value, unless that is off."""
    for risk, patterns in _ALL["named_risks"].items():
        if any(fnmatchcase(key, pattern) for pattern in patterns.split()):
            return risk
    return None
