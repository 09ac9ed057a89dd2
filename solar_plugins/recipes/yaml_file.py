"""Reading YAML so that a fault is one line with the file and the line number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from solar_plugins.errors import SolarError


class RepeatedKey(yaml.constructor.ConstructorError):
    """A mapping has the same key twice; the cause of the `SolarError` that `parse` raises."""


def _strict(loader: type[Any]) -> type[Any]:
    """A loader for which every fault is one of YAML, with its line.

    A mapping with the same key twice is refused: YAML itself keeps the last one and reports
    nothing, and a stage or a learning rate that was pasted twice would vanish.
    """

    class Strict(loader):
        def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (ValueError, OverflowError) as error:  # PyYAML takes 2001-99-99 for a date
                raise yaml.constructor.ConstructorError(
                    problem=f"{str(node.value)[:40]!r} looks like a date or a number, and is none. "
                    f"Put it in quotes",
                    problem_mark=node.start_mark,
                ) from error

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
            seen: dict[Any, int] = {}
            for key_node, _ in node.value:
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, list | dict):
                    continue  # SafeLoader itself reports these as unhashable
                line = key_node.start_mark.line + 1
                if key in seen:
                    raise RepeatedKey(
                        problem=f"the key '{key}' is given twice, first on line {seen[key]}",
                        problem_mark=key_node.start_mark,
                    )
                seen[key] = line
            return super().construct_mapping(node, deep)

    return Strict


_Loader = _strict(yaml.SafeLoader)
"""Says of a fault what was expected and what was found."""

_FastLoader = _strict(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader)
"""libyaml's parser: ten times as fast, and says less of a fault."""


def parse(text: str, source: str | Path) -> Any:
    """`yaml.safe_load` of `text`, refusing keys that stand twice.

    Raises:
        SolarError: the text is not YAML; the line names `source`, the line number and the problem.
    """
    for loader in (_FastLoader, _Loader):  # the second one for what it says of the fault
        try:
            return yaml.load(text, Loader=loader)
        except (yaml.YAMLError, RecursionError) as error:
            fault: Any = error
    where, found = f"{source}", "nested too deeply"
    if isinstance(fault, yaml.MarkedYAMLError):
        mark = fault.problem_mark or fault.context_mark
        where = f"{source}:{mark.line + 1}" if mark else where
        found = fault.problem or fault.context or "not YAML"
    elif isinstance(fault, yaml.YAMLError):
        found = str(fault)
    raise SolarError(f"{where}: not readable as YAML: {' '.join(found.split())}.") from fault


_FAULTS = {
    FileNotFoundError: "no such file",
    NotADirectoryError: "no such file",
    IsADirectoryError: "is a folder. Name a YAML file in it",
    PermissionError: "may not be read by this user",
}


def read_plain(path: str | Path) -> dict[str, Any]:
    """The mapping that the YAML file `path` holds.

    Raises:
        SolarError: the file is missing, is not text, is not YAML, or is not a mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SolarError(f"{path}: not readable as YAML: not text (UTF-8): {error}.") from None
    except OSError as error:
        raise SolarError(f"{path}: {_FAULTS.get(type(error), error.strerror)}.") from None
    value = parse(text, path)
    if not isinstance(value, dict):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise SolarError(f"{path}: holds {found}. A mapping of keys to values is needed.")
    return value
