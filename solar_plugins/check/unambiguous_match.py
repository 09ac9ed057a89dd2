"""Whether a misspelt name can only mean one thing, so that a program may correct it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from solar_plugins.errors import nearest

_NEAR = 0.8
"""How much of a name must be right (difflib's ratio)."""

_APART = 0.06
"""How much nearer than the next best one it must be."""


def unambiguous_match(name: str, known: Iterable[str]) -> str | None:
    """The only name of `known` that `name` can be, or None if there is none or a second one.

    >>> unambiguous_match("learning_rat", ["learning_rate", "lr_scheduler"])
    'learning_rate'
    >>> unambiguous_match("adamw_bit", ["adamw_8bit", "adamw_4bit"]) is None
    True
    """
    folded = name.lower().replace("-", "_")
    near: list[tuple[float, str]] = []
    for other in known:
        if other.lower().replace("-", "_") == folded:
            return other
        matcher = difflib.SequenceMatcher(None, folded, other.lower(), autojunk=False)
        if matcher.real_quick_ratio() >= _NEAR and matcher.quick_ratio() >= _NEAR:
            near.append((matcher.ratio(), other))
    near.sort(reverse=True)
    if not near or near[0][0] < _NEAR:
        return None
    return near[0][1] if len(near) == 1 or near[0][0] - near[1][0] >= _APART else None


def suggestion(name: str, known: Collection[str]) -> tuple[str | None, str]:
    """`unambiguous_match`, and a sentence with it, or with what else is near, or ``""``."""
    meant = unambiguous_match(name, known)
    return meant, f" Did you mean {meant!r}?" if meant else nearest(name, known)
