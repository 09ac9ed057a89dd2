"""A YAML file with the line of every key, so that a finding can say where."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from solar_plugins.chain import yaml_file
from solar_plugins.chain.check.finding import Finding
from solar_plugins.errors import SolarError

# libyaml's parser is ten times as fast, and is in every wheel of PyYAML.
_Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader

Path_ = tuple[str | int, ...]
"""A place in a YAML file: ``("datasets", 0, "path")``."""


def dotted(place: Path_) -> str:
    """``("datasets", 0, "path")`` as people write it: ``datasets[0].path``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


@dataclass
class Source:
    """A YAML file that could be read.

    Attributes:
        name: The file as findings name it.
        content: What it holds, a mapping.
        lines: The line of every place in it, counted from 1.
        comments: All its comments, as one text.
        findings: What was found in it so far.
    """

    name: str
    content: dict[str, Any]
    lines: dict[Path_, int]
    comments: str = ""
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def read(cls, path: str | Path) -> Source:
        """Read `path`.

        Raises:
            SolarError: the file is missing or not a YAML mapping; see `yaml_file.read_mapping`.
        """
        if "\0" in str(path):  # the operating system knows no such name
            raise SolarError(f"{str(path)!r}: no such file.")
        here = Path(path).absolute()
        written = here.stat().st_mtime_ns if here.is_file() else 0
        content, lines, comments = _parsed(str(path), here, written)
        return cls(str(path), content, lines, comments)

    def add(self, place: Path_, kind: str, message: str, is_note: bool = False) -> None:
        """Add a finding at `place`, on the line of the nearest key above it that stands there."""
        above = place
        while above and above not in self.lines:
            above = above[:-1]
        line = self.lines.get(above, 0) if above else 0
        self.findings.append(Finding(self.name, line, dotted(place), message, kind, is_note))


@lru_cache(maxsize=256)
def _parsed(path: str, here: Path, mtime_ns: int) -> tuple[dict[str, Any], dict[Path_, int], str]:
    """Content, lines and comments of a file; chains lead to the same files again and again."""
    content = yaml_file.read_mapping(path)
    text = here.read_text(encoding="utf-8")
    stream = io.StringIO(text)
    stream.name = path  # what the marks of the nodes call it
    root = yaml.compose(stream, Loader=_Loader)
    comments = " ".join(line.partition("#")[2].strip() for line in text.splitlines() if "#" in line)
    return content, dict(_places(root, (), frozenset())), comments


def _places(node: yaml.Node, place: Path_, open_nodes: frozenset) -> Iterator[tuple[Path_, int]]:
    if id(node) in open_nodes:
        raise SolarError(
            f"{node.start_mark.name}:{node.start_mark.line + 1}: a value that holds itself. "
            "Take the alias (*) out of the block that its anchor (&) names."
        )
    inside = open_nodes | {id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                # Merged keys (`<<: *base`) stand where the anchor stands, and lose to written ones.
                if key.tag == "tag:yaml.org,2002:merge":
                    yield from _places(value, place, inside)
                else:
                    here = (*place, key.value)
                    yield here, key.start_mark.line + 1
                    yield from _places(value, here, inside)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*place, index)
            yield here, value.start_mark.line + 1
            yield from _places(value, here, inside)
