"""The licence of a base model, as its card names it, and what it asks of a model made from it.

A card is what its authors wrote, and the sentences here are short: they say what to read, and take
the place of no licence's text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from solar_plugins.models import model_config

CARD = "README.md"
KEYS = ("license", "license_name", "license_link")

_NAMES = {  # section 1.b.i of each of Meta's licences
    "llama3": "Llama 3",
    "llama3.1": "Llama",
    "llama3.2": "Llama",
    "llama3.3": "Llama",
    "llama4": "Llama",
}
"""Licence -> how the name of a model made from it has to begin."""

_NOT_COMMERCIAL = re.compile(
    r"\b(nc|non-?commercial|non-?production|research|mrl|mnpl|amlr)\b", re.IGNORECASE
)
_PERMISSIVE = re.compile(
    r"apache-2\.0|mit|bsd.*|cc0.*|cc-by-\d.*|odc-by|pddl|isc|unlicense|zlib|cdla-permissive.*",
    re.IGNORECASE,
)
_NO_DERIVATIVES = re.compile(r"\bcc-by-(nc-)?nd\b", re.IGNORECASE)


def strictest(parts: Iterable[dict[str, str]]) -> dict[str, str]:
    """The licence of what is made from `parts`; unknown if that of one of them is.

    >>> strictest([{"license": "apache-2.0"}, {"license": "cc-by-nc-4.0"}])
    {'license': 'cc-by-nc-4.0'}
    """
    found = list(parts)
    is_known = found and all(part["license"] != "unknown" for part in found)
    return max(found, key=_strictness) if is_known else {"license": "unknown"}


def _strictness(licence: dict[str, str]) -> list[bool]:
    every = f"{licence['license']} {licence.get('license_name', '')}"
    forbids = [bool(rule.search(every)) for rule in (_NO_DERIVATIVES, _NOT_COMMERCIAL)]
    return [*forbids, not _PERMISSIVE.fullmatch(licence["license"])]


def known(name: str, kind: str) -> dict[str, str]:
    """The licence of a model or dataset: on its card here or in ``licences.yml``, the stricter.

    A copy's card may allow what the authors of the data do not.
    """
    listed = yaml.safe_load((Path(__file__).parent / "licences.yml").read_text(encoding="utf-8"))
    found = [find(name, kind) or {}, {"license": listed.get(name.partition("@")[0])}]
    return strictest(entry for entry in found if entry.get("license"))


def find(model: str, kind: str = "model") -> dict[str, str] | None:
    """The licence that the card of a folder, or of what is in the Hub's cache, names.

    Returns:
        Those of `KEYS` that it has; None if no card is on this machine.
    """
    card = model_config.file_of(model, CARD, kind)
    is_folder = os.path.isdir(os.path.expanduser(model))
    hub_id = None if is_folder else model.partition("@")[0]
    return of_card(front_matter(card), hub_id) if card else None


def of_card(front_matter: Mapping[str, Any], hub_id: str | None = None) -> dict[str, str]:
    """The licence in the front matter of a card; links that count from its page are made whole."""
    found = {}
    for key in KEYS:
        value = front_matter.get(key)
        if value:
            found[key] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    link = found.get("license_link")
    if link and hub_id and "://" not in link:
        found["license_link"] = f"https://huggingface.co/{hub_id}/blob/main/{link}"
    return found


def asks(licence: Mapping[str, str], name: str | None) -> Iterator[str]:
    """What `licence` asks of a model made from the base, a sentence each.

    Args:
        licence: As `find` returns it.
        name: How the model is to be called; None where that is not known.
    """
    written = licence.get("license")
    if written is None:
        yield "Its card names no licence: ask its authors before you pass on what you make of it."
        return
    shown = written
    if written in ("other", "unknown"):
        named = licence.get("license_name")
        shown = f"{written} ({named})" if named else written
        where = f" at {licence['license_link']}" if "license_link" in licence else ""
        yield f"Its licence is {shown}: read it{where}."
    every = f"{written} {licence.get('license_name', '')}"
    if _NOT_COMMERCIAL.search(every):
        yield (
            f"Its licence, {shown}, does not allow commercial use, nor does that of a model made "
            "from it."
        )
    if _NO_DERIVATIVES.search(every):
        yield f"Its licence, {shown}, does not allow to pass on a model made from it."
    begin = _NAMES.get(written)
    if begin and not (name or "").lower().startswith(begin.lower()):
        found = f"; {name!r} does not" if name else ""
        yield (
            f"Its licence, {shown}, wants the name of a model made from it to begin with "
            f"{begin!r}{found}."
        )


def front_matter(card: Path) -> dict[str, Any]:
    """The YAML metadata at the top of a model card; empty if it has none that can be read."""
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    try:
        return ModelCard.load(card, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, YAMLError):  # UnicodeDecodeError is one
        return {}
