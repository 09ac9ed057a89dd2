"""`recipes.columns.READS` has the columns without which Axolotl's own readers fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from solar_plugins.recipes.columns import READS, READS_KTO

pytestmark = pytest.mark.slow

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
RANKED = [{"rank": rank, "answer": "a"} for rank in (1, 2)]
SHAPES: dict[str, Any] = {
    "chat_template.argilla_chat": TURNS,
    "chatml.argilla_chat": TURNS,
    "llama3.argilla_chat": TURNS,
    "chatml.ultra": TURNS,
    "llama3.ultra": TURNS,
    "zephyr.nectar": RANKED,
}
"""What chosen, rejected and answers are, where they are no texts."""

PREFERENCE = [name for name in READS if name.startswith(("chatml", "llama3", "zephyr"))]
INSTRUCTION = [name for name in READS if name.startswith("alpaca")]


def _row(name: str, reads: dict[str, Any] = READS) -> dict[str, Any]:
    columns = [column[0] for column in reads[name]]
    row: dict[str, Any] = dict.fromkeys(columns, "text")
    for column in ("chosen", "rejected", "answers", *(["completion"] * ("chat" in name))):
        if column in row and name in SHAPES:
            row[column] = SHAPES[name]
    return row


def _needs_every_column(read: Callable[[dict[str, Any]], Any], row: dict[str, Any]) -> None:
    assert read(dict(row))
    for column in row:
        with pytest.raises(KeyError):
            read({name: value for name, value in row.items() if name != column})


@pytest.mark.parametrize("name", PREFERENCE)
def test_preference_data(name):
    from axolotl.prompt_strategies.dpo import load
    from axolotl.utils.dict import DictDefault

    read = load(name, DictDefault({"datasets": [{"type": name}]}), dataset_idx=0)
    read = read[0] if isinstance(read, tuple) else read
    _needs_every_column(read, _row(name))


@pytest.mark.parametrize("name", READS_KTO)
def test_data_of_kto(name):
    from axolotl.prompt_strategies.kto import load
    from axolotl.utils.dict import DictDefault

    read = load(name, DictDefault({"datasets": [{"type": name}]}), dataset_idx=0)
    _needs_every_column(read, _row(name, READS_KTO))


@pytest.mark.parametrize("name", INSTRUCTION)
def test_instruction_data(name):
    from axolotl.prompt_strategies import load
    from axolotl.prompt_tokenizers import AlpacaPromptTokenizingStrategy
    from axolotl.utils.dict import DictDefault

    if name == "alpaca":  # the one that Axolotl does not load by its file
        read = AlpacaPromptTokenizingStrategy(None, None, False, 8).parse_instruction_fields
    else:
        cfg = DictDefault({"train_on_inputs": False, "sequence_len": 8})
        read = load(name, None, cfg, {}).parse_instruction_fields
    _needs_every_column(read, _row(name))
