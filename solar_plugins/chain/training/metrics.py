"""The metrics of a stage: one JSON object per line, as the trainer logs them.

``{"time_s", "step", "max_steps", "epoch", "loss" | "eval_loss" | "rewards/accuracies" | …}``
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from solar_plugins.run_record import METRICS_VARIABLE as METRICS_VARIABLE

_SECONDS_BETWEEN_STEPS = 0.5


class MetricsFile:
    """Appends to a metrics file; a training that goes on from a checkpoint replaces what it redoes.

    Args:
        path: The ``.jsonl`` file; beside it ``.step`` says how far the stage is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = time.monotonic()
        self._before_s: float | None = None
        self._last_step_written = -math.inf
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, step: int, max_steps: int, epoch: float | None, logs: dict[str, Any]) -> None:
        """Write one record; a number that is not finite is written as null."""
        record = {"step": step, "max_steps": max_steps, "epoch": epoch, **(logs or {})}
        if self._before_s is None:
            self._before_s = self._drop_from(_position(record))
        time_s = round(self._before_s + time.monotonic() - self._start, 3)
        record = {"time_s": time_s, **{key: _plain(value) for key, value in record.items()}}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def write_step(self, step: int, max_steps: int) -> None:
        """Note how far the training is: at most twice a second, and the last step."""
        now = time.monotonic()
        if step == max_steps or now - self._last_step_written >= _SECONDS_BETWEEN_STEPS:
            self._last_step_written = now
            self._path.with_suffix(".step").write_text(f"{step} {max_steps}\n", encoding="utf-8")

    def _drop_from(self, position: tuple[int, int]) -> float:
        """Drop what an earlier attempt wrote from `position` on; the time at which it was there."""
        kept = [record for record in read(self._path) if _position(record) < position]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        self._path.write_text(text, encoding="utf-8")
        return kept[-1]["time_s"] if kept else 0.0


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics file; a last line that a killed process cut short is left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def last_loss(path: Path) -> float | None:
    """The newest training loss; reads the end of the file only."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            loss = json.loads(line).get("loss")
        except (json.JSONDecodeError, AttributeError):  # the first line read is cut
            continue
        if loss is not None:
            return float(loss)
    return None


def read_step(path: Path) -> tuple[int, int] | None:
    """How far the stage is: (step, of how many); None where nothing is written yet."""
    try:
        step, of = path.with_suffix(".step").read_text(encoding="utf-8").split()
    except (FileNotFoundError, ValueError):  # ValueError: read while it was being written
        return None
    return int(step), int(of)


def read_note(path: Path) -> str:
    """What the stage does outside of its steps, from `run_record.progress`; or nothing."""
    note, step = path.with_suffix(".note"), path.with_suffix(".step")
    try:
        if step.exists() and step.stat().st_mtime > note.stat().st_mtime:
            return ""  # left by a process that was killed
        return note.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _position(record: dict[str, Any]) -> tuple[int, int]:
    """Where in the stage a record is: sDPO counts its own steps beside the trainer's."""
    return int(record.get("sdpo_step") or 0), int(record["step"])


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, int | float | str | bool | None) else str(value)
