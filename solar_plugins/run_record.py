"""The note a plugin leaves when it has done its work.

Axolotl drops a plugin whose import fails and trains on without it, so a finished model proves
nothing. Each plugin writes ``<output_dir>/solar/<block>.json`` as its last act; `solar run` and
`solar check` look for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from solar_plugins import __version__, atomic


def path(output_dir: str | Path, block: str) -> Path:
    """Where the plugin with the YAML block `block` (``depth_up_scaling``, …) leaves its note."""
    return Path(output_dir) / "solar" / f"{block}.json"


def write(output_dir: str | Path, block: str, facts: dict) -> None:
    """Write the note of `block` with what the plugin did, as plain JSON values."""
    atomic.write_json(path(output_dir, block), {"solar_plugins": __version__, **facts})


def read(output_dir: str | Path, block: str) -> dict | None:
    """The facts that the plugin of `block` left in `output_dir`, or None if it did not run."""
    try:
        return json.loads(path(output_dir, block).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def is_first_process() -> bool:
    """Whether this process writes for all processes of a training (rank 0, or the only one)."""
    return os.environ.get("RANK", "0") == "0"


METRICS_VARIABLE = "SOLAR_METRICS"
"""The environment variable that names the metrics file of a stage of `solar run`."""


@contextmanager
def progress(what: str, total: int, writes: bool = True) -> Iterator[Callable[[int], None]]:
    """Let `solar run` show ``what 3/40`` for work before the first optimizer step.

    Yields:
        To be called with how many of `total` are done.
    """
    metrics = os.environ.get(METRICS_VARIABLE)
    note = Path(metrics).with_suffix(".note") if metrics and writes else None

    def at(done: int) -> None:
        if note:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(f"{what} {done}/{total}", encoding="utf-8")

    try:
        yield at
    finally:
        if note:
            note.unlink(missing_ok=True)
