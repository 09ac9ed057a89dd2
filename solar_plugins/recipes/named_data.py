"""The data sets that a recipe names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FORMATS = ("json", "csv", "parquet", "arrow", "text")
"""What `datasets` takes for a path where ``data_files`` has the files."""
_KEYS = ("datasets", "test_datasets", "pretraining_dataset")
_LOADERS = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv", ".txt": "text"}
_OF_THE_HUB = ("name", "revision", "data_files")

MOVED = {"c-s-ale/alpaca-gpt4-data": "llm-wizard/alpaca-gpt4-data"}
"""Data sets that the Hub has under another name today."""


def datasets_of(recipe: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every dataset entry of an Axolotl recipe that has a ``path``, see `places_of`."""
    for _, entry in places_of(recipe):
        yield entry


def places_of(recipe: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where a recipe names data, and the entry: ``("sdpo.steps[0].datasets[1]", {"path": …})``.

    Axolotl takes ``pretraining_dataset`` also as one mapping or as a plain path; the path comes as
    ``{"path": …}``.
    """
    lists = {key: recipe.get(key) for key in _KEYS}
    block = recipe.get("sdpo")
    steps = block.get("steps") if isinstance(block, Mapping) else None
    for number, step in enumerate(steps if isinstance(steps, list) else []):
        for key in _KEYS[:2] if isinstance(step, Mapping) else ():
            lists[f"sdpo.steps[{number}].{key}"] = step.get(key)
    for key, value in lists.items():
        entries = value if isinstance(value, list) else [value]
        for number, entry in enumerate(entries):
            if isinstance(entry, str) and key == "pretraining_dataset":
                entry = {"path": entry}
            if isinstance(entry, dict) and entry.get("path"):
                yield f"{key}[{number}]" if entries is value else key, entry


def from_files(kind: str, recipe: dict[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """A recipe that reads each data set in `files` from there.

    Args:
        kind: the stage's: an lm-eval config hands `files` to `solar evaluate` as `metadata.data`.
        recipe: changed in place where it trains.
        files: data set as the recipe names it -> a file, or a folder with a file for each split.

    >>> entry = {"path": "a/b", "name": "big", "split": "train_prefs[:9]"}
    >>> from_files("train", {"datasets": [entry]}, {"a/b": "./mine.jsonl"})
    {'datasets': [{'path': './mine.jsonl', 'split': 'train[:9]'}]}
    """
    if not files:
        return recipe
    if kind == "evaluate":
        metadata = recipe.get("metadata") or {}
        return recipe | {"metadata": {**metadata, "data": {**metadata.get("data", {}), **files}}}
    for place, entry in [*places_of(listed(recipe))] if kind == "train" else ():
        file = files.get(entry["path"])
        if file is None:
            continue
        for key in _OF_THE_HUB:
            entry.pop(key, None)
        entry["path"] = file
        if Path(file).suffix:  # a file is one split, which `datasets` calls train
            entry["split"] = f"train{''.join(str(entry.get('split', '')).partition('[')[1:])}"
            if place.startswith("pretraining"):  # that is read by `datasets` without Axolotl
                entry |= {"path": _LOADERS.get(Path(file).suffix, "json"), "data_files": file}
    return renamed(recipe, files)


def listed(recipe: dict[str, Any]) -> dict[str, Any]:
    """`recipe`, its stream as an entry that can be changed where it is a plain path."""
    if isinstance(recipe.get("pretraining_dataset"), str):
        recipe["pretraining_dataset"] = [{"path": recipe["pretraining_dataset"], "split": "train"}]
    return recipe


def pin(recipe: dict[str, Any], revisions: Mapping[str, str]) -> None:
    """Write the commit in `revisions` beside each data set of a training that names none."""
    for _, entry in places_of(listed(recipe)) if revisions else ():
        if entry["path"] in revisions and not entry.get("revision"):
            entry["revision"] = revisions[entry["path"]]


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with each text and key in it that is one of `names`: a filter names what it reads."""
    if isinstance(value, dict):
        return {names.get(key, key): renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
