"""A YAML block as a typed object, and one line for what pydantic finds wrong in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from solar_plugins.errors import SolarError, nearest

Place = tuple[str | int, ...]
"""A place in a YAML file: ``("datasets", 0, "path")``."""

Block = TypeVar("Block", bound=BaseModel)

_WANTED = {
    "string_type": "a text",
    "dict_type": "a block of keys",
    "list_type": "a list",
    "tuple_type": "a list",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
}
"""What pydantic's kinds of faults want, in the words of YAML."""


def dotted(place: Place) -> str:
    """``("datasets", 0, "path")`` as people write it: ``datasets[0].path``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read(kind: type[Block], block: Any, where: str, write: Mapping[str, str]) -> Block:
    """`block` as a `kind`, whose model forbids other keys.

    Args:
        where: the block's key; empty where it is a whole file.
        write: key of the block -> the sentence that says what to write there; that of the block
            itself under the empty key.

    Raises:
        SolarError: the first fault, with its YAML path. One of a validator's is kept.
    """
    if not isinstance(block, dict):
        raise SolarError(f"{where}: {block!r} is not a block of keys. {write['']}")
    try:
        return kind.model_validate(dict(block))
    except ValidationError as error:
        faults: list[Any] = list(error.errors())
    # An unknown key may be why another one is missing; a fault further down follows from one above.
    first = min(faults, key=lambda fault: (fault["type"] != "extra_forbidden", len(fault["loc"])))
    ours = first.get("ctx", {}).get("error")
    if isinstance(ours, SolarError):
        raise ours
    place = place_of(block, first)
    path = dotted((where, *place) if where else place)
    advice = write.get(str(place[0]) if place else "", "")
    raise SolarError(f"{path}: {ours or _found(kind, first)} {advice}".rstrip())


def _found(kind: type[BaseModel], fault: Mapping[str, Any]) -> str:
    name, found, said = fault["type"], fault["input"], fault["msg"]
    if name == "extra_forbidden":
        meant = nearest(str(fault["loc"][-1]), kind.model_fields)
        return f"unknown key. Known: {', '.join(kind.model_fields)}.{meant}"
    if name == "missing":
        return "missing."
    if name in ("literal_error", "bool_type"):
        choices = re.findall(r"'([^']+)'", said) or ["true", "false"]
        meant = nearest(str(found), choices)
        return f"{found!r} is unknown. Write one of: {', '.join(choices)}.{meant}"
    wanted = _WANTED.get(name)
    return f"{found!r} is not {wanted}." if wanted else f"{found!r}. {said}."


def place_of(content: Any, fault: Mapping[str, Any]) -> Place:
    """The YAML path of a pydantic fault, without the names of union members that it carries."""
    place: list[str | int] = []
    for part in fault["loc"]:
        is_key = isinstance(content, dict) and part in content
        is_index = isinstance(content, list) and isinstance(part, int) and part < len(content)
        if is_key or is_index:
            content = content[part]
            place.append(part)
        elif fault["type"] == "missing" and part == fault["loc"][-1]:
            place.append(part)
    return tuple(place)
