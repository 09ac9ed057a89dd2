"""Which command makes a folder that a recipe needs and that is not there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from solar_plugins.chain.chain_file import load_chain
from solar_plugins.errors import SolarError
from solar_plugins.recipes import extends, named_data

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
        cfg: The recipe: its ``base_model``, data sets, ``flan_filter.index``, and
            ``axolotl_config_path``.
        root: Where ``recipes/`` is looked for as well.
        made_below: A folder whose contents may be made before the recipe is run.
    """
    block = cfg.get("flan_filter")
    index = block.get("index") if isinstance(block, dict) else None
    named = {"base_model": cfg.get("base_model"), "flan_filter.index": index}
    named |= {f"{where}.path": entry["path"] for where, entry in named_data.places_of(cfg)}
    for where, name in ((where, str(name)) for where, name in named.items() if name):
        to_come = made_below is not None and Path(os.path.normpath(name)).is_relative_to(
            os.path.normpath(made_below)
        )
        if not to_come and is_local(name) and not (root / name).exists():
            maker = command_for(Path(name), _recipe_files(cfg, root))
            way_out = f"Make it first: {maker}" if maker else "Name a path or a hub id that exists."
            return f"{where}: {name} is not there. {way_out}"
    return None


def is_local(name: str) -> bool:
    """Whether a model or dataset name is a path and not a hub id (``owner/name``)."""
    path = Path(name)
    if path.is_absolute() or name.startswith(("./", "../", "~")) or path.suffix == ".jsonl":
        return True
    return len(path.parts) > 2 or (len(path.parts) > 1 and Path(path.parts[0]).is_dir())


def command_for(wanted: Path, files: list[Path]) -> str | None:
    """The command that makes `wanted`, found in the chains and recipes `files`.

    A file inside a stage's folder is made by that stage.
    """
    wanted = Path(os.path.normpath(wanted))
    if wanted in _MADE_BY_COMMAND:
        return _MADE_BY_COMMAND[wanted]
    recipes: list[str] = []
    chains: list[str] = []
    for file in files:
        with suppress(SolarError):
            content = extends.read_mapping(file)
            makes = content.get("output_dir")
            if "stages" in content:
                chain = load_chain(file, check_files=False)
                for stage in chain.stages.values():
                    if wanted.is_relative_to(chain.output_dir / stage.name):
                        run = f"solar run {file} --until {stage.name}"
                        merge = f"mergekit-yaml {stage.file} {wanted} (or {run})"
                        chains.append(merge if stage.kind == "merge" else run)
            elif "base_model" in content and wanted.is_relative_to(os.path.normpath(f"{makes}")):
                recipes.append(f"axolotl train {file}")
    if recipes and chains:
        return f"{recipes[0]} (or {chains[0]})"
    return next(iter(recipes + chains), None)


def _recipe_files(cfg: dict[str, Any], root: Path) -> list[Path]:
    """YAML files in the folder of the recipe and in ``recipes/``, nearest first."""
    own = cfg.get("axolotl_config_path")
    recipes = root / "recipes"
    folders = [Path(own).parent] if own else []
    folders += [recipes, *sorted(path for path in recipes.glob("*") if path.is_dir())]
    files = (path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()))
    return list(dict.fromkeys(path for path in files if path.suffix in (".yml", ".yaml")))
