"""YAML of a stranger: no tags, no alias bombs, no depths, and one line when it is bad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from solar_plugins.check.finding import LOADER
from solar_plugins.check.source import Path_, places
from solar_plugins.errors import SolarError
from solar_plugins.recipes import yaml_file
from solar_plugins.sharing.trust.names import printable

MAX_BYTES = 1 << 20
MAX_DEPTH = 24
MAX_VALUES = 20_000
"""After every alias has been replaced by its value."""

FUNCTION = "!function"
"""lm-eval's tag in a task: what follows is imported. It is read as text, and no other tag is."""


@dataclass(frozen=True)
class SafeYaml:
    """A YAML file that was read.

    Attributes:
        content: The mapping in it.
        lines: The line of every place, counted from 1.
        functions: Line and name of what the tag `FUNCTION` imports.
    """

    content: dict[str, Any]
    lines: dict[Path_, int]
    functions: list[tuple[int, str]]


def read(data: bytes, name: str) -> SafeYaml:
    """The mapping that the YAML file `name` holds.

    Raises:
        SolarError: it is not text, not YAML, not a mapping, has a tag, a second document, an alias
            that grows beyond `MAX_VALUES`, or is deeper than `MAX_DEPTH`.
    """
    text = as_text(data, name)
    try:
        functions = list(_functions(text, name))
        for at, _, _ in functions:
            text = f"{text[:at]}{' ' * len(FUNCTION)}{text[at + len(FUNCTION) :]}"
        content = yaml_file.parse(text, name)
        node = yaml.compose(text, Loader=LOADER)
    except SolarError as error:
        raise SolarError(printable(error, 300)) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SolarError(f"{name}:{line}: not YAML: {printable(error.problem)}.") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SolarError(f"{name}: not YAML: {printable(error)}.") from None
    if not isinstance(content, dict):
        raise SolarError(f"{name}: not a mapping. A recipe is keys with values.")
    found = [(line, function) for _, line, function in functions]
    return SafeYaml(content, {place: mark.line for place, mark in places(node)}, found)


def as_text(data: bytes, name: str, is_recipe: bool = True) -> str:
    """`data` as text.

    Raises:
        SolarError: it is not UTF-8, holds a NUL, or is a recipe and longer than `MAX_BYTES`.
    """
    if is_recipe and len(data) > MAX_BYTES:
        raise SolarError(f"{name}: more than {MAX_BYTES >> 20} MiB. A recipe is a few kilobytes.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise SolarError(f"{name}: not text (UTF-8).") from None
    if "\0" in text:
        raise SolarError(f"{name}: not text: it holds a NUL.")
    return text


def _functions(text: str, name: str) -> Iterator[tuple[int, int, str]]:
    """Offset, line and value of each tag `FUNCTION`; anything that no recipe needs is refused.

    Walks the scanner's events, which costs no more than the file is long.
    """
    depth = documents = values = 0
    sizes: dict[str | None, int] = {}  # of what an anchor names
    open_anchors: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=LOADER):
        found, mark = None, event.start_mark
        at, line = (mark.index, mark.line + 1) if mark else (0, 0)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            found = "a second YAML document. A recipe has one." if documents > 1 else None
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                found = f"the alias {event.anchor!r} is inside its own block, or nowhere."
            values += sizes.get(event.anchor, 0)
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            values += 1
            is_function = event.tag == FUNCTION and text.startswith(FUNCTION, at)
            if event.tag is not None and not (is_function and isinstance(event, yaml.ScalarEvent)):
                found = f"the tag {event.tag!r}. A recipe has plain values only."
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                open_anchors.append((event.anchor, values))
            else:
                sizes[event.anchor] = 1
                if is_function:
                    yield at, line, str(event.value)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            anchor, before = open_anchors.pop()
            sizes[anchor] = values - before + 1
        if depth > MAX_DEPTH:
            found = f"deeper than {MAX_DEPTH} levels."
        if values > MAX_VALUES:
            found = f"more than {MAX_VALUES:,} values, aliases counted as what they repeat."
        if found:
            raise SolarError(f"{name}:{line}: {found}")
