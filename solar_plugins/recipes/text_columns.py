"""The columns of a data set that its Axolotl type reads as text, and the cells that have none.

A null cell becomes the word "None" in a prompt, or an error about something else. What a row may do
without (an input, a system message) is not listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from solar_plugins.recipes.columns import RowReader


def text_columns(entry: Mapping[str, Any], rl: str = "") -> tuple[str, ...]:
    """The columns that a dataset entry reads as text, the answer last; () for an unknown type.

    Args:
        entry: Of ``datasets``, ``test_datasets``, ``pretraining_dataset`` or a step of sDPO.
        rl: The recipe's ``rl``; the same type reads other columns under preference training.

    >>> text_columns({"type": "completion", "field": "body"})
    ('body',)
    """
    read = (column for column in RowReader(entry, rl).columns if column.holds != "context")
    return tuple(name for column in read for name in column.names)


def gap(row: Mapping[str, Any], entry: Mapping[str, Any], rl: str = "") -> str | None:
    """What is null in a row, or under `rl` also empty, in the columns that `entry` reads.

    Returns:
        ``"column 'output' is null"``, or None.
    """
    for column in text_columns(entry, rl):
        if column not in row:
            continue  # found where the column's name is looked up, in all rows
        value = row[column]
        if value is None or (rl and value in ("", [])):
            return f"column {column!r} is {'null' if value is None else 'empty'}"
        if isinstance(value, Mapping):
            value = [value]
        if isinstance(value, Sequence) and not isinstance(value, str):
            for number, item in enumerate(value):
                if item is None or (isinstance(item, Mapping) and (item := _hole(item, entry))):
                    field = f"[{number}]" + (f".{item}" if item else "")
                    return f"column {column!r}: {field} is null"
    return None


def _hole(message: Mapping[str, Any], entry: Mapping[str, Any]) -> str | None:
    """The field of a message (or segment) that is null and must not be."""
    given = entry.get("message_property_mappings") or {}
    role = given.get("role") or entry.get("message_field_role") or "role"
    content = given.get("content") or entry.get("message_field_content") or "content"
    needed = [name for name in (role, content, "text") if name in message]
    if any(message.get(name) for name in ("tool_calls", "reasoning_content", "thinking")):
        needed = [name for name in needed if name != content]  # a call needs no words
    return next((name for name in needed if message[name] is None), None)
