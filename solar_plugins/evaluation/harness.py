"""lm-eval in process: its own config files, task index and models, one task at a time.

`lm_eval.evaluate` is called, not `simple_evaluate`, which lists every installed package with pip at
each call (0.7 s, more than a miniature task takes). The overrides that `simple_evaluate` applies to
the tasks are applied here; a test compares the scores of both to the last digit.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lm_eval.models  # noqa: F401  (fills the registry)
import numpy as np
from datasets.exceptions import DatasetsError
from huggingface_hub.errors import HTTPError
from lm_eval import evaluate
from lm_eval.api.model import LM, CachingLM
from lm_eval.api.registry import get_model
from lm_eval.config.evaluate_config import EvaluatorConfig
from lm_eval.tasks import TaskManager
from lm_eval.utils import set_torch_seed, simple_parse_args_string

from solar_plugins.errors import SolarError, nearest
from solar_plugins.evaluation import local_data
from solar_plugins.evaluation.backend import AS_CONFIGURED, Backend
from solar_plugins.evaluation.benchmarks import BY_TASK
from solar_plugins.evaluation.result_file import check_model
from solar_plugins.models import model_config
from solar_plugins.recipes.named_data import FORMATS
from solar_plugins.seams import lm_eval as seam

LOG = logging.getLogger("lm_eval.solar")  # lm-eval shows only loggers under its own name

# Keys of a config file for what `lm_eval run` writes and logs besides the scores: left to it.
OUTPUT_KEYS = (
    *("output_path", "check_integrity", "write_out", "log_samples", "predict_only", "show_config"),
    *("wandb_args", "wandb_config_args", "hf_hub_log_args"),
)

# Without network the Hub's client raises a RuntimeError: it has closed itself.
CANNOT_LOAD = (OSError, ValueError, RuntimeError, DatasetsError, HTTPError)


def read_config(
    config_file: Path,
    model: Path | str,
    limit: float | None = None,
    backend: Backend = AS_CONFIGURED,
) -> EvaluatorConfig:
    """lm-eval's view of `config_file`, with `model` in it, computed by `backend`.

    Raises:
        SolarError: a key, the model's folder or the backend is wrong.
    """
    if not Path(config_file).is_file():
        raise SolarError(f"{config_file}: no such file. Write an lm-eval config, as recipes/h6.yml")
    try:
        raw = EvaluatorConfig.load_yaml_config(config_file)
    except (ValueError, TypeError) as error:
        raise SolarError(" ".join(str(error).split())) from error
    known = [field.name for field in dataclasses.fields(EvaluatorConfig)]
    for name in raw:
        if name not in known:
            raise SolarError(
                f"{config_file}: {name}: no such key in an lm-eval config.{nearest(name, known)}"
            )
    check_model(model)
    for name in filter(raw.get, OUTPUT_KEYS[1:]):  # output_path is the caller's to choose
        LOG.warning("%s: %s is for `lm_eval run` only and has no effect here", config_file, name)
    arguments = raw.get("model_args") or {}
    if isinstance(arguments, str):
        arguments = simple_parse_args_string(arguments)
    computed_by = backend.name or raw.get("model") or "hf"
    name, revision = model_config.split_revision(str(model))
    named = {"pretrained": name, **({"revision": revision} if revision else {})}
    arguments = {**arguments, **backend.model_args(computed_by), **named}
    chosen = {"config": str(config_file), "model": computed_by, "model_args": arguments}
    chosen |= {"log_samples": False, "predict_only": False}
    if limit is not None:
        chosen["limit"] = limit
    return EvaluatorConfig.from_cli(Namespace(**chosen))


def task_manager(config: EvaluatorConfig, config_file: Path) -> TaskManager:
    """lm-eval's index of tasks; only the config's own folder when that has all the names.

    Indexing lm-eval's 14,000 files takes 8 seconds, more than a miniature benchmark.

    Raises:
        SolarError: no task is named, one is unknown, or the folder is missing.
    """
    if not config.tasks:
        raise SolarError(f"{config_file}: tasks: none named. Name the tasks to run")
    names = [config.tasks] if isinstance(config.tasks, str) else config.tasks
    names = [part for name in names for part in name.split(",")]
    if config.include_path is not None:
        if not Path(config.include_path).is_dir():
            raise SolarError(
                f"{config_file}: include_path: {config.include_path} is not a folder. Relative "
                "paths start at the working directory: run the command in the repository's root"
            )
        own = TaskManager(
            include_path=config.include_path, include_defaults=False, metadata=config.metadata
        )
        if all(name in own.all_subtasks for name in names):
            config.tasks = names
            return own
    try:
        return config.process_tasks(config.metadata)
    except ValueError as error:
        known = TaskManager(include_path=config.include_path).all_tasks
        unknown = next(name for name in names if name not in known)
        raise SolarError(
            f"{config_file}: tasks: lm-eval has no task {unknown!r}.{nearest(unknown, known)}"
        ) from error


def single_tasks(
    entries: list[str | dict], manager: TaskManager
) -> Iterator[tuple[str, str | dict]]:
    """The tasks of `entries` by name, one by one; a group that is not a benchmark is opened."""
    for entry in entries:
        if isinstance(entry, str) and entry not in BY_TASK:
            group = seam.group_config(manager, entry)
            is_benchmark = "benchmark" in (group.get("metadata") or {})
            entry = group if group and not is_benchmark else entry
        if isinstance(entry, str):
            yield entry, entry
        elif isinstance(entry["task"], list):
            yield from single_tasks(entry["task"], manager)
        else:
            yield entry["task"], dict(entry)  # lm-eval pops from the dict that it is given


def load_model(config: EvaluatorConfig) -> LM:
    """The model of `config`, as lm-eval loads it (lm-eval chooses a pad token if there is none)."""
    sizes = {name: getattr(config, name) for name in ("batch_size", "max_batch_size", "device")}
    lm = get_model(config.model).create_from_arg_obj(config.model_args, sizes)
    if config.use_cache is not None:
        lm = CachingLM(lm, f"{config.use_cache}_rank{lm.rank}.db")
    return lm


def load_tasks(entry: str | dict, config: EvaluatorConfig, manager: TaskManager) -> dict:
    """The task or group `entry` with its items, as lm-eval takes them.

    The config's few-shot count, generation settings and seeds are applied; a task's own 0-shot
    stays 0.

    Raises:
        SolarError: its data cannot be loaded: no network, no such file, a broken file.
    """
    for seed, sow in zip(config.seed, (random.seed, np.random.seed, set_torch_seed), strict=False):
        if seed is not None:
            sow(seed)
    files = local_data.files_of(config.metadata)
    try:
        with seam.data_from(lambda task: local_data.read(task, files)):
            tasks = seam.load(manager, entry)
    except CANNOT_LOAD as error:
        raise SolarError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    for task in seam.tasks_of(tasks):
        if config.gen_kwargs and task.get_config("output_type") == "generate_until":
            task.set_config(key="generation_kwargs", value=config.gen_kwargs, update=True)
        own = task.get_config("num_fewshot")
        if own is None or (config.num_fewshot is not None and own != 0):
            task.set_config(key="num_fewshot", value=config.num_fewshot or 0)
        task.set_fewshot_seed(seed=config.seed[3])
    return tasks


def download(entry: str | dict, config: EvaluatorConfig, manager: TaskManager) -> int | None:
    """Bring the items of the task or group `entry` from the Hub, where lm-eval looks for them.

    Returns:
        The bytes that were downloaded for them, now or before; None where the items are in files,
        which an earlier stage may have yet to make.

    Raises:
        SolarError: they cannot be downloaded.
    """
    files = local_data.files_of(config.metadata)

    def of_hub(task: Any) -> None:
        path = task.dataset_path
        if task.task in files or path in (*files, *FORMATS) or task.custom_dataset is not None:
            raise _ItemsInFiles

    try:
        with seam.data_from(of_hub):
            tasks = [*seam.tasks_of(seam.load(manager, entry))]
    except _ItemsInFiles:
        return None
    except CANNOT_LOAD as error:
        raise SolarError(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    splits = {(t.DATASET_PATH, t.DATASET_NAME): next(iter(t.dataset.values())) for t in tasks}
    return sum(split.info.download_size or 0 for split in splits.values())


class _ItemsInFiles(Exception):
    """A task of `download` reads no data set of the Hub."""


def measure(lm: LM, tasks: dict, config: EvaluatorConfig) -> dict | None:
    """lm-eval's results of the tasks that `load_tasks` returned; None on ranks above 0."""
    if lm.world_size > 1:
        for task in seam.tasks_of(tasks):
            seam.draw_examples_as_one_process(task)
    names = (
        *("limit", "samples", "system_instruction", "apply_chat_template", "fewshot_as_multiturn"),
        "confirm_run_unsafe_code",
    )
    caching = {
        name: config.cache_requests.get(name, False)
        for name in ("cache_requests", "rewrite_requests_cache")
    }
    options = {name: getattr(config, name) for name in names}
    return evaluate(lm=lm, task_dict=tasks, log_samples=False, **options, **caching)
