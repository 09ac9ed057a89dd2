"""What a chain or recipe does, apart from how it is written."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from solar_plugins import project, shipped
from solar_plugins.chain.chain_file import Chain, Stage, load_chain
from solar_plugins.chain.resolve import resolve, set_key
from solar_plugins.errors import SolarError
from solar_plugins.recipes import extends
from solar_plugins.sharing import unpack
from solar_plugins.sharing.fetch import read_source

_PLACES = ("output_dir", "dataset_prepared_path")
"""Where something is written; that changes nothing in what is made."""

_CONTENT = (".json", ".jinja", ".yml", ".yaml", ".txt")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class SettingDifference(NamedTuple):
    """A key that has another value; None where it is not there."""

    where: str
    one: Any
    other: Any

    @property
    def text(self) -> str:
        """``sft.learning_rate: 2e-05 -> 1e-05``."""
        return f"{self.where}: {_shown(self.one)} -> {_shown(self.other)}"


def plain(file: Path, stage: str | None, base_model: str | None = None) -> dict[str, Any]:
    """The recipe `file` with `extends:` resolved, or the recipe that its `stage` runs.

    Raises:
        SolarError: `file` is not a chain but a stage is named, or the chain lacks that stage.
    """
    content = extends.read_mapping(file)
    if "stages" not in content:
        if stage is not None:
            raise SolarError(f"{file}: not a chain, so there is no stage {stage!r}.")
        return content if base_model is None else {**content, "base_model": base_model}
    chain = load_chain(file, base_model=base_model)
    if stage is not None:
        return resolve(chain, chain.stage(stage, "show"))
    stages = dict(content["stages"])
    for name, entry in stages.items():
        moved = _moved(chain, chain.stages[str(name)])
        if moved:  # last, since a block replaces what a dotted key before it has set
            kept = {key: v for key, v in (entry.get("set") or {}).items() if key not in moved}
            stages[name] = {**entry, "set": {**kept, **moved}}
    places = {"base_model": chain.base_model, "output_dir": str(chain.output_dir)}
    return {**content, **places, "stages": stages}


def _moved(chain: Chain, stage: Stage) -> dict[str, Any]:
    """What `set` has to say where the stage's file names paths in the folder of another chain.

    `extends` moves them along; a plain chain has only its own folder.
    """
    if stage.kind == "merge":  # its models are those of `from`
        return {}
    recipe = extends.read_mapping(stage.file)
    for dotted, value in chain.settings.get(stage.name, {}).items():
        set_key(recipe, dotted, value, stage)
    moved = {key: value for key, value in recipe.items() if key not in ("base_model", *_PLACES)}
    moved = chain.rebase(moved)
    return {key: value for key, value in moved.items() if value != recipe[key]}


def effect(file: Path) -> dict[str, Any]:
    """Everything that a chain, a recipe or the chain in a pack sets.

    Of the files that it names, the content counts.
    """
    if file.name.endswith(".zip"):
        opened = unpack.open_pack(read_source(str(file)), str(file))
        with tempfile.TemporaryDirectory() as place:
            opened.write(Path(place))
            return effect(Path(place) / opened.lock.chain)
    root = project.root_of(file)
    if root is not None:
        file = Path(os.path.abspath(file)).relative_to(root)
    with project.working_in(root or Path()):
        content = extends.read_mapping(file)
        if "stages" not in content:
            return _effect(content, None)
        chain = load_chain(file)
        return {
            "name": chain.name,
            "base_model": _effect(chain.base_model, chain),
            "stages": {
                name: {
                    "kind": stage.kind,
                    "from": list(stage.from_),
                    **_effect(resolve(chain, stage), chain),
                }
                for name, stage in chain.stages.items()
            },
        }


def differences(one: Any, other: Any, where: str = "") -> Iterator[SettingDifference]:
    """Where two effects differ, key by key, in the order of the first."""
    pairs: list[dict[Any, Any]]
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [one, other]
    elif _by_path(one) and _by_path(other):
        pairs = [_by_path(one), _by_path(other)]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [dict(enumerate(value)) for value in (one, other)]
    else:
        if one != other:
            yield SettingDifference(where.removeprefix("stages."), one, other)
        return
    left, right = pairs
    for key in {**left, **right}:
        at = f"[{key}]" if isinstance(key, int) else f".{key}" if where else key
        yield from differences(left.get(key), right.get(key), f"{where}{at}")
    if isinstance(one, list) and left.keys() == right.keys() and [*left] != [*right]:
        yield SettingDifference(f"{where} (order)", [*left], [*right])


def _by_path(value: Any) -> dict[str, Any]:
    """A list of datasets by their paths; empty for anything else, or where one is there twice."""
    if not isinstance(value, list) or not all(isinstance(v, dict) and "path" in v for v in value):
        return {}
    keyed = {str(entry["path"]): entry for entry in value}
    return keyed if len(keyed) == len(value) else {}


def _effect(value: Any, chain: Chain | None, key: str = "") -> Any:
    """`value` without places, with numbers as numbers and files as what they hold."""
    if isinstance(value, dict):
        return {
            str(name): _effect(item, chain, str(name))
            for name, item in value.items()
            if name not in _PLACES and item is not None
        }
    if isinstance(value, list):
        return [_effect(item, chain, key) for item in value]
    if not isinstance(value, str):
        return value
    if _NUMBER.fullmatch(value):
        return float(value)
    if chain is not None and Path(value).is_relative_to(chain.output_dir):
        return "{output_dir}/" + str(Path(value).relative_to(chain.output_dir))
    path = Path(value) if value and len(value) < 400 and "\n" not in value else None
    if path is not None and key == "include_path" and path.is_dir():
        return {str(f.relative_to(path)): f.read_text("utf-8") for f in shipped.files_in(path)}
    if path is None or path.suffix not in _CONTENT or not path.is_file():
        return os.path.normpath(value) if value.startswith("./") else value
    text = path.read_text(encoding="utf-8", errors="replace")
    with suppress(ValueError, RecursionError):
        return json.loads(text) if path.suffix == ".json" else text
    return text


def _shown(value: Any) -> str:
    if value is None:
        return "(not set)"
    text = json.dumps(value, ensure_ascii=False, default=str)  # dates
    return text if len(text) <= 80 else f"{text[:76]} …"
