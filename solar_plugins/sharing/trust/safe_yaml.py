"""YAML of a stranger: no tags, no alias bombs, no depths, and one line when it is bad."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from solar_plugins.errors import SolarError
from solar_plugins.recipes import yaml_file
from solar_plugins.sharing.trust.names import printable

MAX_BYTES = 1 << 20
MAX_DEPTH = 24
MAX_VALUES = 20_000
"""After every alias has been replaced by its value."""

# libyaml's scanner is ten times as fast, and is in every wheel of PyYAML.
_Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader

Place = tuple[str | int, ...]


def read_mapping(data: bytes, name: str) -> dict[str, Any]:
    """The mapping that the YAML file `name` holds.

    Raises:
        SolarError: it is not text, not YAML, not a mapping, has a tag, a second document, an alias
            that grows beyond `MAX_VALUES`, or is deeper than `MAX_DEPTH`.
    """
    text = as_text(data, name)
    try:
        _check_events(text, name)
        content = yaml_file.parse(text, name)
    except SolarError as error:
        raise SolarError(printable(error, 300)) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SolarError(f"{name}:{line}: not YAML: {printable(error.problem)}.") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SolarError(f"{name}: not YAML: {printable(error)}.") from None
    if not isinstance(content, dict):
        raise SolarError(f"{name}: not a mapping. A recipe is keys with values.")
    return content


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


def lines_of(data: bytes) -> dict[Place, int]:
    """The line of every place in a YAML file that `read_mapping` has read, counted from 1."""
    node = yaml.compose(data.decode("utf-8"), Loader=_Loader)
    return dict(_lines(node, ())) if node else {}


def _lines(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                yield from _lines(value, place)
            elif isinstance(key, yaml.ScalarNode):
                yield (*place, key.value), key.start_mark.line + 1
                yield from _lines(value, (*place, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*place, index), value.start_mark.line + 1
            yield from _lines(value, (*place, index))


def _check_events(text: str, name: str) -> None:
    """Walk the scanner's events, which costs no more than the file is long."""
    depth = documents = 0
    sizes: dict[str, int] = {}
    open_anchors: list[tuple[str | None, int]] = []
    values = 0

    def refuse(event: yaml.Event, found: str) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 0
        raise SolarError(f"{name}:{line}: {found}")

    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                refuse(event, "a second YAML document. A recipe has one.")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                refuse(event, f"the alias {event.anchor!r} is inside its own block, or nowhere.")
            values += sizes[str(event.anchor)]
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            if event.tag is not None:
                refuse(event, f"the tag {event.tag!r}. A recipe has plain values only.")
            values += 1
            if isinstance(event, yaml.ScalarEvent):
                if event.anchor:
                    sizes[event.anchor] = 1
            else:
                depth += 1
                open_anchors.append((event.anchor, values))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            anchor, before = open_anchors.pop()
            if anchor:
                sizes[anchor] = values - before + 1
        if depth > MAX_DEPTH:
            refuse(event, f"deeper than {MAX_DEPTH} levels.")
        if values > MAX_VALUES:
            refuse(event, f"more than {MAX_VALUES:,} values, aliases counted as what they repeat.")
