"""The two small kinds of files: lm-eval configs and recipes for data that we make ourselves."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from solar_plugins.check import keys
from solar_plugins.check.files import Files
from solar_plugins.check.source import YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError, nearest
from solar_plugins.evaluation.benchmarks import BENCHMARKS


def check_evaluation(source: YamlFile, files: Files, model_is_given: bool = False) -> None:
    """Add what is wrong in the lm-eval config `source` (a file for ``lm_eval run --config``)."""
    content = source.content
    keys.add_unknown_keys(source, content, (), known("lm_eval")["keys"], "lm-eval", {})
    folder = content.get("include_path")
    if isinstance(folder, str) and not os.path.isdir(folder):
        source.add(
            ("include_path",),
            "missing-file",
            f"no such folder: {folder}. Paths count from the folder in which the command is run.",
        )
    names = content.get("tasks")
    if not names:
        source.add(
            ("tasks",), "missing-key", "no task found. Name lm-eval's, e.g. [arc_challenge]."
        )
        return
    listed = names if isinstance(names, list) else str(names).split(",")
    # lm-eval has more than ten thousand tasks, and finding their names takes it eight seconds.
    # Only a name that stands nowhere near one of these is left to lm-eval itself.
    ours = _task_names(Path(folder)) if isinstance(folder, str) else []
    theirs = [benchmark.task for benchmark in BENCHMARKS]
    for index, name in enumerate(listed):
        near = nearest(str(name), [*ours, *theirs])
        if near and str(name) not in (*ours, *theirs) and not _lm_eval_has(str(name)):
            place = ("tasks", index) if isinstance(names, list) else ("tasks",)
            source.add(place, "wrong-value", f"no task is called {name!r}.{near}")
    arguments = content.get("model_args")
    if isinstance(arguments, dict) and not model_is_given:
        files.expect_model(source, ("model_args", "pretrained"), arguments.get("pretrained"))


def _task_names(folder: Path) -> list[str]:
    """The tasks and groups that the YAML files of a folder define."""
    names = []
    for file in sorted(folder.rglob("*.y*ml")) if folder.is_dir() else []:
        for line in file.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key in ("task", "group") and value.split():
                names.append(value.split()[0].strip("'\""))
    return names


def _lm_eval_has(name: str) -> bool:
    """Whether lm-eval ships a task or group of this name, or is not there to be asked."""
    names = _names_in_lm_eval()
    return name in names if names else True


@cache
def _names_in_lm_eval() -> frozenset[str]:
    """What its fourteen thousand YAML files, read as text, call a task, group or tag."""
    from importlib.util import find_spec

    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    tasks = Path(spec.submodule_search_locations[0]) / "tasks"
    named = re.compile(rb"^\s*(?:-|task:|group:|tag:)\s*['\"]?([^\s'\"]+)['\"]?\s*$", re.MULTILINE)
    found = {name for file in tasks.rglob("*.y*ml") for name in named.findall(file.read_bytes())}
    return frozenset(name.decode() for name in found)


def check_data(source: YamlFile) -> None:
    """Add what is wrong in the data recipe `source`."""
    from solar_plugins.recipes import data_recipe

    try:
        data_recipe.read(source.content)
    except SolarError as error:
        where, _, message = str(error).partition(": ")
        kind = "missing-key" if message.startswith("missing") else "wrong-value"
        source.add((where,), "unknown-key" if "not a setting" in message else kind, message)
