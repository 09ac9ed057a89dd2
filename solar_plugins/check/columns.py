"""The columns that a recipe reads, against those that its data have.

Axolotl finds a missing column when it tokenises: as a KeyError, after the model's config, the
tokenizer and all datasets before it were loaded. Some it never finds: a missing output of a
user-defined type trains on empty answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solar_plugins.check import data_rows
from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.check.unambiguous_match import unambiguous_match
from solar_plugins.errors import nearest

_CHATML = {
    "default": (("prompt", "input", "question", "instruction"), ("chosen", "chosen_response"),
                ("rejected", "rejected_response")),
    "argilla_chat": ("chosen", "rejected"),
    "icr": ("input", "chosen", "rejected"),
    "intel": ("question", "chosen", "rejected"),
    "prompt_pairs": ("prompt", "chosen", "rejected"),
    "ultra": ("prompt", "chosen", "rejected"),
}  # fmt: skip

READS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "alpaca": ("instruction", "output"),
    "alpaca_chat": ("instruction", "output"),
    "alpaca_chat.load_qa": ("question", "answer"),
    "alpaca_chat.load_camel_ai": ("message_1", "message_2"),
    "alpaca_instruct": ("instruction", "output"),
    "alpaca_w_system": ("instruction", "output", "system"),
    "alpaca_w_system.load_open_orca": ("question", "response", "system_prompt"),
    "alpaca_w_system.load_open_orca_chatml": ("question", "response", "system_prompt"),
    "input_output": ("segments",),
    "stepwise_supervised": ("prompt", "completions", "labels"),
    "chat_template.argilla_chat": ("chosen", "rejected"),
    "chatml": _CHATML["default"],
    **{f"{family}.{name}": reads for family in ("chatml", "llama3") for name, reads in
       _CHATML.items()},
    "llama3": _CHATML["default"],
    "zephyr.nectar": ("prompt", "answers"),
}  # fmt: skip
"""By dataset type: columns without which a row cannot be read, alternatives as a tuple."""


def check(source: YamlFile, place: Path_, entry: dict[str, Any], rl: str = "") -> None:
    """Add a finding for every column that the dataset `entry` reads and its data do not have.

    Args:
        place: Where the entry stands.
        entry: The entry.
        rl: The recipe's ``rl``; the same type reads other columns under preference training.
    """
    try:
        rows = data_rows.find(entry)
    except data_rows.UnreadableData as error:
        source.add((*place, "path"), "data", f"{entry['path']} {error}.")
        return
    if rows is None:
        return
    _split(source, place, entry)
    missing = False
    for where, wanted in _columns(entry, rl):
        options = (wanted,) if isinstance(wanted, str) else wanted
        if any(column in rows.columns for column in options):
            continue
        missing = True
        meant = unambiguous_match(options[0], rows.columns)
        hint = f" Did you mean {meant!r}?" if meant else nearest(options[0], rows.columns)
        source.add(
            (*place, *where),
            "data",
            f"no column {' or '.join(map(repr, options))} in {rows.where}, which has "
            f"{', '.join(rows.columns)}.{hint}",
            new_value=meant if where and str(where[-1]).startswith("field") else None,
        )
    if not missing and rows.first is not None:
        _messages(source, place, entry, rows.first, rl)
    if not missing and rl and entry.get("type") == "chat_template.default":
        _answer_in_prompt(source, place, entry, rows.columns)


def _split(source: YamlFile, place: Path_, entry: dict[str, Any]) -> None:
    """A single file has one split, whatever it holds."""
    split = entry.get("split")
    if Path(str(entry["path"])).is_file() and isinstance(split, str):
        name = split.partition("[")[0]
        if name != "train" and "+" not in name:
            source.add(
                (*place, "split"),
                "data",
                f"a single file has one split, train, and no {name!r}. Write `split: train`.",
                new_value=split.replace(name, "train", 1),
            )


def _columns(entry: dict[str, Any], rl: str) -> Iterator[tuple[Path_, str | tuple[str, ...]]]:
    """The columns that the entry reads: the place that names each, and its alternatives."""
    kind = entry.get("type")
    if isinstance(kind, dict):
        yield from _user_defined(kind, rl)
    elif kind in ("completion", "pretrain"):
        key = "field" if kind == "completion" else "text_column"
        yield (key,) if key in entry else ("type",), str(entry.get(key) or "text")
    elif kind in ("chat_template", "chat_template.default") and not rl:
        key = "field_messages"
        yield (key,) if key in entry else ("type",), str(entry.get(key) or "messages")
    elif kind in ("chat_template", "chat_template.default"):
        for name in ("messages", "chosen", "rejected"):
            key = f"field_{name}"
            yield (key,) if key in entry else ("type",), str(entry.get(key) or name)
    elif rl in ("", "dpo", "ipo", "simpo"):
        for column in READS.get(str(kind), ()):
            yield ("type",), column


def _user_defined(kind: dict[str, Any], rl: str) -> Iterator[tuple[Path_, str]]:
    # A row may do without an input or a system message, whatever their column is called.
    needed = ("prompt", "chosen", "rejected") if rl else ("instruction", "output")
    if rl == "kto":
        needed = ("prompt", "completion", "label")
    for name in needed:
        key = f"field_{name}"
        written = isinstance(kind.get(key), str)
        yield ("type", key) if written else ("type",), kind[key] if written else name
    for key in ("field_input", "field_system"):
        # Named, and missing from every row: Axolotl then leaves it out in silence.
        if isinstance(kind.get(key), str) and kind[key] not in (key[6:], ""):
            yield ("type", key), kind[key]


def _messages(
    source: YamlFile, place: Path_, entry: dict[str, Any], row: dict[str, Any], rl: str
) -> None:
    """Whether the messages of the first row have the fields that Axolotl looks for in them."""
    if str(entry.get("type")).partition(".")[0] != "chat_template" or (
        entry.get("type") == "chat_template.argilla_chat"
    ):
        return
    key = "field_messages"
    messages = row.get(str(entry.get(key) or "messages"))
    here = (*place, key) if key in entry else (*place, "type")
    if isinstance(messages, str) and rl:
        return
    if not isinstance(messages, list) or not messages or not isinstance(messages[0], dict):
        source.add(
            here,
            "data",
            f"{_short(messages)} found in the first row. A list of messages is needed, "
            "[{role: user, content: …}].",
        )
        return
    mappings = entry.get("message_property_mappings")
    mappings = mappings if isinstance(mappings, dict) else {}
    names = {
        "role": mappings.get("role") or entry.get("message_field_role") or "role",
        "content": mappings.get("content") or entry.get("message_field_content") or "content",
    }
    for name, field in names.items():
        if field not in messages[0]:
            has = ", ".join(map(str, messages[0]))
            other = {"role": "from", "content": "value"}[name]
            hint = f"Write `message_property_mappings: {{{name}: {other}}}`."
            hint = hint if other in messages[0] else nearest(str(field), map(str, messages[0]))
            source.add(
                here,
                "data",
                f"no {field!r} in the first row's messages, which have {has}. {hint.strip()}",
            )


def _answer_in_prompt(
    source: YamlFile, place: Path_, entry: dict[str, Any], columns: tuple[str, ...]
) -> None:
    """UltraFeedback and its like keep prompt and chosen answer in `messages`."""
    if "field_messages" not in entry and {"messages", "prompt", "chosen"} <= set(columns):
        source.add(
            (*place, "type"),
            "data",
            "reads the prompt from `messages`, which holds the chosen answer too in such data: "
            "both answers would follow it. Write `type: chat_template.argilla_chat`.",
            new_value="chat_template.argilla_chat",
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
