"""A user's own rows, whatever their columns are called (README.md), in those of the recipes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from solar_plugins.check.data_files import UnreadableData, of_file
from solar_plugins.errors import SolarError
from solar_plugins.recipes.columns import CHAT_ANSWER, CHAT_QUESTION, CHAT_SYSTEM, ROLES, RowReader
from solar_plugins.recipes.rows import column

MOST = 256 << 20  # bytes read of a file: more than a short chain trains on
LETTERS = 2_000  # of one piece of text, about 500 tokens
_CHATS = ("messages", "conversations")
_ANSWERS = (*CHAT_ANSWER, "completion")
_PLAIN = (".txt", ".md")

Row = dict[str, Any]
Messages = list[dict[str, str]]


def read(kind: str, file: Path) -> tuple[list[Row], int]:
    """The rows of `file` that can be trained on, and how many cannot: an answer is empty, or the
    two of a pair are the same.

    Args:
        kind: ``text``, ``sft`` or ``pairs``.

    Raises:
        SolarError: it has no such rows, or columns that are not known.
    """
    where = f"--{kind} {file}"
    try:
        if kind == "text" and file.suffix in _PLAIN:
            found = [{"text": file.read_text(encoding="utf-8")}]
        elif (of := of_file(file, MOST)) is not None:
            found = [*of.rows]
        else:
            plain = ", .txt" * (kind == "text")
            raise SolarError(f"{where}: needed: .jsonl, .json, .csv, .parquet, .arrow{plain}.")
    except FileNotFoundError:
        raise SolarError(f"{where}: no such file.") from None
    except (UnreadableData, UnicodeDecodeError) as error:
        raise SolarError(f"{where}: {error}.") from None
    convert, entry, rl = _KINDS[kind]
    reader = RowReader(entry, rl)
    rows, lost = [], 0
    for number, row in enumerate(found, start=1):
        made = convert(row, f"{where}: row {number}")
        good = [one for one in made if not any(reader.faults(one))]
        rows += good
        lost += not good
    if not rows:
        raise SolarError(f"{where}: none of its {len(found)} rows can be trained on.")
    return rows, lost


def _text(row: Row, where: str) -> list[Row]:
    """Pieces of a document, cut where a paragraph ends, or else a word."""
    most = f".{{1,{LETTERS}}}"
    pieces = rf"(?s){most}(?:\n\s*\n|\Z)|{most}(?:\s|\Z)|{most}"
    document = str(column(row, ("text", "content"), where))
    return [{"text": piece.strip()} for piece in re.findall(pieces, document)]


def _sft(row: Row, where: str) -> list[Row]:
    if any(name in row for name in _CHATS):
        return [{"messages": _messages(column(row, _CHATS, where), where)}]
    answer = column(row, (*_CHATS, *_ANSWERS), where)
    return [{"messages": [*_prompt(row, where), {"role": "assistant", "content": str(answer)}]}]


def _pairs(row: Row, where: str) -> list[Row]:
    both = {name: _answers(column(row, (name,), where), where) for name in ("chosen", "rejected")}
    if any(len(messages) < 2 for messages in both.values()):  # without its prompt
        before = _prompt(row, where)
        both = {name: [*before, *messages[-1:]] for name, messages in both.items()}
    return [{"prompt": both["chosen"][-2]["content"], **both}]


def _answers(value: Any, where: str) -> Messages:
    if isinstance(value, list | Mapping):
        return _messages(value if isinstance(value, list) else [value], where)
    return [{"role": "assistant", "content": str(value)}]


def _prompt(row: Row, where: str) -> Messages:
    """The messages before an answer."""
    question = column(row, (*CHAT_QUESTION, *_CHATS), where)
    system = next((row[name] for name in CHAT_SYSTEM if row.get(name)), None)
    before = [{"role": "system", "content": str(system)}] if system else []
    if isinstance(question, list):
        return [*before, *_messages(question, where)]
    more = f"\n\n{row['input']}" if row.get("input") else ""
    return [*before, {"role": "user", "content": f"{question}{more}"}]


def _messages(value: Any, where: str) -> Messages:
    """A conversation with the fields ``role`` and ``content``."""
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise SolarError(f"{where}: {value!r:.60} found. Write [{{role: user, content: …}}, …].")
    messages = []
    for one in map(dict, value):
        role = column(one, ("role", "from"), f"{where}: a message")
        if role not in ROLES:
            raise SolarError(f"{where}: the role {role!r} found. Needed: {', '.join(ROLES)}.")
        content = column(one, ("content", "value"), f"{where}: a message")
        messages.append({"role": ROLES[str(role)], "content": str(content)})
    return messages


_KINDS: dict[str, tuple[Callable[[Row, str], list[Row]], dict[str, Any], str]] = {
    "text": (_text, {"type": "pretrain"}, ""),
    "sft": (_sft, {"type": "chat_template"}, ""),
    "pairs": (_pairs, {"type": "chat_template.argilla_chat"}, "dpo"),
}
"""How a row is converted, and the entry of a recipe that reads what comes of it."""
