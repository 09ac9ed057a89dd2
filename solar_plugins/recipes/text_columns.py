"""The columns of a data set that its Axolotl type reads as text, and the cells that have none.

A null cell becomes the word "None" in a prompt, or an error about something else. What a row may do
without (an input, a system message) is not listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_CHATML = {
    "argilla": ("instruction", "chosen_response", "rejected_response"),
    "argilla_chat": ("chosen", "rejected"),
    "icr": ("input", "chosen", "rejected"),
    "intel": ("question", "chosen", "rejected"),
    "prompt_pairs": ("prompt", "chosen", "rejected"),
    "ultra": ("prompt", "chosen", "rejected"),
}
_TYPES: dict[str, tuple[str, ...]] = {
    "alpaca": ("instruction", "output"),
    "alpaca_chat": ("instruction", "output"),
    "alpaca_chat.load_camel_ai": ("message_1", "message_2"),
    "alpaca_chat.load_qa": ("question", "answer"),
    "alpaca_instruct": ("instruction", "output"),
    "alpaca_w_system": ("instruction", "output"),
    "alpaca_w_system.load_open_orca": ("question", "response"),
    "alpaca_w_system.load_open_orca_chatml": ("question", "response"),
    "context_qa": ("context", "question", "answer"),
    "gpteacher": ("instruction", "response"),
    "input_output": ("segments",),
    "jeopardy": ("question", "category", "answer"),
    "metharme": ("prompt", "generation"),
    "oasst": ("INSTRUCTION", "RESPONSE"),
    "reflection": ("instruction", "output", "reflection", "corrected"),
    "stepwise_supervised": ("prompt", "completions"),
    "summarizetldr": ("article", "summary"),
}
_PREFERENCES = {
    **{f"{family}.{name}": reads for family in ("chatml", "llama3", "chat_template") for
       name, reads in _CHATML.items()},
    "zephyr.nectar": ("prompt", "answers"),
}  # fmt: skip
_KTO = {
    f"{family}.{name}": reads
    for family in ("chatml", "llama3")
    for name, reads in {
        "argilla": ("instruction", "completion"),
        "argilla_chat": ("chosen",),
        "intel": ("question", "completion"),
        "prompt_pairs": ("prompt", "completion"),
        "ultra": ("prompt", "completion"),
    }.items()
}


def text_columns(entry: Mapping[str, Any], rl: str = "") -> tuple[str, ...]:
    """The columns that a dataset entry reads as text, the answer last; () for an unknown type.

    Args:
        entry: Of ``datasets``, ``test_datasets``, ``pretraining_dataset`` or a step of sDPO.
        rl: The recipe's ``rl``; the same type reads other columns under preference training.

    >>> text_columns({"type": "completion", "field": "body"})
    ('body',)
    """
    kind = entry.get("type")
    if isinstance(kind, Mapping):
        names: tuple[str, ...] = ("prompt", "chosen", "rejected") if rl else _TYPES["alpaca"]
        names = ("prompt", "completion") if rl == "kto" else names
        return tuple(str(kind.get(f"field_{name}") or name) for name in names)
    kind = str(kind or "")
    if kind.startswith("completion"):
        return (str(entry.get("field") or "text"),)
    if kind == "pretrain":
        return (str(entry.get("text_column") or "text"),)
    if kind in ("chat_template", "chat_template.default"):
        names = ("messages", "chosen", "rejected") if rl else ("messages",)
        return tuple(str(entry.get(f"field_{name}") or name) for name in names)
    if rl:
        table = _KTO if rl == "kto" else _PREFERENCES
        # Rows without a type are in TRL's own columns.
        return table.get(kind, () if kind else ("prompt", "chosen", "rejected"))
    return _TYPES.get(kind) or _TYPES.get(kind.partition(":")[0], ())


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
