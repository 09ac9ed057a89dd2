"""Tokenised data that a killed run left half-written."""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import FileLock

from solar_plugins.sdpo import checkpoints

LOCK = "datasets_prep.lock"
"""Axolotl's own lock for a folder of prepared data: whoever holds it may write there."""


def drop_half_written(prepared: Path) -> list[Path]:
    """Delete the datasets in `prepared` that were not written to their end.

    Axolotl takes any folder that is not empty for prepared data, and a start after a kill would
    fail on it for ever. `datasets` writes dataset_info.json last.

    Returns:
        The folders that were deleted.
    """
    if not prepared.is_dir():
        return []
    with FileLock(str(prepared / LOCK)):
        dropped = [
            folder
            for folder in sorted(prepared.iterdir())
            if any(folder.glob("*.arrow"))
            and checkpoints.read_json(folder / "dataset_info.json") is None
        ]
        for folder in dropped:
            shutil.rmtree(folder)
    return dropped
