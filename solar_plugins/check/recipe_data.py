"""The datasets of an Axolotl recipe: there, of a known type, with the columns that it reads."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any

from solar_plugins.check import columns, values
from solar_plugins.check.files import Files
from solar_plugins.check.recipe_keys import unknown_name
from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.check.tool_schemas import known

_TYPES = {"": "sft", "dpo": "dpo", "ipo": "dpo", "simpo": "dpo", "kto": "kto", "orpo": "orpo"}
"""By ``rl``: which of Axolotl's folders of prompt strategies reads the data."""


def check(source: YamlFile, place: Path_, entries: Any, files: Files) -> list[tuple[Path_, Any]]:
    """Add what is wrong in the list of dataset entries at `place`.

    Returns:
        The ``type`` of each entry, with its place.
    """
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        source.add(
            place,
            "wrong-value",
            f"{_short(entries)} found. A list of entries is needed; write `- path: …` and "
            "`type: …` below it.",
        )
        return []
    rl, types = str(source.content.get("rl") or ""), []
    for index, entry in enumerate(entries):
        here = (*place, index)
        if not entry.get("path"):
            source.add(here, "missing-key", "no path found. Write `path:` with a file or Hub id.")
            continue
        before = len(source.findings)
        files.expect_data(source, (*here, "path"), entry["path"])
        data_files = entry.get("data_files")
        if Path(str(entry["path"])).suffix == "" and "/" not in str(entry["path"]):
            listed = data_files if isinstance(data_files, list) else [data_files]
            for name in listed:
                files.expect_data(source, (*here, "data_files"), name)
        _type(source, (*here, "type"), entry.get("type"), rl)
        values.check_formats(source, (*here, "type"), entry.get("type"))
        if len(source.findings) == before:
            columns.check(source, here, entry, rl)
        types.append(((*here, "type"), entry.get("type")))
    return types


def _type(source: YamlFile, place: Path_, name: Any, rl: str) -> None:
    """Axolotl looks for the type when it loads the data, after the model was fetched."""
    if not isinstance(name, str) or rl not in _TYPES:
        return
    names = known("axolotl")["dataset_types"][_TYPES[rl]]
    base = name.split(":")[0]
    if base in names or base.startswith(("bradley_terry.", "messages.", "ebft")):
        return
    module = base.rpartition(".")[0]
    if module and util.find_spec(module.split(".")[0]) is not None:
        return  # somebody's own strategy, named by its dotted path
    unknown_name(source, place, f"Axolotl has no dataset type {name!r}.", base, names)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
