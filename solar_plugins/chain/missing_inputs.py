"""Which command makes a folder that a recipe needs and that is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solar_plugins.chain.chain_file import Chain, load_chain
from solar_plugins.errors import SolarError
from solar_plugins.recipes import extends

_SUFFIXES = (".yml", ".yaml")
_MADE_BY_COMMAND = {  # files that no stage makes but a command of ours does
    Path("data/flan.index"): "solar flan-index --from benchmarks --out data/flan.index",
    Path("data/math_alignment.jsonl"): "solar synth-math from-metamathqa",
    Path("data/math_instruct.jsonl"): "solar synth-math from-metamathqa",
}


def missing_input(
    cfg: dict[str, Any], root: Path = Path(), made_below: Path | None = None
) -> str | None:
    """The line for the first local input of an Axolotl recipe that is not there, or None.

    Args:
        cfg: The recipe: ``base_model``, ``datasets``, ``sdpo``, ``flan_filter``,
            ``axolotl_config_path``.
        root: Where ``recipes/`` is looked for as well.
        made_below: A folder whose contents may be made before the recipe is run.
    """
    for where, name in _inputs(cfg):
        to_come = made_below is not None and Path(os.path.normpath(name)).is_relative_to(
            os.path.normpath(made_below)
        )
        if not to_come and is_local(name) and not (root / name).exists():
            maker = command_for(Path(name), _recipe_files(cfg, root))
            way_out = f"Make it first: {maker}" if maker else "Name a path or a hub id that exists."
            return f"{where}: {name} is not there. {way_out}"
    return None


def _inputs(cfg: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where in a recipe each model and data set stands, and its name."""
    yield "base_model", str(cfg.get("base_model"))
    flan_filter = cfg.get("flan_filter")
    if isinstance(flan_filter, dict) and flan_filter.get("index"):
        yield "flan_filter.index", str(flan_filter["index"])
    lists = {key: cfg.get(key) for key in ("datasets", "test_datasets", "pretraining_dataset")}
    sdpo = cfg.get("sdpo")
    steps = sdpo.get("steps") if isinstance(sdpo, dict) else None
    for number, step in enumerate(steps or []):
        if isinstance(step, dict):
            lists[f"sdpo.steps[{number}].datasets"] = step.get("datasets")
    for key, entries in lists.items():
        for number, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict) and entry.get("path"):
                yield f"{key}[{number}].path", str(entry["path"])


def is_local(name: str) -> bool:
    """Whether a model or dataset name is a path and not a hub id (``owner/name``)."""
    path = Path(name)
    if path.is_absolute() or name.startswith(("./", "../", "~")) or path.suffix in (".jsonl",):
        return True
    return len(path.parts) > 2 or (len(path.parts) > 1 and Path(path.parts[0]).is_dir())


def command_for(wanted: Path, files: list[Path]) -> str | None:
    """The command that makes `wanted`, found in the chains and recipes `files`.

    A file inside a stage's folder is made by that stage.
    """
    wanted = Path(os.path.normpath(wanted))
    if wanted in _MADE_BY_COMMAND:
        return _MADE_BY_COMMAND[wanted]
    by_recipe, by_chain = None, None
    for file in files:
        try:
            content = extends.read_mapping(file)
        except SolarError:
            continue
        if "stages" in content:
            by_chain = by_chain or _stage_command(file, wanted)
        elif "base_model" in content and isinstance(content.get("output_dir"), str):
            makes = Path(os.path.normpath(content["output_dir"]))
            if wanted == makes or wanted.is_relative_to(makes):
                by_recipe = by_recipe or f"axolotl train {file}"
    if by_recipe and by_chain:
        return f"{by_recipe} (or {by_chain})"
    return by_recipe or by_chain


def _stage_command(file: Path, wanted: Path) -> str | None:
    try:
        chain: Chain = load_chain(file, check_files=False)
    except SolarError:
        return None
    for stage in chain.stages.values():
        if wanted.is_relative_to(chain.output_dir / stage.name):
            command = f"solar run {file} --until {stage.name}"
            if stage.kind == "merge":
                command = f"mergekit-yaml {stage.file} {wanted} (or {command})"
            return command
    return None


def _recipe_files(cfg: dict[str, Any], root: Path) -> list[Path]:
    """YAML files beside the recipe and in ``recipes/``, nearest first."""
    return list(dict.fromkeys(_yaml_files(cfg, root)))


def _yaml_files(cfg: dict[str, Any], root: Path) -> Iterator[Path]:
    own = cfg.get("axolotl_config_path")
    folders = [Path(own).parent] if own else []
    recipes = root / "recipes"
    folders += [recipes, *sorted(path for path in recipes.glob("*") if path.is_dir())]
    for folder in folders:
        if folder.is_dir():
            yield from sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
