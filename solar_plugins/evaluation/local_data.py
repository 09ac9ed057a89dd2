"""Items of lm-eval's tasks from files of one's own, with the columns of the public data sets.

An lm-eval config names them under `metadata.data`, as the `data:` of a chain does for all stages:

    metadata:
      data:
        allenai/ai2_arc: ./h6/arc_challenge      # a task's `dataset_path`, or its name
        held_out_text: ./articles.jsonl          # a file, or a folder with one for each split

JSON Lines, JSON, Parquet, or plain text (.txt), each paragraph of which is an item.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from datasets import Dataset

from solar_plugins.errors import SolarError
from solar_plugins.recipes import rows


class Splits(dict[str, Dataset]):
    """The rows of a task by split; one that is not there is named with its folder."""

    def __init__(self, place: str, splits: Mapping[str, Dataset]) -> None:
        super().__init__(splits)
        self._place = place

    def __missing__(self, split: str) -> Dataset:
        raise FileNotFoundError(
            f"{self._place}: no rows for the split {split}, from which the task takes items or "
            f"examples. Give a folder with {split}.jsonl in it"
        )


def files_of(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """What `metadata.data` of an lm-eval config names, by task or data set.

    Raises:
        SolarError: it is not a mapping to files or folders that are there.
    """
    files = (metadata or {}).get("data") or {}
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise SolarError(f"metadata.data: {files!r} found. Write {{TASK OR DATA SET: FILE}}.")
    return files


def read(task: Any, files: Mapping[str, str]) -> Splits | None:
    """The rows of the task with lm-eval's config `task`; None if `files` does not name it.

    Of rows with a `subject`, those of the task's `dataset_name` are taken: MMLU is one file.

    Raises:
        FileNotFoundError: there is no such file, or no file for a split.
        SolarError: a file cannot be read.
    """
    place = files.get(task.task, files.get(task.dataset_path))
    if place is None:
        return None
    path = Path(place)
    if path.is_dir():
        found = {file.stem: file for file in sorted(path.iterdir()) if file.is_file()}
    elif path.is_file():
        found = {task.test_split or task.validation_split: path}
    else:
        raise FileNotFoundError(f"{place}: no such file or folder")
    splits = {}
    for split, file in found.items():
        if file.name.endswith((*rows.ENDINGS, ".txt")):
            items = _rows(file, file.stat().st_mtime_ns)
            if task.dataset_name is not None:
                items = [r for r in items if r.get("subject") in (None, task.dataset_name)]
            columns = dict.fromkeys(name for item in items for name in item)  # of any row
            splits[split] = Dataset.from_dict({c: [i.get(c) for i in items] for c in columns})
    return Splits(place, splits)


@lru_cache(maxsize=4)
def _rows(file: Path, mtime_ns: int) -> list[dict[str, Any]]:
    if file.suffix != ".txt":
        return list(rows.read(file))
    try:
        paragraphs = re.split(r"\n\s*\n", file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise SolarError(f"{file}: not UTF-8. Save the file as UTF-8") from error
    return [{"text": paragraph.strip()} for paragraph in paragraphs if paragraph.strip()]
