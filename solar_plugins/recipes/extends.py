"""``extends:``, so that a chain or recipe says only what it changes.

    extends: solar                 # a shipped recipe by its name (the project's own copy, where
                                   # it has one), or a file: ./base.yml
    base_model: Qwen/Qwen3-8B-Base
    output_dir: ./outputs/mine
    stages:
      cpt: {set: {max_steps: 2000}}
      h6: null

Mappings are merged key by key, anything else replaces what was there, and ``null`` takes a key out;
in the ``set`` of a stage it takes it out of the stage's file.
A chain on another base that names no ``output_dir`` gets one of its own, as with ``--base-model``.
`solar show FILE` prints the recipe with ``extends:`` resolved, which Axolotl reads without us.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solar_plugins import project, shipped
from solar_plugins.errors import SolarError, nearest
from solar_plugins.recipes import yaml_file
from solar_plugins.recipes.registry import STAGE_KINDS

EXTENDS = "extends"
_SHIPPED_PATHS = ("recipes/", "mergekit_configs/", "solar_plugins/")
_SUFFIXES = (".yml", ".yaml")


def read_mapping(path: str | Path) -> dict[str, Any]:
    """The mapping in the YAML file `path`, with ``extends:`` resolved; raises as `complete`."""
    return complete(yaml_file.read_plain(path), Path(path))


def complete(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The `content` of the file `path` with ``extends:`` resolved.

    That is `content` itself, unless it extends another file or is a shipped one called from
    elsewhere.

    Raises:
        SolarError: what it extends is missing, is not readable, or extends it in turn.
    """
    *above, (below, result) = _lineage(content, path)
    for file, changes in reversed(above):
        changes = {key: value for key, value in changes.items() if key != EXTENDS}
        result = _extended_by(result, below.parent, changes, file.parent)
        below = file
    return result


def extended(path: Path) -> list[Path]:
    """The files that `path` extends, the nearest first."""
    return [file for file, _ in _lineage(yaml_file.read_plain(path), path)[1:]]


def written_output_dir(path: Path, output_dir: Any) -> Any:
    """The ``output_dir`` that the stage files of the chain `path` were written for.

    Files of an extended chain name paths below that chain's own folder.
    """
    for _, content in _lineage(yaml_file.read_plain(path), path)[1:]:
        output_dir = content.get("output_dir", output_dir)
    return output_dir


def shipped_file(name: str) -> Path | None:
    """The shipped recipe or merge config of this name: ``solar``, ``tiny/sft_v3``, ``dus``."""
    return next(_recipes_called(name, shipped.root()), None)


def _recipes_called(name: str, root: Path) -> Iterator[Path]:
    if not Path(name).is_absolute() and ".." not in Path(name).parts:
        files = (root / folder / f"{name}.yml" for folder in shipped.FOLDERS)
        yield from filter(Path.is_file, files)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, see above; neither is changed.

    >>> merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3, "c": None}, "d": [2]})
    {'a': {'b': 3}, 'd': [2]}
    """
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def folder_for(output_dir: Any, base_model: str) -> Any:
    """A folder of its own for another base, so that the models of the first one stay.

    >>> folder_for("./outputs/solar-10.7b", "Qwen/Qwen3-8B-Base")
    './outputs/solar-10.7b-qwen3-8b-base'
    """
    if not isinstance(output_dir, str):
        return output_dir  # refused where the chain is loaded, with its line
    name = Path(base_model.partition("@")[0]).name.lower()
    return f"{output_dir.rstrip('/')}-{re.sub(r'[^a-z0-9._-]+', '-', name)}"


def _lineage(content: dict[str, Any], path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The file `path` with its `content`, and each file that the one before it extends."""
    found = [(path, _from_anywhere(content, path))]
    seen: set[Path] = set()
    while EXTENDS in found[-1][1]:
        file, content = found[-1]
        if file.resolve() in seen:
            raise SolarError(f"{file}: {EXTENDS}: the files extend each other in a circle.")
        seen.add(file.resolve())
        below = _find(content[EXTENDS], file)
        found.append((below, _from_anywhere(yaml_file.read_plain(below), below)))
    return found


def _extended_by(
    base: dict[str, Any], below: Path, changes: dict[str, Any], here: Path
) -> dict[str, Any]:
    """`base`, of a file in the folder `below`, with the `changes` of one in the folder `here`.

    A chain on another base model gets an output folder of its own.
    """
    base, changed = dict(base), changes.get("stages")
    changed = changed if isinstance(changed, dict) else {}
    if isinstance(base.get("stages"), dict):
        base["stages"] = {
            name: _stage_of(stage, below, changed.get(name), here)
            for name, stage in base["stages"].items()
        }
    other = changes.get("base_model")
    if "stages" in base and isinstance(other, str) and other != base.get("base_model"):
        base["output_dir"] = folder_for(base.get("output_dir"), other)  # unless `changes` has one
    result = merged(base, changes)
    for name, change in changed.items():
        settings = change.get("set") if isinstance(change, dict) else None
        if isinstance(settings, dict):  # whose nulls `merged` drops where the base has a `set`
            nulls = {key: None for key, value in settings.items() if value is None}
            stage = result["stages"][name]
            result["stages"] |= {name: stage | {"set": stage["set"] | nulls}}
    return result


def _stage_of(stage: Any, below: Path, change: Any, here: Path) -> Any:
    """A stage of the base as it is written in the folder `here`: it names files from its own.

    Where `change` says who runs the stage now, without who ran it before.
    """
    if not isinstance(stage, dict):
        return stage
    if isinstance(change, dict) and any(kind in change for kind in STAGE_KINDS):
        return {key: value for key, value in stage.items() if key not in STAGE_KINDS}
    files = {kind: stage[kind] for kind in STAGE_KINDS if isinstance(stage.get(kind), str)}
    return stage | {kind: os.path.relpath(below / file, here) for kind, file in files.items()}


def _find(name: Any, path: Path) -> Path:
    """The file that ``extends: name`` in the file `path` means."""
    where = f"{path}: {EXTENDS}: {name!r}"
    if not isinstance(name, str) or not name:
        raise SolarError(f"{where} found. Write the name of a shipped recipe, or ./FILE.yml.")
    if name.endswith(_SUFFIXES):
        file = Path(os.path.normpath(path.parent / name))
        if file.is_file():
            return file
        raise SolarError(f"{where}: no such file. The path counts from {path.parent}.")
    project_root = project.root_of(path)
    for file in _recipes_called(name, project_root) if project_root else ():
        if not file.samefile(path):  # the project's own copy, unless that copy extends the shipped
            return Path(os.path.relpath(file))
    if (found := shipped_file(name)) is not None:
        return found
    root = shipped.root()
    known = [
        file.relative_to(root / folder).with_suffix("").as_posix()
        for folder in shipped.FOLDERS
        for file in (root / folder).rglob("*.yml")
    ]
    raise SolarError(
        f"{where}: no shipped recipe has this name.{nearest(name, known)} "
        f"A file of your own is named with its ending: ./FILE.yml."
    )


def _from_anywhere(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """A shipped recipe, called from another folder than the repository's root."""
    if not shipped.is_ours(path.resolve()) or shipped.root() == Path.cwd():
        return content

    def in_full(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: in_full(item) for key, item in value.items()}
        if isinstance(value, list):
            return [in_full(item) for item in value]
        plain = value.removeprefix("./") if isinstance(value, str) else ""
        if not plain.startswith(_SHIPPED_PATHS):
            return value
        root = shipped.PACKAGE.parent if plain.startswith("solar_plugins/") else shipped.root()
        return str(root / plain) if (root / plain).exists() else value

    return in_full(content)
