"""What a pack will download, run and upload, listed before anything happens.

What counts is what its recipes come to: with what they extend and a chain's ``set``, and without
what those replace.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Any

from solar_plugins import shipped
from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.chain.resolve import merge_models
from solar_plugins.check import kind_of
from solar_plugins.errors import SolarError
from solar_plugins.recipes import data_recipe, extends
from solar_plugins.recipes.named_data import datasets_of
from solar_plugins.recipes.strings import strings
from solar_plugins.sharing.trust import safe_yaml
from solar_plugins.sharing.trust.file_risks import RUN_FOLDER, is_task
from solar_plugins.sharing.trust.harmless import LOADERS
from solar_plugins.sharing.trust.names import printable
from solar_plugins.sharing.trust.recipe_risks import values_of
from solar_plugins.sharing.trust.risk import Risk
from solar_plugins.sharing.trust.safe_yaml import MAX_DEPTH

_DATA_SOURCES = ("metamathqa", "math", "math_test", "gsm8k")
_TOOLS = {"train": "axolotl train", "merge": "mergekit-yaml", "evaluate": "lm-eval", "data": "data"}
_DATA_SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")

Recipe = dict[str, Any]


_HEADINGS = {
    "model": "downloads  model ",
    "dataset": "downloads  dataset ",
    "address": "reaches    ",
    "local": "needs      ",
    "run": "runs       ",
    "upload": "uploads    ",
}


class Declared:
    """What a pack names, each thing once, in the order of the files.

    Attributes:
        made: Folders that its chains write.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self._files = [*files]
        self._found: dict[str, dict[str, None]] = {what: {} for what in _HEADINGS}
        self.made: list[str] = []

    @property
    def datasets(self) -> list[str]:
        """Hub ids, with ``@revision`` where one is pinned."""
        return [*self._found["dataset"]]

    @property
    def local(self) -> list[str]:
        """Paths that have to be there and that the pack does not hold."""
        return [*self._found["local"]]

    def add(self, what: str, name: str) -> None:
        """One of `_HEADINGS`."""
        self._found[what][name] = None

    def note(self, what: str, value: Any, revision: Any = None) -> None:
        """A model, data set or file that a recipe names."""
        if not isinstance(value, str) or not value or "://" in value:
            return
        path = posixpath.normpath(value)
        if not is_local(value) and not value.endswith(_DATA_SUFFIXES):
            self.add(what, f"{value}@{revision}" if revision else value)
        elif not any(_is_below(path, root) for root in self.made) and not any(
            _is_below(file, path) for file in self._files
        ):
            self.add("local", path)

    def lines(self) -> list[str]:
        """The same for people."""
        lines = []
        for what, names in self._found.items():
            after = {"local": " (not in the pack)"}.get(what, "")
            for name in names or (["nothing"] if what == "upload" else []):
                is_plain = what in ("model", "dataset") and not re.search("[/ ]", name)
                or_folder = ", unless a folder of that name is there" if is_plain else ""
                lines.append(f"{_HEADINGS[what]}{printable(name)}{after}{or_folder}")
        return lines


def declared_in(files: Mapping[str, bytes], risks: list[Risk]) -> Declared:
    """What the YAML files of a pack, already found readable, name."""
    declared = Declared(files)
    contents = {
        name: safe_yaml.read(data, name).content
        for name, data in files.items()
        if name.endswith((".yml", ".yaml")) and not name.startswith(RUN_FOLDER)
    }
    tasks = {name: content for name, content in contents.items() if is_task(content)}
    used = set(tasks)
    whole = {name: _complete(name, contents, used, declared) for name in contents}
    chains = {name: content for name, content in whole.items() if kind_of(content) == "chain"}
    declared.made += [str(c["output_dir"]) for c in chains.values() if "output_dir" in c]
    for name, chain in chains.items():
        used.add(name)
        declared.note("model", chain.get("base_model"))
        for place in strings(chain.get("data")):
            declared.note("dataset", place)
        for stage, kind, entry in _stages(chain):
            declared.add("run", f"{_TOOLS[kind]} {entry[kind]} (stage {stage} of {name})")
            used.add(entry[kind])
            recipe = whole.get(entry[kind], {})
            set_ = entry.get("set")
            for dotted, value in set_.items() if isinstance(set_, dict) else ():
                *outer, last = str(dotted).split(".", MAX_DEPTH)
                block = reduce(lambda inner, key: {key: inner}, reversed(outer), {last: value})
                recipe = extends.merged(recipe, block)
            _recipe(declared, recipe, kind, tasks, in_chain=True)
    for name, recipe in whole.items():
        if name not in used:
            _recipe(declared, recipe, kind_of(recipe), tasks)
    for risk in risks:
        at = f"{risk.place}: " if risk.place else ""
        what = "upload" if risk.kind == "upload" else "run"
        declared.add(what, f"{risk.kind}: {at}{risk.found} ({risk.file})")
    return declared


def _complete(
    name: str, contents: Mapping[str, Recipe], used: set[str], declared: Declared, *above: str
) -> Recipe:
    """A file with what it extends, of the pack or of ours, which is then used."""
    content = dict(contents.get(name, {}))
    below = content.pop(extends.EXTENDS, None)
    if not isinstance(below, str) or name in above or len(above) > MAX_DEPTH:
        return _with_places(content, name)
    place = posixpath.normpath(posixpath.join(posixpath.dirname(name), below))
    if below.endswith((".yml", ".yaml")):
        used.add(place)
        base = _complete(place, contents, used, declared, *above, name)
    else:
        declared.add("run", f"the shipped {below}, as far as {name} does not change it")
        file = extends.shipped_file(below)
        base = {}
        if file is not None:
            place = file.relative_to(shipped.root()).as_posix()
            base = _with_places(extends.read_mapping(file), place)
    return extends.merged(base, _with_places(content, name))


def _with_places(content: Recipe, name: str) -> Recipe:
    """A chain with the files of its stages named as the pack names them."""
    placed = {}
    for stage, kind, entry in _stages(content):
        file = posixpath.normpath(posixpath.join(posixpath.dirname(name), entry[kind]))
        placed[stage] = {**entry, kind: file}
    return {**content, "stages": {**content["stages"], **placed}} if placed else content


def _stages(chain: Recipe) -> Iterator[tuple[str, str, Recipe]]:
    """Name, kind and entry of every stage that names its file."""
    stages = chain.get("stages")
    for stage, entry in stages.items() if isinstance(stages, dict) else ():
        for kind in _TOOLS if isinstance(entry, dict) else ():
            if isinstance(entry.get(kind), str):
                yield stage, kind, entry


def _recipe(
    declared: Declared,
    content: Recipe,
    kind: str | None,
    tasks: Mapping[str, Recipe],
    in_chain: bool = False,
) -> None:
    """What a recipe names, as it will be run."""
    for _, _, value in values_of(content):
        if isinstance(value, str) and "://" in value:
            declared.add("address", value)
    named: list[Any] = []
    if not in_chain:  # where a chain names the models
        declared.note("model", content.get("base_model"), content.get("revision_of_model"))
        named += merge_models(content) if kind == "merge" else []
    named += [content.get(key) for key in ("tokenizer_config", "lora_model_dir", "reward_model")]
    block = content.get("sdpo")
    steps = block.get("steps") if isinstance(block, dict) else None
    for part in [block, *(steps if isinstance(steps, list) else [])]:
        reference = part.get("reference") if isinstance(part, dict) else None
        named += [reference.get("path")] if isinstance(reference, dict) else []
    plugins = content.get("plugins")
    for plugin in plugins if isinstance(plugins, list) else ():
        declared.add("run", f"plugin {plugin}")
    for entry in datasets_of(content):
        _data(declared, entry["path"], entry)
    if kind == "data":
        named += [content.get(key) for key in ("tokenizer", "model", "reference")]
        for source in _sources_of_data(content):
            declared.note("dataset", source)
    for model in named:
        declared.note("model", model)
    if kind == "evaluate":
        _evaluation(declared, content, tasks)


def _data(declared: Declared, path: Any, entry: Mapping[str, Any]) -> None:
    """A data set of Axolotl or lm-eval: its name on the Hub, or its files."""
    if path not in LOADERS:
        declared.note("dataset", path, entry.get("revision"))
    for _, _, file in values_of({"data_files": entry.get("data_files")}):
        declared.note("local", file)
    if isinstance(entry.get("data_dir"), str):
        declared.note("local", f"./{entry['data_dir']}")


def _evaluation(declared: Declared, content: Recipe, tasks: Mapping[str, Recipe]) -> None:
    """The data of an evaluation's own tasks, and the tasks that are lm-eval's."""
    own: dict[str, Recipe] = {}
    for file, task in tasks.items():
        if _is_below(file, str(content.get("include_path"))):
            base = posixpath.join(posixpath.dirname(file), str(task.get("include")))
            task = {**tasks.get(posixpath.normpath(base), {}), **task}
            own[str(task.get("group") or task.get("task"))] = task
    metadata = content.get("metadata")
    _data(declared, None, metadata if isinstance(metadata, dict) else {})
    ahead, theirs = [content.get("tasks")], []
    while ahead:
        named = ahead.pop(0)
        if isinstance(named, list):
            ahead += named
        elif isinstance(named, dict):
            ahead.append(named.get("task"))
        elif named in own:
            task = own.pop(named)
            ahead += [task["task"]] if isinstance(task.get("task"), list) else []
            kwargs = task.get("dataset_kwargs")
            _data(declared, task.get("dataset_path"), kwargs if isinstance(kwargs, dict) else {})
        elif named:
            theirs += str(named).split(",")
    if theirs:
        declared.add("dataset", f"of the lm-eval tasks {', '.join(theirs)}")


def _sources_of_data(content: Recipe) -> list[str]:
    """What a data recipe reads, its generator's own defaults included."""
    try:
        settings = vars(data_recipe.read(content))
    except SolarError:
        return []  # `solar check` says what is wrong with it
    named = [settings[key] for key in _DATA_SOURCES if key in settings]
    return [*named, *settings.get("sources", []), *settings.get("benchmarks", {}).values()]


def _is_below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{posixpath.normpath(folder)}/")
