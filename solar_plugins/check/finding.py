"""What a check found, for people and machines; what the rules know; which name was meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from solar_plugins.errors import nearest


@dataclass(frozen=True)
class Fix:
    """An unambiguous correction: the text to write in place of the characters [start, end).

    Attributes:
        place: What it changes.
        target: The place that it writes: another one where a key is renamed.
    """

    start: int
    end: int
    text: str
    place: tuple[str | int, ...] = ()
    target: tuple[str | int, ...] = ()


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong in a file.

    Attributes:
        file: The file as it was named, or as the chain names it.
        line: Counted from 1; 0 where the fault has no line (a file that is missing).
        path: YAML path of what is wrong (``datasets[0].path``), or "" for the whole file.
        message: What was found, what is needed, what to write.
        kind: One of `KINDS`, for machines that want to sort findings.
        is_note: Nothing is wrong with the file, but something has to be done before it can run.
        column: Counted from 1; 0 where the fault has no line.
        fix: The correction, where only one is possible.
    """

    file: str
    line: int
    path: str
    message: str
    kind: str
    is_note: bool = False
    column: int = 0
    fix: Fix | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        """``file:line:column: yaml.path: message``, without the parts that are not known."""
        counted = [str(number) for number in (self.line, self.column) if number]
        where = ":".join([self.file, *counted])
        note = "note" if self.is_note else ""
        return ": ".join(part for part in (where, self.path, note, self.message) if part)

    def as_dict(self) -> dict:
        """The finding as plain JSON values."""
        return asdict(self)


# libyaml's parser is ten times as fast, and is in every wheel of PyYAML.
LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def _table(name: str) -> dict[str, Any]:
    return yaml.load(Path(__file__).with_name(name).read_text(encoding="utf-8"), Loader=LOADER)


RULES = _table("rules.yml")
"""What the rules know that no tool says."""

TEXTS: dict[str, dict[str, str]] = _table("findings.yml")
"""By kind: the texts of its findings, before anything stands in their braces."""

KINDS = {kind: texts["is"] for kind, texts in TEXTS.items()}
"""What each kind of finding is."""

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
