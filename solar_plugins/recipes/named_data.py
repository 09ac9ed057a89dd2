"""The data sets that a recipe names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_KEYS = ("datasets", "test_datasets", "pretraining_dataset")


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
