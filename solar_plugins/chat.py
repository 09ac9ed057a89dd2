"""The dataset type ``solar_plugins.chat``: rows of plain columns as conversations.

Axolotl's instruction types (``alpaca``, a ``type:`` with formats) tokenise prompt and answer apart.
With a tokenizer that puts a blank before each text (Llama 2, Mistral) the answer then begins with
another token than in preference data and at inference. Here the chat template writes the whole
conversation, which is tokenised once.

Of several names for a column the first that the data have counts:

==========  ===============================================================================
system      ``system_prompt`` or ``system``; none, or an empty cell: no system message
user        ``instruction``, ``question``, ``query`` or ``prompt``; ``input`` two lines below it
assistant   ``output``, ``response`` or ``answer``; in a step of sDPO ``chosen`` and ``rejected``
==========  ===============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solar_plugins.errors import SolarError
from solar_plugins.recipes.columns import CHAT, CHAT_ANSWER, CHAT_QUESTION, CHAT_SYSTEM
from solar_plugins.seams import axolotl as seam


def prompt_of(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages of a row before its answer.

    >>> prompt_of({"system": "", "question": "Which?"})
    [{'role': 'user', 'content': 'Which?'}]

    Raises:
        SolarError: the row has no such column.
    """
    system = next((row[name] for name in CHAT_SYSTEM if row.get(name)), None)
    question = row[_name(row, CHAT_QUESTION)]
    if row.get("input"):
        question = f"{question}\n\n{row['input']}"
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": question}]


def conversation_of(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages of a row of supervised data.

    Raises:
        SolarError: the row has no such column.
    """
    return [*prompt_of(row), {"role": "assistant", "content": row[_name(row, CHAT_ANSWER)]}]


def load(tokenizer: Any, cfg: Any, ds_cfg: Any) -> Any:
    """The strategy of supervised data; Axolotl finds it by the dotted name."""
    return seam.conversations(tokenizer, cfg, ds_cfg, conversation_of)


def load_pairs(cfg: Any, dataset_idx: int) -> Any:
    """The same for preference data, for which Axolotl knows types of its own alone."""
    return seam.conversation_pairs(cfg, dataset_idx, prompt_of)


def _name(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    found = next((name for name in names if name in row), None)
    if found is None:
        needed = ", ".join(names)
        raise SolarError(
            f"type: {CHAT}: no column {needed} in the data, which have {', '.join(row)}. Rename "
            "the one that holds it, or choose another type."
        )
    return found
