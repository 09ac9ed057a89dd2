"""The columns that a recipe reads, against the first row of the local file that has them.

Axolotl finds a missing column when it tokenises: as a KeyError, after the model's config, the
tokenizer and all datasets before it were loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solar_plugins.chain.check.source import Path_, Source
from solar_plugins.errors import nearest

_READS = {
    "alpaca": ("instruction", "output"),
    "chatml.intel": ("question", "chosen", "rejected"),
    "chatml.default": ("chosen", "rejected"),
    "chat_template.argilla_chat": ("chosen", "rejected"),
}
"""Columns without which the rows of a dataset type cannot be read."""


def check(source: Source, place: Path_, entry: dict[str, Any]) -> None:
    """Add a finding for every column that the dataset `entry` reads and its file does not have.

    Only local JSON Lines files are looked at; of others nothing is said.
    """
    row = _first_row(Path(str(entry.get("path"))))
    if row is None:
        return
    for where, column in _columns(entry):
        if column not in row:
            source.add(
                (*place, *where),
                "wrong-value",
                f"no column {column!r} in the first row of {entry['path']}, which has "
                f"{', '.join(row)}.{nearest(column, row)}",
            )


def _columns(entry: dict[str, Any]) -> Iterator[tuple[Path_, str]]:
    kind = entry.get("type")
    if isinstance(kind, dict):
        for key, value in kind.items():
            # A row may do without an input or a system message, whatever their column is called.
            optional = key in ("field_input", "field_system")
            if str(key).startswith("field_") and isinstance(value, str) and not optional:
                yield ("type", key), value
    elif kind == "completion":
        yield ("field",) if "field" in entry else ("type",), str(entry.get("field") or "text")
    else:
        for column in _READS.get(str(kind), ()):
            yield ("type",), column


def _first_row(path: Path) -> dict[str, Any] | None:
    if path.suffix != ".jsonl" or not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline(1 << 20)
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
