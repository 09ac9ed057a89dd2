"""`solar run --download-only`: what a chain reads from the Hub, brought to this machine.

Each thing goes where the tool that reads it looks for it (the caches of huggingface_hub and of
`datasets`) at the commit that `solar run` holds it to. With HF_HUB_OFFLINE the same walk says what
is here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import yaml

from solar_plugins.chain.chain_file import BASE_MODEL, Chain, Stage
from solar_plugins.chain.resolve import merge_models, resolve
from solar_plugins.errors import SolarError
from solar_plugins.models import base_files, model_config, safetensors_header
from solar_plugins.quiet import quiet
from solar_plugins.recipes import data_recipe
from solar_plugins.recipes.named_data import FORMATS, places_of
from solar_plugins.sharing.lock import is_of_hub

Say = Callable[[int | None], None]
"""Called once with the bytes of a thing, or None where they are not known, before it is brought."""


class Thing(Protocol):
    """What is brought in one go; two that are equal are one."""

    def __str__(self) -> str: ...

    def bring(self, say: Say) -> None:
        """
        Raises:
            SolarError: it cannot be had.
        """


@dataclass(frozen=True)
class Model:
    """A model with its tokenizer; without its weights where only the tokenizer is named."""

    name: str  # NAME@COMMIT
    weights: bool = True

    def __str__(self) -> str:
        return f"{'model' if self.weights else 'tokenizer':<10} {self.name}"

    def bring(self, say: Say) -> None:
        from huggingface_hub.utils import filter_repo_objects

        with _in_one_line(self.name):
            sizes = _sizes(*model_config.split_revision(self.name), kind="model")
        files = filter_repo_objects(sizes, allow_patterns=base_files.wanted(self.weights))
        say(sum(sizes[file] for file in files) if sizes else None)
        folder = base_files.find_base(self.name, self.weights)
        # A download that was stopped leaves a folder that huggingface_hub takes for whole offline.
        if self.weights and not (folder / "adapter_config.json").is_file():
            safetensors_header.read_model(folder)


@dataclass(frozen=True)
class DataSet:
    """A data set, prepared by `datasets` as Axolotl asks for it."""

    path: str
    config: str | None
    revision: str | None
    data_files: str | tuple[str, ...] | None

    def __str__(self) -> str:
        of = f" {self.config}" if self.config else ""
        at = f"@{self.revision}" if self.revision else ""
        return f"{'data set':<10} {self.path}{at}{of}"

    def bring(self, say: Say) -> None:
        from datasets import load_dataset_builder

        if "://" in f"{self.path} {self.data_files}":
            raise SolarError(
                f"{self.path}: an address, which `datasets` reads with a network only. Download "
                "it yourself, and name the file in the recipe."
            )
        files = list(self.data_files) if isinstance(self.data_files, tuple) else self.data_files
        with _in_one_line(self.path):
            builder = load_dataset_builder(
                self.path, self.config, data_files=files, revision=self.revision
            )
            sizes = _sizes(self.path, self.revision, kind="dataset")
            read = [one for split in (builder.config.data_files or {}).values() for one in split]
            names = {file.partition("@")[2].partition("/")[2] for file in read}
            say(sum(sizes.get(name, 0) for name in names) if sizes else None)
            builder.download_and_prepare()
            # Offline, `datasets` reads whichever commit was prepared last.
            os.utime(builder.cache_dir)


@dataclass(frozen=True)
class Items:
    """The items of a benchmark of the contamination test."""

    key: str
    place: str

    def __str__(self) -> str:
        return f"{'items':<10} {self.key}, {self.place}"

    def bring(self, say: Say) -> None:
        from solar_plugins.evaluation import contamination

        say(None)
        contamination.read_texts(contamination.benchmark(self.key), self.place, 1)


@dataclass(frozen=True)
class Task:
    """The items of a task of lm-eval."""

    name: str
    download: Callable[[], int | None] = field(compare=False)

    def __str__(self) -> str:
        return f"{'items':<10} {self.name}"

    def bring(self, say: Say) -> None:
        with quiet():
            size = self.download()
        if size is not None:
            say(size)


def bring(chain: Chain, stages: Sequence[Stage], say: Callable[[str], None]) -> list[str]:
    """Bring what `stages` read from the Hub, besides what `makers` read.

    Args:
        chain: with all commits in `revisions`, see `lock.hold`.
        say: called with a line for each thing: what, how large, for which stages.

    Returns:
        Why not, for each thing that could not be brought.
    """
    needed: dict[Thing, list[str]] = {}
    for stage in stages:
        for thing in things(chain, stage):
            needed.setdefault(thing, []).append(stage.name)
    faults = []
    for thing, names in needed.items():

        def line(size: int | None, thing: Thing = thing, names: list[str] = names) -> None:
            shown = "" if size is None else f"{size / 1e6:,.1f} MB, "
            say(f"{thing}: {shown}for {', '.join(dict.fromkeys(names))}")

        try:
            thing.bring(line)
        except SolarError as error:
            faults.append(str(error))
    return faults


def makers(chain: Chain, stages: Sequence[Stage]) -> list[Stage]:
    """The data stages that are made while there is a network: the filter's index and the math sets
    are read out of far more of the Hub than they keep."""
    asked = [(stage, _sources(resolve(chain, stage))) for stage in stages if stage.kind == "data"]
    return [
        stage
        for stage, sources in asked
        if any(name == "benchmarks" or is_of_hub(name, chain) for name in sources)
    ]


def things(chain: Chain, stage: Stage) -> Iterator[Thing]:
    """What `stage` reads from the Hub."""
    recipe = resolve(chain, stage)
    models = [chain.pinned_path(BASE_MODEL)] if BASE_MODEL in stage.from_ else []
    if stage.kind == "merge":
        models = merge_models(recipe)
    elif stage.kind == "evaluate":
        yield from _tasks(recipe)
    elif stage.kind == "data":
        asked = data_recipe.read(recipe)
        if isinstance(asked, data_recipe.ContaminationRecipe):
            models = [asked.model, asked.reference]
            places = asked.benchmarks.items()
            yield from (Items(*one) for one in places if is_of_hub(one[1], chain))
    else:
        yield from _data_sets(recipe, chain)
        if (other := recipe.get("tokenizer_config")) and is_of_hub(other, chain):
            at = chain.revisions.get(other)
            yield Model(f"{other}@{at}" if at else other, weights=False)
    yield from (Model(name) for name in models if is_of_hub(name, chain))


def _data_sets(recipe: dict[str, Any], chain: Chain) -> Iterator[DataSet]:
    for _, entry in places_of(recipe):
        if not is_of_hub(entry["path"], chain):
            continue
        files = entry.get("data_files")
        if entry["path"] in FORMATS and "://" not in str(files):
            continue
        # Axolotl's schema has no `name` for preference data.
        configs = None if recipe.get("rl") else entry.get("name")
        for config in configs if isinstance(configs, list) else [configs]:
            named = tuple(files) if isinstance(files, list) else files
            yield DataSet(entry["path"], config, entry.get("revision"), named)


def _tasks(recipe: dict[str, Any]) -> Iterator[Task]:
    from solar_plugins.evaluation import harness

    with tempfile.TemporaryDirectory() as folder, quiet():
        file = Path(folder, "evaluation.yml")
        file.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        config = harness.read_config(file, "none")
        manager = harness.task_manager(config, file)
    for name, entry in harness.single_tasks(config.tasks, manager):
        yield Task(name, partial(harness.download, entry, config, manager))


def _sources(recipe: dict[str, Any]) -> list[str]:
    """What a generator that needs no model reads."""
    asked = data_recipe.read(recipe)
    if isinstance(asked, data_recipe.FlanIndexRecipe):
        return asked.sources
    if isinstance(asked, data_recipe.SynthMathRecipe):
        return [asked.metamathqa, asked.math, asked.math_test, asked.gsm8k]
    return []


def _sizes(name: str, revision: str | None, kind: str) -> dict[str, int]:
    """The sizes of a repository's files; empty where the Hub is not to be asked."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return {}
    info = HfApi().repo_info(name, repo_type=kind, revision=revision, files_metadata=True)
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


@contextmanager
def _in_one_line(name: str) -> Iterator[None]:
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except SolarError:
        raise
    # Without network the Hub's client raises a RuntimeError: it has closed itself.
    except (OSError, ValueError, RuntimeError, DatasetsError, HTTPError) as error:
        said = " ".join(str(error.__cause__ or error).split())
        raise SolarError(f"{name}: {said[:300]}") from error
