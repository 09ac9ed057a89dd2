"""What is risky in each file of a pack, by what kind of file it is.

A pack holds text that the tools read as data. Anything else, above all code, is named here and
refused unless the user allows it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from solar_plugins import shipped
from solar_plugins.check import kind_of
from solar_plugins.errors import SolarError
from solar_plugins.sharing.trust import recipe_risks, safe_yaml, templates
from solar_plugins.sharing.trust.names import printable
from solar_plugins.sharing.trust.risk import Risk

LOCK = "solar.lock.json"
RUN_FOLDER = "run/"
"""Below it lies what a run left: results, audit, report. It is shown, and read by no tool."""

_YAML = (".yml", ".yaml")
_TEXT = (".md", ".txt", ".csv")
_DATA = (".jsonl",)
_PAGES = (".html", ".svg")
_MAX_JSON_DEPTH = 40
_PNG = b"\x89PNG\r\n\x1a\n"
_ACTIVE = re.compile(
    r"<\s*(script|iframe|object|embed|base|form|link|meta\s+http-equiv|foreignobject|animate|set)\b"
    r"|\bon\w+\s*=|javascript:|vbscript:|data:text/html|@import|url\(\s*['\"]?(https?:)?//"
    r"|\b(src|srcset|poster|background)\s*=\s*['\"]?\s*(https?:)?//"
    r"|\b(href|xlink:href)\s*=\s*['\"]?\s*(https?:)?//[^'\"\s>]*\.(js|wasm)\b|<!entity|srcdoc|data:image/svg"
    r"|\b(src|href|action|formaction)\s*=\s*['\"]?[^'\">]*&(#|colon|tab|newline)",
    re.IGNORECASE,
)

_RECIPE_MARKS = {"stages", "merge_method", "slices", "models", "modules", "tasks", "generator"}
_RECIPE_MARKS |= {"base_model", "datasets", "pretraining_dataset", "learning_rate", "extends"}
_TASK_MARKS = {"task", "group", "dataset_path", "doc_to_text", "doc_to_target", "process_docs"}
_TASK_MARKS |= {"doc_to_choice", "metric_list", "output_type"}


def is_task(content: Mapping[str, Any]) -> bool:
    """Whether a YAML file is a task of lm-eval, and no recipe."""
    return bool(_TASK_MARKS & {*content}) and not _RECIPE_MARKS & {*content}


def risks_of(files: Mapping[str, bytes]) -> list[Risk]:
    """Every risk in the files of a pack, sorted.

    Raises:
        SolarError: a file is not what its name says (YAML that cannot be read, binary data).
    """
    return sorted({risk for name, data in files.items() for risk in _risks_of_file(name, data)})


def _risks_of_file(name: str, data: bytes) -> list[Risk]:
    if hashlib.sha256(data).hexdigest() in shipped.own_digests():
        return []  # one of ours, byte for byte, as it came with this installation
    suffix = PurePosixPath(name).suffix.lower()
    if name == LOCK:
        read_json(data, name)
        return []
    if suffix in _YAML:
        return _risks_of_yaml(name, data)
    if suffix == ".json":
        content = read_json(data, name)
        # What is not of a run may be what a recipe gives to DeepSpeed.
        is_read = not name.startswith(RUN_FOLDER)
        return list(recipe_risks.risks_of(content, name, "deepspeed")) if is_read else []
    if suffix == ".jinja":
        fault = templates.fault(safe_yaml.as_text(data, name))
        return [Risk(name, 0, "template", "", fault)] if fault else []
    if suffix in _TEXT + _DATA:
        safe_yaml.as_text(data, name, is_recipe=False)
        return []
    if suffix in _PAGES and name.startswith(RUN_FOLDER):
        active = _ACTIVE.search(safe_yaml.as_text(data, name, is_recipe=False))
        return [Risk(name, 0, "active_page", "", printable(active[0]))] if active else []
    if suffix == ".png" and name.startswith(RUN_FOLDER) and data.startswith(_PNG):
        return []
    if suffix in (".py", ".sh", ".ipynb", ".so", ".pyc", ".exe"):
        return [Risk(name, 0, "code", "", f"a {suffix} file")]
    if suffix in (".safetensors", ".gguf", ".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"):
        raise SolarError(f"{name}: weights or a pickle. A pack never has either.")
    return [Risk(name, 0, "unknown_file", "", f"a {suffix or 'nameless'} file")]


def _risks_of_yaml(name: str, data: bytes) -> list[Risk]:
    read = safe_yaml.read(data, name)
    kind = kind_of(read.content)
    risks = list(recipe_risks.risks_of(read.content, name, kind, read.lines))
    for line, function in read.functions:
        risks.append(Risk(name, line, "code", "", f"the tag {safe_yaml.FUNCTION} {function}"))
    if not _RECIPE_MARKS & {*read.content} and not is_task(read.content):
        found = f"keys {', '.join(map(str, list(read.content)[:3]))}"
        risks.append(Risk(name, 0, "unknown_file", "", found))
    return risks


def read_json(data: bytes, name: str) -> Any:
    """What a JSON file holds.

    Raises:
        SolarError: it is not JSON, or deeper than anything that is meant to be read.
    """
    text = safe_yaml.as_text(data, name, is_recipe=False)
    depth = deepest = 0
    for mark in re.findall(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
        depth += (mark in "[{") - (mark in "]}")
        deepest = max(deepest, depth)
    if deepest > _MAX_JSON_DEPTH:
        raise SolarError(f"{name}: deeper than {_MAX_JSON_DEPTH} levels.")
    try:
        return json.loads(text, parse_constant=lambda constant: None)
    except ValueError as error:
        raise SolarError(f"{name}: not JSON: {printable(error)}.") from None
