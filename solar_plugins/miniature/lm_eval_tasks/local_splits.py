"""Where the miniature benchmarks' items are read from: the folder that the run's config names."""

from __future__ import annotations

from pathlib import Path

import datasets

from solar_plugins.recipes import rows


def read(task: str, data_dir: str = "", **_other_metadata: object) -> dict[str, datasets.Dataset]:
    """The splits of `task` in `data_dir`, the config's `metadata.data_dir`.

    lm-eval passes a task's metadata and its `dataset_kwargs` together. The items are read straight
    from their files: `datasets`' own cache would outlive a world that was made anew.

    Raises:
        ValueError: the config names no folder.
        FileNotFoundError: the folder holds no items of `task`.
    """
    if not data_dir:
        raise ValueError("metadata.data_dir: missing. Write the world's benchmarks folder there")
    files = sorted(Path(data_dir, task).glob("*.jsonl"))
    if not files:
        raise FileNotFoundError(f"{data_dir}/{task}: no items. The chain's data stage writes them")
    return {file.stem: datasets.Dataset.from_list(list(rows.read(file))) for file in files}
