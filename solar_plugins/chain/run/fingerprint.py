"""What a stage's output depends on, so that it is made again only when that changed.

Four things: the resolved recipe (without the paths of outputs), the local files that it names, the
models and data of the stages before it, and the result versions of the plugins, generators and
tools of ours that take part (`solar_plugins.recipes.registry`). Not our source files, and not the
versions of Axolotl, torch and the others: those are recorded, and a difference is a warning. Moving
the run folder changes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage
from solar_plugins.chain.run.record import Record, digest, portable
from solar_plugins.chain.run.run_folder import RunFolder, cached_sha256, output_files
from solar_plugins.recipes import named_data, registry
from solar_plugins.recipes.strings import strings

PACKAGE = Path(__file__).resolve().parents[2]

TOOLS = {
    "train": ("axolotl", "torch", "transformers", "trl", "accelerate", "peft", "datasets"),
    "merge": ("mergekit", "torch", "transformers"),
    "evaluate": ("lm_eval", "torch", "transformers", "datasets"),
    "data": (),
}
"""The distributions whose versions are recorded with a stage of each kind."""


def inputs(chain: Chain, stage: Stage, recipe: dict[str, Any], folder: RunFolder) -> dict[str, Any]:
    """What the output of `stage`, with its resolved `recipe`, depends on, as plain JSON values."""
    before = {name: _digest_of_outputs(folder, name) for name in stage.needs}
    base = chain.base_model
    is_folder = Path(base).is_dir() or made_by(chain, base) is not None
    if BASE_MODEL in stage.from_:
        before[BASE_MODEL] = _digest_of_folder(Path(base)) if Path(base).is_dir() else base
    value = {
        "recipe": portable(recipe, str(chain.output_dir), base if is_folder else None),
        "files": _digests_of_files(recipe, chain, folder),
        "result_versions": registry.result_versions(stage.kind, recipe),
        "from": before,
    }
    return json.loads(json.dumps(value, default=str))


def without(chain: Chain, inputs: dict[str, Any], unknown: Collection[str]) -> dict[str, Any]:
    """`inputs` without what comes from the stages `unknown`, which are still to be made."""
    names = {*unknown, *([BASE_MODEL] if made_by(chain, chain.base_model) in unknown else [])}
    return {
        **inputs,
        "files": {k: v for k, v in inputs["files"].items() if k.partition("/")[0] not in unknown},
        "from": {k: v for k, v in inputs["from"].items() if k not in names},
    }


def comparable(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """Two `inputs` without the revisions that only one of them knows: a commit that was found out
    after a stage was done is no change, another one is. Moved data sets have today's names."""
    (was, then), (now, here) = map(_commits_apart, (old, new))
    both = then.keys() & here.keys()
    return [
        {**inputs, "revisions": {place: commits[place] for place in both}}
        for inputs, commits in ((was, then), (now, here))
    ]


def _commits_apart(inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    recipe = named_data.renamed(inputs["recipe"], named_data.MOVED)
    found = {"base_model": recipe.pop("revision_of_model", None)}
    for place, entry in named_data.places_of(named_data.listed(recipe)):
        found[place] = entry.pop("revision", None)
    base = f"{inputs['from'].get(BASE_MODEL)}@"
    for name in [text for text in strings(recipe) if text.startswith(base)]:  # of a merge
        found["base_model"] = name.removeprefix(base)
        recipe = named_data.renamed(recipe, {name: base[:-1]})
    return {**inputs, "recipe": recipe}, {at: commit for at, commit in found.items() if commit}


def made_by(chain: Chain, path: str) -> str | None:
    """The stage of `chain` in whose folder `path` is; None for any other path or hub id."""
    if not Path(path).is_relative_to(chain.output_dir):
        return None
    parts = Path(path).relative_to(chain.output_dir).parts
    return parts[0] if parts and parts[0] in chain.stages else None


def differ_in_models_alone(stage: Stage, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether two `inputs` of an evaluation are the same but for the models that it scores."""
    same_data = all(old["from"].get(name) == new["from"].get(name) for name in stage.after)
    same_rest = {**old, "from": None} == {**new, "from": None}
    return stage.kind == "evaluate" and same_data and same_rest


def differences(old: dict[str, Any], new: dict[str, Any], at: str = "") -> list[str]:
    """What changed between two `inputs`, as ``"recipe.learning_rate: 1e-05 -> 2e-05"``."""
    found = []
    for key in sorted(old.keys() | new.keys(), key=str):
        was, now = old.get(key), new.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            found.extend(differences(was, now, f"{at}{key}."))
        elif was != now:
            found.append(f"{at}{key}: {_short(was)} -> {_short(now)}")
    return found


@cache
def tool_version(distribution: str) -> str | None:
    """The installed version of a distribution, without importing it."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def tool_versions(*kinds: str) -> dict[str, str | None]:
    """The installed versions of the tools of these stage kinds."""
    return {name: tool_version(name) for kind in kinds for name in TOOLS[kind]}


def other_versions(record: Record) -> str:
    """The recorded tools that are installed in another version now, or an empty text.

    ``"torch 2.13.0, 2.13.1 is installed"``
    """
    versions = [(name, was, tool_version(name)) for name, was in record.versions.items()]
    return "; ".join(
        f"{name} {was or 'none'}, {now or 'none'} is installed"
        for name, was, now in versions
        if was != now
    )


def _digest_of_outputs(folder: RunFolder, stage: str) -> str:
    record = folder.read_record(stage)
    outputs = record.outputs if record else {}
    return digest({name: entry["sha256"] for name, entry in outputs.items()})


def _digest_of_folder(folder: Path) -> str:
    files = [file for file in output_files(folder) if "__pycache__" not in file.parts]
    return digest({str(file.relative_to(folder)): cached_sha256(file) for file in files})


def _digests_of_files(recipe: Any, chain: Chain, folder: RunFolder) -> dict[str, str]:
    """Digests of the local files and folders that a recipe names anywhere.

    Of files that a stage of this chain made, the recorded ones; of folders in the run folder, no
    others. The base model has its own place in
    `inputs`, and files of this package have result versions.
    """
    found: dict[str, str] = {}
    for text in strings(recipe):
        if not text or len(text) > 4096 or "\n" in text or "\0" in text:
            continue
        path = Path(text)
        if text == chain.base_model or path in (Path("."), chain.output_dir):
            continue
        if not os.path.exists(text) or path.resolve().is_relative_to(PACKAGE):
            continue
        if path.is_relative_to(chain.output_dir):
            inside = path.relative_to(chain.output_dir)
            stage, *parts = inside.parts
            record = folder.read_record(stage) if stage in chain.stages else None
            if record and (made := record.outputs.get(str(Path(*parts)))):
                found[str(inside)] = made["sha256"]
            elif stage not in chain.stages and path.is_file():  # somebody has put it there
                found[str(inside)] = cached_sha256(path)
        elif path.is_file():
            found[text] = cached_sha256(path)
        elif path.is_dir() and "/" in text:
            found[text] = _digest_of_folder(path)
    return found


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
