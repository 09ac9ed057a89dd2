"""A YAML file with the place of every key, so that findings and fixes know where it is."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from solar_plugins.check.finding import LOADER, TEXTS, Finding, Fix
from solar_plugins.errors import SolarError
from solar_plugins.recipes import extends, yaml_file
from solar_plugins.recipes.typed_block import Place as Path_
from solar_plugins.recipes.typed_block import dotted
from solar_plugins.recipes.yaml_file import RepeatedKey


def short(value: Any) -> str:
    """`value` as Python writes it, cut to what a line can hold."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def walk(value: Any, place: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """`value` and everything inside it, each with its place, in the order of the file."""
    yield place, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, (*place, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, (*place, index))


def at(content: Any, place: Path_) -> Any:
    """What is at `place` in `content`; None if nothing is."""
    for part in place:
        if isinstance(content, list) and isinstance(part, int) and part < len(content):
            content = content[part]
        else:
            content = content.get(part) if isinstance(content, dict) else None
    return content


@dataclass(frozen=True)
class Mark:
    """Where a place of a YAML file stands in its text.

    Attributes:
        line: Of the key, or of an item of a list; counted from 1.
        column: Likewise.
        key: First character of the key and one past its last; None for an item of a list.
        value: The same for a value that is one scalar; None for a block or list.
        aliased: Whether the value stands at an anchor (``&``, ``<<``) and so at other places too.
    """

    line: int
    column: int
    key: tuple[int, int] | None
    value: tuple[int, int] | None
    aliased: bool = False


@dataclass
class YamlFile:
    """A YAML file that could be read.

    Attributes:
        name: The file as findings name it.
        content: What it holds, a mapping.
        marks: Where each of its places stands.
        comments: All its comments, as one text.
        findings: What was found in it so far.
        base_model: What a recipe starts from, where that is known before anything runs.
    """

    name: str
    content: dict[str, Any]
    marks: dict[Path_, Mark]
    comments: str = ""
    findings: list[Finding] = field(default_factory=list)
    base_model: str | None = None

    @classmethod
    def read(cls, path: str | Path, text: str | None = None) -> YamlFile:
        """Read `path`, or `text` as if it stood there.

        Raises:
            SolarError: the file is missing or not a YAML mapping; see `extends.read_mapping`.
        """
        if "\0" in str(path):  # the operating system knows no such name
            raise SolarError(f"{str(path)!r}: no such file.")
        here = Path(path).absolute()
        written = here.stat().st_mtime_ns if here.is_file() else 0
        content, marks, comments, repeated = _parsed(str(path), here, written, text)
        source = cls(str(path), content, marks, comments)
        if repeated:  # as PyYAML reads it, the last one counts; the rest is checked all the same
            line, message = repeated
            source.findings.append(Finding(str(path), line, "", message, "unreadable"))
        return source

    def add(
        self,
        place: Path_,
        kind: str,
        message: str,
        is_note: bool = False,
        new_key: str | None = None,
        new_value: str | None = None,
    ) -> None:
        """Add a finding at `place`, on the line of the nearest key above it that stands there.

        Args:
            place: Where in the file.
            kind: One of `finding.KINDS`.
            message: What was found, what is needed, what to write.
            is_note: Whether nothing is wrong with the file itself.
            new_key: What the key at `place` must surely be called, for ``--fix``.
            new_value: What must surely stand there instead of its scalar, as YAML.
        """
        above = place
        while above and above not in self.marks:
            above = above[:-1]
        mark = self.marks[above] if above else Mark(0, 0, None, None)
        fix: Fix | None = None
        begin, end = mark.key, mark.value
        if new_key is None:
            begin = mark.value
        elif new_value is None:
            end = mark.key
        if above and above == place and not mark.aliased and begin and end:
            text = ": ".join(part for part in (new_key, new_value) if part is not None)
            if text:
                fix = Fix(begin[0], end[1], text, place, (*place[:-1], new_key or place[-1]))
        path, message = (text.replace("\n", " ") for text in (dotted(place), message))
        found = Finding(self.name, mark.line, path, message, kind, is_note, mark.column, fix)
        self.findings.append(found)

    def say(self, place: Path_, what: str, is_note: bool = False, /, **values: Any) -> None:
        """`add` one of the texts of ``findings.yml``.

        Args:
            what: ``KIND/TEXT``, as the file has them.
            values: What stands in its braces, and ``new_key`` and ``new_value`` of `add`.
        """
        kind, _, name = what.partition("/")
        fix = {key: values.pop(key, None) for key in ("new_key", "new_value")}
        self.add(place, kind, TEXTS[kind][name].format(**values), is_note, **fix)

    def add_error(self, error: SolarError, kind: str = "wrong-value") -> None:
        """Add the line of an error that begins with its YAML path."""
        place, message = self.place_of(error)
        self.add(place, kind, message)

    def place_of(self, error: SolarError, block: str = "") -> tuple[Path_, str]:
        """The YAML path that an error's line begins with, and the rest; `block` where none does."""
        where, _, message = str(error).partition(": ")
        parts = re.findall(r"[\w-]+", where)
        place = tuple(int(part) if part.isdigit() else part for part in parts)
        is_path = re.fullmatch(r"[\w-]+((\.[\w-]+)|(\[\d+\]))*", where) is not None
        if not is_path or (block and place[0] not in (block, "rl", *self.content)):
            return ((block,) if block else ()), str(error)
        return place, message

    def guard(self, rule: Callable[[], object]) -> None:
        """Call `rule`; an exception is a finding of this file, so that others are read on."""
        try:
            rule()
        except ModuleNotFoundError:
            raise  # a tool that is not installed: the command says what to install
        except Exception as error:
            fault = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
            more = "Further faults of this file may not be listed."
            self.add((), "refused", f"a validator failed on it: {fault}. {more}")


@lru_cache(maxsize=256)
def _parsed(
    path: str, here: Path, mtime_ns: int, text: str | None
) -> tuple[dict[str, Any], dict[Path_, Mark], str, tuple[int, str] | None]:
    """Content, marks and comments of a file, and the line and text of a key that is there twice.

    Chains lead to the same files again and again.
    """
    repeated = None
    try:
        if text is None:
            content = extends.read_mapping(path)
        else:
            content = extends.complete(yaml_file.parse(text, path), Path(path))
    except SolarError as error:
        where, _, fault = str(error).partition(": ")
        line = where.removeprefix(f"{path}:")
        if not isinstance(error.__cause__, RepeatedKey) or not line.isdigit():
            raise  # also where the key is in a file that this one extends
        text = text if text is not None else here.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=LOADER)
        if not isinstance(content, dict):
            raise
        content = extends.complete(content, Path(path))
        repeated = int(line), fault
    text = text if text is not None else here.read_text(encoding="utf-8")
    stream = io.StringIO(text)
    stream.name = path  # what the marks of the nodes call it
    root = yaml.compose(stream, Loader=LOADER)
    comments = " ".join(line.partition("#")[2].strip() for line in text.splitlines() if "#" in line)
    return content, dict(places(root)), comments, repeated


def places(
    node: yaml.Node | None,
    place: Path_ = (),
    open_nodes: frozenset = frozenset(),
    met: set[int] | None = None,
    aliased: bool = False,
) -> Iterator[tuple[Path_, Mark]]:
    """Every place below `node`, with its mark.

    Raises:
        SolarError: a value holds itself.
    """
    met = set() if met is None else met
    if node is None:
        return
    if id(node) in open_nodes:
        raise SolarError(
            f"{node.start_mark.name}:{node.start_mark.line + 1}: a value that holds itself. "
            "Take the alias (*) out of the block that its anchor (&) names."
        )
    inside = open_nodes | {id(node)}
    aliased = aliased or id(node) in met
    met.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                # Merged keys (`<<: *base`) stand where the anchor stands, and lose to written ones.
                if key.tag == "tag:yaml.org,2002:merge":
                    yield from places(value, place, inside, met, True)
                else:
                    here = (*place, key.value)
                    yield here, _mark(key, value, aliased or id(value) in met)
                    yield from places(value, here, inside, met, aliased)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*place, index)
            yield here, _mark(None, value, aliased or id(value) in met)
            yield from places(value, here, inside, met, aliased)


def _mark(key: yaml.ScalarNode | None, value: yaml.Node, aliased: bool) -> Mark:
    start = (key or value).start_mark
    span = None
    # A block text (`|`) is left alone; an empty value has no characters of its own.
    if isinstance(value, yaml.ScalarNode) and value.style not in ("|", ">"):
        span = (value.start_mark.index, value.end_mark.index)
    key_span = (key.start_mark.index, key.end_mark.index) if key else None
    return Mark(start.line + 1, start.column + 1, key_span, span, aliased)
