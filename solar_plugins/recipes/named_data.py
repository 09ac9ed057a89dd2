"""The data that a recipe names: one walk over every key that holds data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_DATASETS = ("datasets", "test_datasets", "pretraining_dataset")


def datasets_of(recipe: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every dataset entry of an Axolotl recipe, those of the steps of sDPO included."""
    lists = [recipe.get(key) for key in _DATASETS]
    block = recipe.get("sdpo")
    steps = block.get("steps") if isinstance(block, dict) else None
    for step in steps if isinstance(steps, list) else []:
        lists.append(step.get("datasets") if isinstance(step, dict) else None)
    for entries in lists:
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and entry.get("path"):
                yield entry
