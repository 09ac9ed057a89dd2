"""Held-out text, answers and pairs by their public columns, and what a model makes of each item.

Besides the score each task leaves `items`, so that two models can be compared item by item.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from solar_plugins.errors import SolarError

if TYPE_CHECKING:
    from datasets import Dataset

_PROMPT = ("prompt", "instruction", "question")
_ANSWER = ("output", "response", "answer", "messages")
_INPUT = ("input", "context")
_SYSTEM = ("system", "system_prompt")
_CHATS = ("messages", "chosen")  # whole conversations
_ANSWERS = "### Assistant:\n"


def text(doc: Mapping[str, Any]) -> str:
    """The column `text`."""
    return _cell(doc, ("text",))


def with_text(docs: Dataset) -> Dataset:
    """The rows that are not blank; every second one of WikiText's is."""
    return docs.filter(lambda doc: bool(text(doc).strip()))


def instruction(doc: Mapping[str, Any]) -> str:
    """The prompt in the form of the released SOLAR (`recipes/templates/solar.jinja`)."""
    chat = next((doc[name] for name in _CHATS if isinstance(doc.get(name), list)), [])
    if len(chat) > 1:  # else a list with the answer alone
        turns = [f"### {one['role'].title()}:\n{one['content']}" for one in chat[:-1]]
        return "\n\n".join([*turns, _ANSWERS])
    system, more = (_cell(doc, names, "") for names in (_SYSTEM, _INPUT))
    parts = [f"### System:\n{system}"] * bool(system)
    parts += [f"### User:\n{_cell(doc, _PROMPT)}", *[more] * bool(more), _ANSWERS]
    return "\n\n".join(parts)


def answer(doc: Mapping[str, Any]) -> str:
    """The answer to an instruction; of a conversation, the last message."""
    return _cell(doc, _ANSWER)


def both_answers(doc: Mapping[str, Any]) -> list[str]:
    """The chosen and the rejected answer; of a list of messages, the last one."""
    return [_cell(doc, (name,)) for name in ("chosen", "rejected")]


def loss_of_text(doc: Mapping[str, Any], results: Sequence[float]) -> dict[str, Any]:
    """The log-likelihood of the whole text (nats), with its bytes."""
    return _loss(results[0], text(doc))


def loss_of_answer(doc: Mapping[str, Any], results: Sequence[tuple]) -> dict[str, Any]:
    """The log-likelihood of the answer after its prompt (nats), with its bytes."""
    return _loss(results[0][0], answer(doc))


def preference(doc: Mapping[str, Any], results: Sequence[tuple]) -> dict[str, Any]:
    """Whether the chosen answer is likelier, and both log-likelihoods (nats)."""
    chosen, rejected = (loglikelihood for loglikelihood, _ in results)
    sizes = [max(1, len(one.encode())) for one in both_answers(doc)]
    return {
        "acc": float(chosen > rejected),
        "acc_norm": float(chosen / sizes[0] > rejected / sizes[1]),
        "items": (chosen, rejected),
    }


def as_they_are(items: list) -> list:
    """lm-eval's aggregation for `items`: no aggregation."""
    return items


def _loss(loglikelihood: float, of: str) -> dict[str, Any]:
    size = len(of.encode())
    return {
        "bits_per_byte": (loglikelihood, size),
        "items": (-loglikelihood / math.log(2), size),
    }


def _cell(doc: Mapping[str, Any], names: tuple[str, ...], missing: str | None = None) -> str:
    """The text of the first of the columns `names` that the row has.

    Raises:
        SolarError: it has none of them, and `missing` is None.
    """
    value = next((doc[name] for name in names if doc.get(name) is not None), missing)
    if value is None:
        raise SolarError(f"a row has {', '.join(doc)}. Needed: a text in {' or '.join(names)}")
    if isinstance(value, list):
        value = value[-1]
    return value["content"] if isinstance(value, Mapping) else value
