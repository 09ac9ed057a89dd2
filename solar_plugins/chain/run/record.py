"""The record of a stage: what went in, what came out, what it took.

A record is the file ``.solar/stages/<stage>.json``. Its ``version`` rises when its meaning changes;
records of earlier versions are read as if they had been written today.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from solar_plugins.recipes import registry

VERSION = 2
RUNNING, DONE, FAILED = "running", "done", "failed"
FORCED, APPROVED = "forced", "approved"

_OUTPUT_PATHS = ("output_dir", "dataset_prepared_path", "resume_from_checkpoint")
_IN_PACKAGE = re.compile(r"(?:.*/)?solar_plugins/(.+)")
_PACKAGE = Path(__file__).resolve().parents[2]
_MOVED = {"data/lm_eval_tasks": "miniature/lm_eval_tasks"}
"""Paths in the package as recipes of version 1 name them."""


@dataclass
class Record:
    """What is known of a stage.

    Attributes:
        outputs: ``{relative file: {"size", "sha256", "mtime_ns"}}`` once done.
        kept: One note for each time that ``--keep`` accepted the output although its inputs had
            changed: ``{"at", "changed", "fingerprint"}``, the last one of the inputs before.
        redo: `FORCED` where ``--redo`` named the finished stage, `APPROVED` where it may be made
            again if its inputs changed; None otherwise, and again once it is done.
    """

    stage: str
    kind: str
    from_: list[str]
    state: str
    fingerprint: str  # digest of `inputs`
    inputs: dict[str, Any]  # see `fingerprint.inputs`
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    started: str = ""
    wall_s: float = 0.0  # all attempts together
    attempts: int = 0
    peak_memory_gib: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)  # what verification found
    error: str | None = None  # in one line
    versions: dict[str, str | None] = field(default_factory=dict)  # of the tools that made it
    kept: list[dict[str, Any]] = field(default_factory=list)
    redo: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, **{key.rstrip("_"): v for key, v in asdict(self).items()}}

    @classmethod
    def from_json(cls, value: dict[str, Any], output_dir: str) -> Record:
        """The record in a JSON value of any version up to `VERSION`, written when the run's folder
        was `output_dir`; ValueError, TypeError or KeyError if it is none."""
        value = dict(value)
        version = value.pop("version", 1)
        if version == 1:
            value |= _upgraded(value, output_dir)
        elif version != VERSION:
            raise ValueError(f"version {version}")
        return cls(from_=value.pop("from"), **value)


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, keys sorted."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def portable(value: Any, output_dir: str, base_model: str | None = None) -> Any:
    """`value` without the keys of output paths, and with ``{output_dir}`` and ``{base_model}`` in
    paths that may change; `base_model` is None where it is a hub id."""
    if isinstance(value, dict):
        kept = {str(key): item for key, item in value.items() if key not in _OUTPUT_PATHS}
        return {key: portable(item, output_dir, base_model) for key, item in kept.items()}
    if isinstance(value, list):
        return [portable(item, output_dir, base_model) for item in value]
    if not isinstance(value, str) or not value or "\n" in value:
        return value
    if value == base_model:
        return "{base_model}"
    if inside := _IN_PACKAGE.fullmatch(value):
        path = _MOVED.get(inside[1], inside[1])
        return f"{{solar_plugins}}/{path}" if (_PACKAGE / path).exists() else value
    folder, path = os.path.normpath(output_dir), os.path.normpath(value)
    if folder == "." or not Path(path).is_relative_to(folder):
        return value
    return "{output_dir}" + path[len(folder) :]


def _upgraded(value: dict[str, Any], output_dir: str) -> dict[str, Any]:
    """What changes in a record of version 1: its inputs had digests of our source files."""
    old = value["inputs"]
    recipe = portable(old.get("recipe", {}), output_dir)
    files = old.get("files", {}).items()
    inputs = {
        "recipe": recipe,
        "files": {name: sha256 for name, sha256 in files if not _IN_PACKAGE.fullmatch(name)},
        "result_versions": dict.fromkeys(registry.result_versions(value["kind"], recipe), 1),
        "from": old.get("from", {}),
    }
    return {
        "inputs": inputs,
        "fingerprint": digest(inputs),
        "versions": old.get("versions", {}),  # of tools, which had counted
    }
