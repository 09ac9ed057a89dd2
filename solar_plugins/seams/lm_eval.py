"""Names of lm-eval that this package uses beyond its documented API."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from solar_plugins.errors import SolarError

if TYPE_CHECKING:
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager

TRIED = ">=0.4.11,<0.4.14"


def group_config(manager: TaskManager, name: str) -> dict[str, Any]:
    """The YAML file of the task group `name` in the index of `manager`; empty for other names."""
    if name not in manager.all_groups:
        return {}
    entry: Any = manager.task_index[name]
    if isinstance(entry, dict):  # lm-eval 0.4.11
        from lm_eval.utils import load_yaml_config

        return load_yaml_config(entry["yaml_path"], mode="full")
    from lm_eval.tasks._yaml_loader import load_yaml

    return load_yaml(entry.yaml_path)


def load(manager: Any, entry: str | dict[str, Any]) -> dict:
    """The task or group `entry` as `lm_eval.evaluate` takes it.

    Args:
        manager: a TaskManager.
        entry: a name, or a config whose ``task`` may be a known name: the other keys then change
            that task, or each task of that group.
    """
    if not hasattr(manager, "load"):  # lm-eval 0.4.11
        from lm_eval.tasks import get_task_dict

        return get_task_dict([entry], manager)
    if not isinstance(entry, dict) or entry["task"] not in manager.task_index:
        return manager.load([entry])
    known = manager.task_index[entry["task"]]
    changes = {key: value for key, value in entry.items() if key != "task"}
    return manager.load(
        manager._factory.build(known, overrides=changes, registry=manager.task_index)
    )


def tasks_of(loaded: dict) -> Iterator[Task]:
    """The tasks in what `load` returned."""
    for task in loaded.get("tasks", loaded).values():
        if isinstance(task, dict):  # a group in lm-eval 0.4.11
            yield from tasks_of(task)
        else:
            yield task


@contextmanager
def data_from(read: Callable[[Any], dict | None]) -> Iterator[None]:
    """Within the block, tasks take their items from `read`.

    A config of lm-eval can name other data for one task, not for the subjects of a group.

    Args:
        read: called with a task's config; returns its rows by split, or None for lm-eval's own way.
    """
    from lm_eval.api.task import ConfigurableTask

    download = ConfigurableTask.download

    def own_or_download(task: Any, *args: Any, **kwargs: Any) -> None:
        task.dataset = read(task.config)
        if task.dataset is None:
            download(task, *args, **kwargs)

    ConfigurableTask.download = own_or_download
    try:
        yield
    finally:
        ConfigurableTask.download = download


def draw_examples_as_one_process(task: Task) -> None:
    """Let each rank build the prompts of all items of `task` and keep those of its own items.

    lm-eval draws the few-shot examples item by item from one stream, on each rank for its own items
    alone: the prompts, and so the scores, would depend on how many GPUs there are. The method is
    replaced on this one object, which lives as long as one measurement.
    """
    build = task.build_all_requests

    def build_all_and_keep_own(*, rank: int, world_size: int, **options: Any) -> None:
        build(rank=0, world_size=1, **options)
        chosen = {name: options[name] for name in ("limit", "samples")}
        own = task.doc_iterator(rank=rank, world_size=world_size, **chosen)
        numbers = {number for number, _ in own}
        task._instances = [one for one in task.instances if one.doc_id in numbers]

    task.build_all_requests = build_all_and_keep_own  # type: ignore[method-assign]


def self_test() -> None:
    """
    Raises:
        SolarError: the installed lm-eval lacks a name that this module uses.
    """
    from importlib.metadata import version

    from lm_eval import tasks
    from lm_eval.api.task import ConfigurableTask, Task
    from lm_eval.tasks import TaskManager

    missing = [
        f"TaskManager.{name}"
        for name in ("task_index", "all_groups", "all_tasks", "all_subtasks")
        if not hasattr(TaskManager, name)
    ]
    for method, needed in (
        ("build_all_requests", {"rank", "world_size", "limit", "samples"}),
        ("doc_iterator", {"rank", "world_size", "limit", "samples"}),
    ):
        taken = getattr(Task, method, None)
        if taken is None or not needed <= set(inspect.signature(taken).parameters):
            missing.append(f"Task.{method}({', '.join(sorted(needed))})")
    if hasattr(TaskManager, "load") and not hasattr(tasks, "_yaml_loader"):
        missing.append("tasks._yaml_loader")
    if "self.download(" not in inspect.getsource(ConfigurableTask.__init__):
        missing.append("ConfigurableTask.download")
    if "self._instances" not in inspect.getsource(Task):
        missing.append("Task._instances")
    if missing:
        raise SolarError(
            f"lm_eval {version('lm_eval')}: {', '.join(missing)} not found. "
            f"Install lm_eval{TRIED}, the versions that `solar evaluate` was tried with."
        )
