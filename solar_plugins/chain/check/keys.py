"""Keys that a tool does not know, and would drop without a word."""

from __future__ import annotations

from typing import Any

from solar_plugins.chain.check.source import Path_, Source, dotted
from solar_plugins.errors import nearest

Tree = dict
"""``{key: Tree or None}``; None: anything may stand below. See `read_tools.key_tree`."""


def add_unknown_keys(
    source: Source, value: Any, place: Path_, tree: Tree | None, reader: str, hints: dict[str, str]
) -> None:
    """Add a finding for every key of `value` that `tree` does not have, at any depth.

    Args:
        source: The file, which takes the findings.
        value: What stands at `place`.
        place: Where to begin.
        tree: The keys that are known there.
        reader: Who drops the key, for the message (``Axolotl``).
        hints: What to say about particular keys, by dotted path without list indices.
    """
    if tree is None:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            add_unknown_keys(source, item, (*place, index), tree, reader, hints)
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        here = (*place, str(key))
        if key in tree or "*" in tree:
            add_unknown_keys(source, below, here, tree.get(key, tree.get("*")), reader, hints)
            continue
        plain = dotted(tuple(part for part in here if isinstance(part, str)))
        hint = hints.get(plain) or nearest(str(key), tree).strip() or _elsewhere(str(key), tree)
        message = f"unknown key, {reader} would drop it in silence. {hint or 'Take it out.'}"
        source.add(here, "unknown-key", message)


def _elsewhere(key: str, tree: Tree) -> str:
    """Where `key` would be known, when it only stands at the wrong depth."""
    for name, below in tree.items():
        if below and key in below:
            return f"It belongs below {name!r}: check the indentation."
    return ""
