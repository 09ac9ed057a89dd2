"""The two small kinds of files: lm-eval configs and recipes for data that we make ourselves."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from solar_plugins.check import keys
from solar_plugins.check.files import Files
from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError, nearest
from solar_plugins.evaluation.benchmarks import BENCHMARKS, CONTAMINABLE

_NAMES = re.compile(
    r"^\s*(?:-|task:|group:|tag:)\s*['\"]?([^\s'\"]+)['\"]?\s*(?:#.*)?$", re.MULTILINE
)


def check_evaluation(source: YamlFile, files: Files, model_is_given: bool = False) -> None:
    """Add what is wrong in the lm-eval config `source` (a file for ``lm_eval run --config``)."""
    content = source.content
    keys.add_unknown_keys(source, content, (), known("lm_eval")["keys"], "lm-eval", {})
    folder, names = content.get("include_path"), content.get("tasks")
    if isinstance(folder, str) and not os.path.isdir(folder):
        source.say(("include_path",), "missing-file/folder", folder=folder)
    if not names:
        source.say(("tasks",), "missing-key/tasks")
        return
    # lm-eval has more than ten thousand tasks, and finding their names takes it eight seconds.
    # Only a name that stands nowhere near one of these is left to lm-eval itself.
    ours = _names_in(folder) if isinstance(folder, str) else frozenset()
    some = [*sorted(ours), *(benchmark.task for benchmark in BENCHMARKS)]
    for index, name in enumerate(names if isinstance(names, list) else str(names).split(",")):
        near = nearest(str(name), some)
        if near and str(name) not in some and not _lm_eval_has(str(name)):
            place: Path_ = ("tasks", index) if isinstance(names, list) else ("tasks",)
            source.add(place, "wrong-value", f"no task is called {name!r}.{near}")
    arguments = content.get("model_args")
    if isinstance(arguments, dict) and not model_is_given:
        files.expect_model(source, ("model_args", "pretrained"), arguments.get("pretrained"))


def _lm_eval_has(name: str) -> bool:
    """Whether lm-eval ships a task or group of this name, or is not there to be asked."""
    spec = find_spec("lm_eval")
    folders = spec.submodule_search_locations if spec else None
    return not folders or name in _names_in(os.path.join(folders[0], "tasks"))


@cache
def _names_in(folder: str) -> frozenset[str]:
    """What the YAML files of a folder, read as text, call a task, group or tag."""
    files = Path(folder).rglob("*.y*ml")
    texts = (file.read_text(encoding="utf-8", errors="replace") for file in files)
    return frozenset(name for text in texts for name in _NAMES.findall(text))


def check_data(source: YamlFile, files: Files) -> None:
    """Add what is wrong in the data recipe `source`."""
    from solar_plugins.recipes import data_recipe

    for key in ("model", "reference"):
        files.expect_model(source, (key,), source.content.get(key))
    try:
        settings = data_recipe.read(source.content)
        for key in getattr(settings, "benchmarks", ()):
            if key not in CONTAMINABLE:
                known_ones = f"the contamination test knows {', '.join(CONTAMINABLE)}."
                raise SolarError(f"benchmarks: {key}: {known_ones}{nearest(key, CONTAMINABLE)}")
    except SolarError as error:
        place, message = source.place_of(error)
        kind = "missing-key" if message.startswith("missing") else "wrong-value"
        source.add(place, "unknown-key" if "unknown key" in message else kind, message)
