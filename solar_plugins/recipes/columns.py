"""The columns that a dataset type reads from a row, and what is wrong with the cells there.

Axolotl writes a null cell as the word "None" into the prompt, fails on it with an error about
something else, or trains on nothing where an answer is empty or no role is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from solar_plugins.recipes.strings import strings

_TABLES: dict[str, dict[str, str]] = yaml.safe_load(
    Path(__file__).with_suffix(".yml").read_text(encoding="utf-8")
)


def _reads(table: str) -> dict[str, list[tuple[str, ...]]]:
    rows = _TABLES[table].items()
    return {kind: [tuple(one.split("|")) for one in columns.split()] for kind, columns in rows}


def _of_both(table: str) -> dict[str, list[tuple[str, ...]]]:
    rows = _reads(table).items()
    return {f"{of}.{kind}": columns for of in ("chatml", "llama3") for kind, columns in rows}


_PAIRS = _of_both("pairs")
READS = {
    **_reads("types"),
    **_PAIRS,
    **{of: _PAIRS[f"{of}.default"] for of in ("chatml", "llama3")},
}
"""By dataset type: columns without which a row cannot be read, each with the names it may have."""

READS_KTO = _of_both("kto")

CHAT = "solar_plugins.chat"
"""Our own dataset type: plain columns as a conversation, see that module."""
CHAT_SYSTEM = ("system_prompt", "system")
CHAT_QUESTION = ("instruction", "question", "query", "prompt")
CHAT_ANSWER = ("output", "response", "answer")

_HOLDS = {name: holds for holds, names in _TABLES["holds"].items() for name in names.split()}
_CONVERSATIONS = (".argilla_chat", ".ultra")
ROLES = {"human": "user", "user": "user", "assistant": "assistant", "gpt": "assistant",
          "system": "system", "tool": "tool"}  # fmt: skip
"""As Axolotl maps them by itself; preference data know only the four on the right."""

_FILL = "Fill it in, or remove the row"


@dataclass(frozen=True)
class Column:
    """A column that a dataset entry reads.

    Attributes:
        names: Its name, or several of which the first that is there counts.
        holds: ``prompt``, ``answer``, ``text`` (of pretraining), ``context`` (may be empty),
            ``messages`` (the answers among them), ``conversation`` (chosen or rejected), ``value``.
        key: The key of the entry that names it, ``("type",)`` where the type itself does.
        may_be_missing: A row is read without it.
    """

    names: tuple[str, ...]
    holds: str = "prompt"
    key: tuple[str, ...] = ("type",)
    may_be_missing: bool = False


class Fault(NamedTuple):
    """What is wrong with a cell.

    Attributes:
        column: Of the row.
        text: What was found, and what follows from it; the same for all rows with this fault.
        is_note: The row can be trained on all the same.
    """

    column: Column
    text: str
    is_note: bool = False


class RowReader:
    """How one dataset entry of a recipe reads its rows.

    Args:
        entry: The entry; one of ``pretraining_dataset`` has the type ``pretrain``.
        rl: The recipe's ``rl``: the same type reads other columns under preference training.
        trains_on_inputs: The recipe's ``train_on_inputs``.

    Attributes:
        columns: What it reads; empty where the type is not known.
    """

    def __init__(self, entry: Mapping[str, Any], rl: str = "", trains_on_inputs: bool = False):
        self.rl = rl
        self.columns = list(_columns(entry, rl))
        mapped = entry.get("message_property_mappings")
        mapped = mapped if isinstance(mapped, dict) and not rl else {}
        self.fields = {
            name: str(mapped.get(name) or (not rl and entry.get(f"message_field_{name}")) or name)
            for name in ("role", "content")
        }
        given = entry.get("roles") if not rl else dict.fromkeys(ROLES.values())
        self.roles = dict(ROLES)
        if isinstance(given, dict) and given:
            self.roles = {str(s): t for t, all_ in given.items() for s in (all_ or [t])}
        trained = entry.get("roles_to_train")
        trained = trained if isinstance(trained, list) else ["assistant"]
        self.trained = {self.roles.get(str(role), str(role)) for role in trained}
        # Which messages are trained may also be written in the rows.
        self.by_role = not rl and not trains_on_inputs and not entry.get("message_field_training")

    def texts(self, row: Mapping[str, Any]) -> list[str]:
        """The texts of a row that have to fit into ``sequence_len``, without their template."""
        prompt, answers = "", []
        answers_alone = any(column.holds in ("prompt", "messages") for column in self.columns)
        for column in self.columns:
            _, value = cell(row, column)
            if isinstance(value, list) and column.holds == "conversation" and answers_alone:
                value = value[-1:]
            if isinstance(value, list) and column.holds in ("messages", "conversation"):
                value = [m.get(self.fields["content"]) for m in value if isinstance(m, dict)]
            text = " ".join(strings(value))
            if self.rl and column.holds in ("answer", "conversation"):
                answers.append(text)
            else:
                prompt += text
        return [prompt + answer for answer in answers or [""]]

    def faults(self, row: Mapping[str, Any]) -> Iterator[Fault]:
        """What is wrong with the cells of `row` that this entry reads; see `Fault`."""
        for column in self.columns:
            name, value = cell(row, column)
            is_chat = column.holds in ("messages", "conversation")
            if column.holds == "context":
                continue
            if value is None:
                if not column.may_be_missing:
                    yield Fault(column, f"{name} is null: the word None would be trained, or the "
                                f"training ends on it. {_FILL}")  # fmt: skip
            elif is_chat and not (self.rl and isinstance(value, str)):
                yield from self._messages(column, name, value)
            elif is_empty(value):
                if column.holds == "answer":
                    yield Fault(column, f"{name} is empty: nothing is learned from it. {_FILL}")
                else:
                    is_note = column.holds == "text" or not self.rl
                    yield Fault(column, f"{name} is empty", is_note)
        answers = [column for column in self.columns if column.holds in ("answer", "conversation")]
        if self.rl and len(answers) == 2:
            chosen, rejected = ((column, *cell(row, column)) for column in answers)
            if chosen[2] == rejected[2] and not is_empty(chosen[2]):
                same = f"{chosen[1]} and {rejected[1]} are the same: nothing is learned from it"
                yield Fault(rejected[0], same, is_note=True)

    def _messages(self, column: Column, name: str, value: Any) -> Iterator[Fault]:
        messages = [value] if self.rl and isinstance(value, dict) else value
        if not isinstance(messages, list) or not messages:
            write = "[{role: user, content: …}]"
            yield Fault(column, f"{name} is {value!r:.60}. A list of messages is needed, {write}")
            return
        found = [self._message(name, m, is_last=m is messages[-1]) for m in messages]
        if faults := sorted((fault for fault in found if fault), key=lambda fault: fault[1]):
            yield Fault(column, *faults[0])  # what cannot be trained on before what can
            if not faults[0][1]:
                return
        last = self.roles.get(str(messages[-1].get(self.fields["role"])))
        if column.holds == "conversation" and last != "assistant":
            text = f"the last message of {name} is of {last}: it would be trained as the answer"
            yield Fault(column, f"{text}. Remove it, or the row")
        roles = list(dict.fromkeys(str(message.get(self.fields["role"])) for message in messages))
        if self.by_role and not {self.roles.get(role, role) for role in roles} & self.trained:
            strange = [role for role in roles if role not in self.roles]
            way = f"roles: {{user: [user], assistant: [{strange[0]}]}}" if strange else ""
            yield Fault(
                column,
                f"{name} has the roles {', '.join(roles)}, and {', '.join(sorted(self.trained))} "
                f"is trained: nothing is learned from it. Write `{way or 'roles_to_train: […]'}`",
            )

    def _message(self, name: str, message: Any, is_last: bool) -> tuple[str, bool] | None:
        """What is wrong with one message, and whether it can be trained on all the same."""
        if not isinstance(message, dict):
            return f"{name} holds {message!r:.60}, not a message", False
        role, content = (message.get(field) for field in self.fields.values())
        if (role is None or content is None) and not message.get("tool_calls"):
            return self._lost(name, message), False
        mapped = self.roles.get(str(role))
        if self.rl and mapped is None:
            taken = "with `rl` Axolotl takes user, assistant, system and tool"
            return f"{name} has the role {role!r}; {taken}. Rename it in the data", False
        if content is None or not is_empty(content) or mapped == "system":
            return None
        if (mapped or str(role)) in self.trained and (is_last or not self.rl):
            return f"an answer in {name} is empty: nothing is learned from it. {_FILL}", False
        return f"a message in {name} is empty", True

    def _lost(self, name: str, message: dict[str, Any]) -> str:
        """That a message has no role or no content, or none under the names that are read."""
        lost = {part: field for part, field in self.fields.items() if field not in message}
        if not lost:
            part = next(part for part, field in self.fields.items() if message[field] is None)
            return f"the {part} of a message in {name} is null. {_FILL}"
        others = {"role": "from", "content": "value"}
        there = [f"{part}: {others[part]}" for part in lost if others[part] in message]
        way = f". Write `message_property_mappings: {{{', '.join(there)}}}`" if there else ""
        if way and self.rl:
            way = ". Rename the fields of the data: with `rl` Axolotl reads role and content"
        no = " and no ".join(map(repr, lost.values()))
        return f"no {no} in the messages of {name}, which have {', '.join(map(str, message))}{way}"


def cell(row: Mapping[str, Any], column: Column) -> tuple[str, Any]:
    """The name under which `row` has the column, and what is there."""
    name = next((name for name in column.names if name in row), column.names[0])
    return name, row.get(name)


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing; a number or false is something."""
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _columns(entry: Mapping[str, Any], rl: str) -> Iterator[Column]:
    kind = entry.get("type")
    kind = kind.partition(":")[0] if isinstance(kind, str) else kind  # alpaca:chat

    def named(name: str, holds: str, block: Mapping[str, Any], *above: str) -> Column:
        key = f"field_{name}"
        written = isinstance(block.get(key), str)
        name = block[key] if written else name
        return Column((name,), holds, (*above, key) if written else ("type",))

    if isinstance(kind, dict):
        holds = {"instruction": "prompt", "output": "answer"}
        if rl:
            holds = {"prompt": "prompt", "chosen": "answer", "rejected": "answer"}
        if rl == "kto":
            holds = {"prompt": "prompt", "completion": "answer", "label": "value"}
        for name, held in holds.items():
            yield named(name, held, kind, "type")
        for name in ("input", "system"):
            column = named(name, "context", kind, "type")
            # Named, and missing from every row: Axolotl then leaves it out in silence.
            yield Column(column.names, "context", column.key, column.names[0] in (name, ""))
    elif kind in ("completion", "pretrain"):
        key = "field" if kind == "completion" else "text_column"
        yield Column((str(entry.get(key) or "text"),), "text", (key if key in entry else "type",))
    elif kind == CHAT:
        yield Column(CHAT_QUESTION, "prompt")
        answers = [Column((name,), "answer") for name in ("chosen", "rejected")]
        yield from answers if rl else [Column(CHAT_ANSWER, "answer")]
        yield from (Column(c, "context", may_be_missing=True) for c in (("input",), CHAT_SYSTEM))
    elif rl not in ("", "dpo", "ipo", "simpo", "kto"):
        return
    elif kind in ("chat_template", "chat_template.default"):
        yield named("messages", "messages", entry)
        for name in ("chosen", "rejected") if rl else ():
            yield named(name, "conversation", entry)
    else:
        own = [("prompt",), ("chosen",), ("rejected",)] if rl and kind is None else []  # TRL's
        for names in (READS_KTO if rl == "kto" else READS).get(str(kind), own):
            held = _HOLDS.get(names[0], "prompt")
            is_chat = held == "answer" and str(kind).endswith(_CONVERSATIONS)
            yield Column(names, "conversation" if is_chat else held)
        if str(kind).startswith("alpaca"):
            yield Column(("input",), "context", may_be_missing=True)
