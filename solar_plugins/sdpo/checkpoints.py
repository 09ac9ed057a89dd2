"""Which of the checkpoints that a killed run left behind can be trusted.

A kill while a checkpoint is being written leaves a folder that looks like the newest one and
cannot be loaded. So each checkpoint gets a list of its files and their sizes, written last; one
without the list, or whose files are not as listed, is not used and the one before is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from solar_plugins import atomic

NOTE = "sdpo_checkpoint.json"


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None if there is none that can be read as one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


def files_in(folder: Path, pattern: str = "*") -> dict[str, int]:
    """Size in bytes of the files under `folder`, nested checkpoints and our own notes left out."""
    sizes = {}
    for path in sorted(folder.rglob(pattern)):
        relative = path.relative_to(folder)
        if path.is_file() and not relative.parts[0].startswith(("checkpoint-", "sdpo_", ".")):
            sizes[relative.as_posix()] = path.stat().st_size
    return sizes


def missing_files(folder: Path, expected: dict[str, int]) -> list[str]:
    """The expected files that are not in `folder`, or not at their size."""
    found = files_in(folder)
    return [name for name, size in expected.items() if found.get(name) != size]


def write_note(checkpoint: Path, facts: dict[str, Any]) -> None:
    """Declare `checkpoint` complete, with what a resumed run wants to know about it."""
    atomic.write_json(checkpoint / NOTE, {**facts, "files": files_in(checkpoint)})


def whole_note(checkpoint: Path) -> dict[str, Any] | None:
    """The note of `checkpoint` if all its files are there at their sizes, else None."""
    note = read_json(checkpoint / NOTE)
    return None if note is None or missing_files(checkpoint, note["files"]) else note


def resumable(note: dict[str, Any]) -> bool:
    """Whether training can go on exactly from the checkpoint of this note.

    It needs the optimizer, the schedule and the random state beside the weights;
    `save_only_model: true` leaves them out.
    """
    names = note["files"].keys()
    sharded = any(name.startswith(("global_step", "optimizer_0/")) for name in names)
    return (
        "trainer_state.json" in names
        and any(name.startswith("rng_state") for name in names)
        and (sharded or {"optimizer.pt", "scheduler.pt"} <= names)
    )


def newest_first(step_folder: Path) -> list[Path]:
    """The checkpoint folders of a step, by step number, highest first."""
    found = [
        path
        for path in step_folder.glob("checkpoint-*")
        if path.is_dir() and path.name.removeprefix("checkpoint-").isdigit()
    ]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True)
