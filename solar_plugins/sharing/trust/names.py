"""Which names a file may have in a pack, so that no unpacking can leave its folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from solar_plugins.errors import SolarError

_PART = re.compile(r"[\w(@][\w .+=@()-]*(?<![ .])")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST_PART, _LONGEST, _DEEPEST = 200, 400, 10


def printable(text: object, longest: int = 120) -> str:
    """`text` on one line, without the control characters that could rewrite a terminal."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def check_name(name: str, source: str) -> None:
    """Refuse a file name that could lead out of the folder, or that not every system can hold.

    Raises:
        SolarError: the line names `source` and what is wrong with the name.
    """
    fault = _fault(name)
    if fault:
        found = f"{printable(name)!r}: {fault}"
        raise SolarError(f"{source}: {found}. A pack has plain relative names.")


def _fault(name: str) -> str | None:
    parts = name.split("/")
    if not name or "\0" in name:
        return "no name"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "an absolute path"
    if "\\" in name:
        return "a backslash, which is a folder on some systems"
    if ".." in parts:
        return "leads out of the folder"
    if len(parts) > _DEEPEST or len(name.encode(errors="replace")) > _LONGEST:
        return f"too long or too deep (at most {_DEEPEST} levels, {_LONGEST} bytes)"
    for part in parts:
        if part in ("", "."):
            return "an empty part"
        if part.startswith("."):
            return "a hidden file"
        if not _PART.fullmatch(part):
            return "a character that file names here do not have"
        if _RESERVED.fullmatch(part) or len(part.encode(errors="replace")) > _LONGEST_PART:
            return "a name that not every system can hold"
    if unicodedata.normalize("NFC", name) != name:
        return "letters that are written in another form (not NFC)"
    return None


def refuse_collisions(names: Iterable[str], source: str) -> None:
    """Refuse two files that one place would hold on a system that folds case or Unicode forms.

    Raises:
        SolarError: a name is there twice, or is a file here and a folder there.
    """
    taken: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        both = f"{source}: {printable(name)!r} and {printable(taken.get(folded))!r}"
        if folded in taken:
            raise SolarError(f"{both} are one file on some systems. Rename one.")
        taken[folded] = name
        parts = folded.split("/")
        folders |= {"/".join(parts[:depth]): name for depth in range(1, len(parts))}
    for folded in taken.keys() & folders.keys():
        where = f"{source}: {printable(taken[folded])!r}"
        raise SolarError(f"{where} is a file and, in {printable(folders[folded])!r}, a folder.")
