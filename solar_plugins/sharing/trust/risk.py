"""What a recipe may do beyond training on data, and how a user allows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from solar_plugins.errors import SolarError, nearest
from solar_plugins.sharing.trust.harmless import KINDS
from solar_plugins.sharing.trust.names import printable


@dataclass(frozen=True, order=True)
class Risk:
    """One thing that a file asks for.

    Attributes:
        file: Its name in the pack.
        line: Counted from 1; 0 where there is none.
        kind: One of `KINDS`.
        place: YAML path, or "".
        found: The value.
    """

    file: str
    line: int
    kind: str
    place: str
    found: str

    @property
    def text(self) -> str:
        """``FILE:LINE: PLACE: FOUND: what that does.``"""
        where = f"{self.file}:{self.line}" if self.line else self.file
        parts = [where, printable(self.place), printable(self.found, 80), f"{KINDS[self.kind]}."]
        return ": ".join(part for part in parts if part)

    @property
    def permission(self) -> str:
        """What the user writes to let it pass."""
        return f"--allow {self.kind}={self.file}"


def parse_permissions(texts: Iterable[str], files: Collection[str]) -> frozenset[tuple[str, str]]:
    """``KIND=FILE`` as pairs.

    Raises:
        SolarError: the kind is none of `KINDS`, or the pack has no such file.
    """
    pairs = {(kind, file) for kind, _, file in (text.partition("=") for text in texts)}
    for kind, file in pairs:
        where = printable(f"--allow {kind}={file}")
        if kind not in KINDS:
            known = f"Write one of {', '.join(KINDS)}, then =FILE."
            raise SolarError(f"{where}: no such permission.{nearest(kind, KINDS)} {known}")
        if file not in files:
            found = f"the pack has no file {printable(file)!r}.{nearest(file, files)}"
            raise SolarError(f"{where}: {found}")
    return frozenset(pairs)
