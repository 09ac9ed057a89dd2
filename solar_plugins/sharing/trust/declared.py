"""What a pack will download, run and upload, listed before anything happens."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.chain.resolve import merge_models
from solar_plugins.check import kind_of
from solar_plugins.errors import SolarError
from solar_plugins.recipes import data_recipe
from solar_plugins.recipes.named_data import datasets_of
from solar_plugins.sharing.trust import safe_yaml
from solar_plugins.sharing.trust.file_risks import RUN_FOLDER
from solar_plugins.sharing.trust.harmless import LOADERS
from solar_plugins.sharing.trust.names import printable
from solar_plugins.sharing.trust.recipe_risks import values_of
from solar_plugins.sharing.trust.risk import Risk
from solar_plugins.shipped import TASKS_FOLDER

_DATA_SOURCES = ("metamathqa", "math", "math_test", "gsm8k")
_MODEL_KEYS = ("base_model", "tokenizer_config", "lora_model_dir", "reward_model")
_TOOLS = {"train": "axolotl train", "merge": "mergekit-yaml", "evaluate": "lm-eval", "data": "data"}


@dataclass
class Declared:
    """What the recipes of a pack name, each thing once, in the order of the files.

    Attributes:
        models: Hub id (with ``@revision`` where one is pinned) -> files that name it.
        datasets: The same for datasets.
        addresses: The same for addresses (``https://…``, ``s3://…``) anywhere in a recipe.
        local: Paths that have to be there and that the pack does not hold.
        runs: One line per stage or recipe.
        uploads: One line per thing that is sent somewhere.
    """

    models: dict[str, list[str]] = field(default_factory=dict)
    datasets: dict[str, list[str]] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    local: dict[str, list[str]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The same for people."""
        lines = []
        for named in (self.models, self.datasets):
            what = "model" if named is self.models else "dataset"
            for name in named:
                or_folder = "" if "/" in name else ", unless a folder of that name is there"
                lines.append(f"downloads  {what} {printable(name)}{or_folder}")
        lines += [f"reaches    {printable(name)}" for name in self.addresses]
        lines += [f"needs      {printable(name)} (not in the pack)" for name in self.local]
        lines += [f"runs       {printable(line)}" for line in self.runs]
        lines += [f"uploads    {printable(line)}" for line in self.uploads]
        if not self.uploads:
            lines.append("uploads    nothing")
        return lines


def declared_in(files: Mapping[str, bytes], risks: list[Risk]) -> Declared:
    """What the YAML files of a pack, already found readable, name."""
    declared = Declared()
    made: set[str] = set()
    of_stages: set[str] = set()
    contents = {
        name: safe_yaml.read_mapping(data, name)
        for name, data in files.items()
        if name.endswith((".yml", ".yaml"))
        and not name.startswith(RUN_FOLDER)
        and TASKS_FOLDER not in name.split("/")
    }
    kinds = {name: kind_of(content) for name, content in contents.items()}
    for name, content in contents.items():
        if kinds[name] == "chain":
            made.add(_normal(content.get("output_dir")))
            of_stages.update(_stage_files(name, content))
    for name, content in contents.items():
        # The models of a stage's own file are replaced by those that the chain names.
        with_models = name not in of_stages
        _of_file(declared, name, content, kinds[name], made, files, with_models)
    for risk in risks:
        at = f"{risk.place}: " if risk.place else ""
        line = f"{risk.kind}: {at}{risk.found} ({risk.file})"
        (declared.uploads if risk.kind == "upload" else declared.runs).append(line)
    return declared


def _of_file(
    declared: Declared,
    name: str,
    content: dict[str, Any],
    kind: str | None,
    made: set[str],
    files: Mapping[str, bytes],
    with_models: bool,
) -> None:
    def note(what: dict[str, list[str]], value: Any, revision: Any = None) -> None:
        if not isinstance(value, str) or not value or "://" in value:
            return
        if is_local(value) or PurePosixPath(value).suffix in (".jsonl", ".json", ".parquet"):
            path = _normal(value)
            below = any(path == root or path.startswith(f"{root}/") for root in made if root)
            if not below and path not in files:
                declared.local.setdefault(path, []).append(name)
            return
        what.setdefault(f"{value}@{revision}" if revision else value, []).append(name)

    for _, _, value in values_of(content):
        if isinstance(value, str) and "://" in value:
            declared.addresses.setdefault(value, []).append(name)
    extended = content.get("extends")
    if isinstance(extended, str) and not extended.startswith("."):
        declared.runs.append(f"the shipped {extended}, as far as {name} does not change it")
    if kind == "chain":
        note(declared.models, content.get("base_model"))
        for stage, (tool, file) in _stages(content).items():
            declared.runs.append(f"{_TOOLS[tool]} {file} (stage {stage} of {name})")
            set_ = content["stages"][stage].get("set")
            if isinstance(set_, dict):
                _of_file(declared, name, set_, tool, made, files, with_models)
        return
    if kind == "merge" and with_models:
        for model in merge_models(content):
            note(declared.models, model)
    for key in _MODEL_KEYS:
        revision = content.get("revision_of_model") if key == "base_model" else None
        if kind != "merge" and (with_models or key != "base_model"):
            note(declared.models, content.get(key), revision)
    if kind == "data":
        for source in _sources_of_data(content):
            note(declared.datasets, source)
        note(declared.models, content.get("tokenizer"))
    plugins = content.get("plugins")
    for plugin in plugins if isinstance(plugins, list) else []:
        line = f"plugin {plugin}"
        if line not in declared.runs:
            declared.runs.append(line)
    for reference in _references(content):
        note(declared.models, reference)
    for entry in datasets_of(content):
        data_files = entry.get("data_files")
        if entry["path"] not in LOADERS:
            note(declared.datasets, entry["path"], entry.get("revision"))
            continue
        for data_file in data_files if isinstance(data_files, list) else [data_files]:
            note(declared.datasets, data_file)
    if kind == "evaluate":
        tasks = content.get("tasks")
        named = ", ".join(map(str, tasks)) if isinstance(tasks, list) else str(tasks)
        if not content.get("include_path"):
            declared.datasets.setdefault(f"of the lm-eval tasks {named}", []).append(name)


def _sources_of_data(content: Mapping[str, Any]) -> list[str]:
    """What a data recipe reads, its generator's own defaults included."""
    try:
        settings = vars(data_recipe.read(dict(content)))
    except SolarError:
        return []  # `solar check` says what is wrong with it
    named = [settings[key] for key in _DATA_SOURCES if key in settings]
    return [*named, *settings.get("sources", [])]


def _references(content: Mapping[str, Any]) -> Iterator[Any]:
    """Models that steps of sDPO take for their reference."""
    block = content.get("sdpo")
    steps = block.get("steps") if isinstance(block, dict) else None
    for part in [block, *(steps if isinstance(steps, list) else [])]:
        reference = part.get("reference") if isinstance(part, dict) else None
        if isinstance(reference, dict):
            yield reference.get("path")


def _stages(content: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Kind and file of every stage of a chain that names both."""
    stages = content.get("stages")
    found = {}
    for stage, entry in stages.items() if isinstance(stages, dict) else ():
        for kind in _TOOLS:
            if isinstance(entry, dict) and isinstance(entry.get(kind), str):
                found[str(stage)] = (kind, entry[kind])
    return found


def _stage_files(name: str, content: dict[str, Any]) -> set[str]:
    """The files that the stages of the chain `name` run, as the pack calls them."""
    folder = posixpath.dirname(name)
    return {
        posixpath.normpath(posixpath.join(folder, file)) for _, file in _stages(content).values()
    }


def _normal(path: Any) -> str:
    return str(PurePosixPath(path)) if isinstance(path, str) else ""
