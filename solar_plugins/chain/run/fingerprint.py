"""What a stage's output depends on, so that it is made again exactly when that changed.

Five things: the resolved recipe (without the paths of outputs), the local files that it names, the
code of ours that takes part, the models and data of the stages before it, and the versions of the
tools. Moving the run folder changes none of them.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage
from solar_plugins.chain.run.run_folder import RunFolder, output_files, sha256
from solar_plugins.recipes import registry

PACKAGE = Path(__file__).resolve().parents[2]

TOOLS = {
    "train": ("axolotl", "torch", "transformers", "trl", "accelerate", "peft", "datasets"),
    "merge": ("mergekit", "torch", "transformers"),
    "evaluate": ("lm_eval", "torch", "transformers", "datasets"),
    "data": (),
}
"""The distributions whose version a stage of each kind depends on."""

_NOT_IN_RECIPE = ("output_dir", "dataset_prepared_path", "resume_from_checkpoint")

_CODE_OF_GENERATOR = {
    "miniature_world": "data",
    "flan_index": "flan_filter",
    "synth_math": "synth_math",
}
_NOT_CODE_OF_STAGES = ("commands.py", "README.md")


def inputs(chain: Chain, stage: Stage, recipe: dict[str, Any], folder: RunFolder) -> dict:
    """Everything that the output of `stage` depends on, as plain JSON values.

    Args:
        recipe: The resolved recipe, see `solar_plugins.chain.resolve`.
        folder: Where the stages before have their records, all done.
    """
    before = {name: _digest_of_outputs(folder, name) for name in stage.needs}
    if BASE_MODEL in stage.from_:
        before[BASE_MODEL] = _digest_of_model(chain.base_model)
    return {
        "recipe": _portable(recipe, chain),
        "files": _digests_of_files(recipe, chain, folder),
        "code": digest_of_code(stage, recipe),
        "from": before,
        "versions": {name: tool_version(name) for name in TOOLS[stage.kind]},
    }


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, keys sorted."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def differ_in_models_alone(stage: Stage, old: dict, new: dict) -> bool:
    """Whether two `inputs` of an evaluation are the same but for the models that it scores."""
    same_data = all(old["from"].get(name) == new["from"][name] for name in stage.after)
    same_rest = {**old, "from": None} == {**new, "from": None}
    return stage.kind == "evaluate" and same_data and same_rest


def differences(old: dict, new: dict, at: str = "") -> list[str]:
    """What changed between two `inputs`, as ``"recipe.learning_rate: 1e-05 -> 2e-05"``."""
    found = []
    for key in sorted(old.keys() | new.keys(), key=str):
        was, now = old.get(key), new.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            found.extend(differences(was, now, f"{at}{key}."))
        elif was != now:
            found.append(f"{at}{key}: {_short(was)} -> {_short(now)}")
    return found


def digest_of_code(stage: Stage, recipe: dict[str, Any]) -> dict[str, str]:
    """Digests of the folders of ours whose code makes the output of `stage`."""
    folders = [
        block for block in registry.blocks_of(recipe) if block != "stage" and stage.kind == "train"
    ]
    if stage.kind == "data":
        folders = [_CODE_OF_GENERATOR.get(recipe.get("generator"), "data")]
    elif stage.kind == "evaluate":
        folders = ["evaluation"]
    digests = {}
    for name in folders:
        files = {
            str(path.relative_to(PACKAGE)): sha256(path)
            for path in sorted((PACKAGE / name).rglob("*"))
            if path.is_file()
            and "__pycache__" not in path.parts
            and path.name not in _NOT_CODE_OF_STAGES
        }
        digests[name] = digest(files)
    return digests


@cache
def tool_version(distribution: str) -> str | None:
    """The installed version of a distribution, without importing it."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _digest_of_outputs(folder: RunFolder, stage: str) -> str:
    record = folder.read_record(stage)
    outputs = record.outputs if record else {}
    return digest({name: entry["sha256"] for name, entry in outputs.items()})


def _digest_of_model(model: str) -> str:
    """Of a local model its files; of a hub model its id."""
    path = Path(model)
    if not path.is_dir():
        return model
    return digest(
        {str(file.relative_to(path)): _cached_sha256(file) for file in output_files(path)}
    )


def _digests_of_files(recipe: Any, chain: Chain, folder: RunFolder) -> dict[str, str]:
    """Digests of the local files and folders that a recipe names anywhere.

    Of files that a stage of this chain made, the recorded ones. The base model is left to
    `_digest_of_model`.
    """
    found: dict[str, str] = {}
    for text in _strings(recipe):
        if not text or len(text) > 4096 or "\n" in text or "\0" in text:
            continue
        path = Path(text)
        if text == chain.base_model or path in (Path("."), chain.output_dir) or not path.exists():
            continue
        if path.is_relative_to(chain.output_dir):
            below = path.relative_to(chain.output_dir)
            record = folder.read_record(below.parts[0]) if below.parts[0] in chain.stages else None
            if record and str(Path(*below.parts[1:])) in record.outputs:
                found[str(below)] = record.outputs[str(Path(*below.parts[1:]))]["sha256"]
        elif path.is_file():
            found[text] = _cached_sha256(path)
        elif path.is_dir() and "/" in text:
            files = [file for file in output_files(path) if "__pycache__" not in file.parts]
            found[text] = digest({str(f.relative_to(path)): _cached_sha256(f) for f in files})
    return found


def _cached_sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_of(path.resolve(), status.st_size, status.st_mtime_ns)


@cache
def _sha256_of(path: Path, size: int, mtime_ns: int) -> str:
    return sha256(path)


def _strings(value: Any):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)


def _portable(value: Any, chain: Chain) -> Any:
    """`value` without output paths; the run folder and a local base model under no name of theirs.

    A local base model is known by its files (`_digest_of_model`), wherever it lies.
    """
    if isinstance(value, dict):
        return {
            str(key): _portable(item, chain)
            for key, item in value.items()
            if key not in _NOT_IN_RECIPE
        }
    if isinstance(value, list):
        return [_portable(item, chain) for item in value]
    if value == chain.base_model and Path(value).is_dir():
        return "{base_model}"
    output_dir = str(chain.output_dir)
    if isinstance(value, str) and (value == output_dir or value.startswith(output_dir + "/")):
        return "{output_dir}" + value[len(output_dir) :]
    return value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
