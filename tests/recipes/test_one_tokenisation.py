"""From SFT to inference a conversation is the same token ids: those of the chat template.

Every shipped recipe's dataset types, under five kinds of tokenizers. The template writes the start
and the end of sequence itself, so `apply_chat_template(tokenize=True)` gives the whole of it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from five_tokenizers import kinds
from recipe_files import RECIPES, recipe, tokenised_pairs

from solar_plugins import chat
from solar_plugins.errors import SolarError
from solar_plugins.recipes.columns import CHAT

pytestmark = pytest.mark.slow

TEMPLATE = RECIPES / "templates" / "solar.jinja"
ULTRA = "chat_template.argilla_chat"
SYSTEM, QUESTION = "You are an assistant.", "Which trees grow in the forest?"
ANSWERS = (
    "The oak does.",
    "It is 42.\n\nWrite it in words.",
    "Hello! 12 + 30 = 42",
    "Zügig 😀 {x}",
)
EDGES = (" The oak does.", "\nIt is 42.", "\n\n The birch.\n", "  42", "Done. \n")


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def types_in(value: Any) -> Iterator[Any]:
    """The type of every dataset entry below `value`, those of sDPO's steps and of chains too."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if key == "datasets" and all(isinstance(entry, dict) for entry in inner):
            yield from (entry["type"] for entry in inner)
        elif isinstance(inner, dict | list):
            yield from types_in(inner)


def conversation(row: dict[str, Any]) -> list[dict[str, str]]:
    """By hand, for the public data's columns: what the model is to see."""
    if "messages" in row:
        return row["messages"]
    system = row.get("system_prompt") or row.get("system")
    asked = next(row[n] for n in ("instruction", "question", "query", "prompt") if n in row)
    if row.get("input"):
        asked += "\n\n" + row["input"]
    answer = next(row[n] for n in ("output", "response", "answer", "chosen") if n in row)
    return [turn("system", system)] * bool(system) + [
        turn("user", asked),
        turn("assistant", answer),
    ]


def instructions(answers: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows with the columns of Alpaca-GPT4, OpenOrca, MetaMathQA and our math set."""
    rows: list[dict[str, Any]] = []
    for answer in answers:
        for more in ("", "oak, birch"):
            rows.append({"instruction": QUESTION, "input": more, "output": answer})
        for system in ("", None, SYSTEM):
            rows.append({"id": "1", "system_prompt": system, "question": QUESTION})
            rows[-1]["response"] = answer
        rows.append({"type": "MATH_SV", "query": QUESTION, "response": answer})
        rows.append({"question": QUESTION, "answer": answer})
    return rows


def pairs(answers: tuple[str, ...]) -> list[tuple[Any, dict[str, Any]]]:
    """Type and row: Orca pairs, the math pairs, UltraFeedback with one turn and with several."""
    asked = {"question": QUESTION, "rejected": "The birch."}
    rows = []
    for answer in answers:
        rows += [(CHAT, asked | {"system": s, "chosen": answer}) for s in ("", None, SYSTEM)]
        rows.append((CHAT, {"prompt": QUESTION, "chosen": answer, "rejected": "The birch."}))
        for before in ([], [turn("system", SYSTEM)], talk(ANSWERS[0])):
            prompt = [*before, turn("user", QUESTION)]
            both = [[*prompt, turn("assistant", text)] for text in (answer, "The birch.")]
            rows.append((ULTRA, dict(zip(("chosen", "rejected"), both, strict=True))))
    return rows


def talk(answer: str) -> list[dict[str, str]]:
    return [turn("user", "What is 12 + 30?"), turn("assistant", answer)]


@pytest.fixture(scope="module", params=kinds().items(), ids=lambda item: item[0])
def tokenizer(request):
    tokenizer = request.param[1]
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")
    return tokenizer


def ids_of(tokenizer, messages: list[dict[str, str]], generate: bool = False) -> list[int]:
    return tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=False, add_generation_prompt=generate
    )


def first_token_after(tokenizer, messages: list[dict[str, str]]) -> int:
    """The first token with a character behind the prompt of the rendered text."""
    render = functools.partial(tokenizer.apply_chat_template, tokenize=False)
    begin = len(render(messages[:-1], add_generation_prompt=True))
    text = tokenizer(render(messages), add_special_tokens=False, return_offsets_mapping=True)
    return next(i for i, (_, end) in enumerate(text["offset_mapping"]) if end > begin)


def config(name: str):
    from axolotl.utils.dict import DictDefault

    keys = recipe(name) | {"chat_template_jinja": str(TEMPLATE), "sequence_len": 512}
    return DictDefault(keys | {"train_on_inputs": False})


def trained(tokenizer, kind: Any, rows: list[dict[str, Any]]) -> list[dict[str, list[int]]]:
    """`rows` as Axolotl tokenises them for supervised training."""
    from axolotl.utils.data.wrappers import get_dataset_wrapper
    from axolotl.utils.dict import DictDefault
    from datasets import Dataset

    found = []
    for row in rows:  # each has columns of its own
        entry = DictDefault({"path": "rows.jsonl", "type": kind})
        base = kind if isinstance(kind, str) else None
        data = Dataset.from_list([row])
        found += get_dataset_wrapper(entry, tokenizer, config("sft_v3"), base, data)[0].to_list()
    return found


def compared(tokenizer, kind: Any, row: dict[str, Any]) -> dict[str, list[int]]:
    """`row` as stepwise DPO trains it: Axolotl's type, our rendering, TRL's tokenisation."""
    from axolotl.utils.data import rl
    from axolotl.utils.dict import DictDefault
    from datasets import Dataset

    from solar_plugins.sdpo.in_axolotl import step_data
    from solar_plugins.seams import axolotl as seam

    cfg = config("cand_1")
    cfg.datasets = [DictDefault({"path": "rows.jsonl", "type": kind})]
    with seam.preference_rows(step_data.write_row, {CHAT: chat.load_pairs}):
        write, _ = rl.load_dpo(kind, cfg, dataset_idx=0)
    texts = write(json.loads(json.dumps(row)), 0, tokenizer=tokenizer)
    names = ("prompt", "chosen", "rejected")
    rows = Dataset.from_list([{name: texts[name] for name in names}])
    return tokenised_pairs(rows, tokenizer)[0]


def test_these_are_the_types_of_all_shipped_recipes():
    found = set()
    for file in RECIPES.rglob("*.yml"):
        found |= set(map(str, types_in(yaml.safe_load(file.read_text(encoding="utf-8")))))
    assert found == {CHAT, ULTRA, "completion"}


@pytest.mark.parametrize("answers", [ANSWERS, EDGES], ids=["plain", "edges"])
def test_sft_trains_the_ids_of_the_chat_template(tokenizer, answers):
    rows = instructions(answers)
    for row, tokens in zip(rows, trained(tokenizer, CHAT, rows), strict=True):
        messages = conversation(row)
        whole, prompt = ids_of(tokenizer, messages), ids_of(tokenizer, messages[:-1], True)
        assert tokens["input_ids"] == whole
        # The answer and its end are trained, from the first token that has a part of the answer.
        masked = first_token_after(tokenizer, messages)
        assert tokens["labels"] == [-100] * masked + whole[masked:]
        assert masked == len(prompt) or answers is EDGES
        assert whole[-1] == tokenizer.eos_token_id


def test_sft_of_several_turns_trains_the_ids_of_the_chat_template(tokenizer):
    messages = [turn("system", SYSTEM), *talk(ANSWERS[0]), *talk(ANSWERS[1])]
    (tokens,) = trained(tokenizer, "chat_template", [{"messages": messages}])
    assert tokens["input_ids"] == ids_of(tokenizer, messages)
    ends = [label for label in tokens["labels"] if label == tokenizer.eos_token_id]
    assert len(ends) == 2


def test_data_without_the_columns_are_refused():
    with pytest.raises(SolarError) as error:
        chat.conversation_of({"question": "Which?", "text": "That."})
    assert str(error.value) == (
        "type: solar_plugins.chat: no column output, response, answer in the data, which have "
        "question, text. Rename the one that holds it, or choose another type."
    )


def test_stepwise_dpo_trains_the_ids_of_the_chat_template(tokenizer):
    for kind, row in pairs(ANSWERS):
        messages = row["chosen"] if kind == ULTRA else conversation(row)
        tokens = compared(tokenizer, kind, row)
        assert tokens["prompt_ids"] == ids_of(tokenizer, messages[:-1], True)
        for name, text in (("chosen", messages[-1]["content"]), ("rejected", "The birch.")):
            whole = ids_of(tokenizer, [*messages[:-1], turn("assistant", text)])
            assert tokens["prompt_ids"] + tokens[f"{name}_ids"] == whole


def test_stepwise_dpo_refuses_an_answer_that_the_tokenizer_joins_to_its_prompt(tokenizer):
    """SFT trains such an answer with the token that the template's text has there."""
    for kind, row in pairs(EDGES):
        messages = row["chosen"] if kind == ULTRA else conversation(row)
        whole, prompt = ids_of(tokenizer, messages), ids_of(tokenizer, messages[:-1], True)
        if whole[: len(prompt)] == prompt:
            tokens = compared(tokenizer, kind, row)
            assert tokens["prompt_ids"] + tokens["chosen_ids"] == whole
        else:
            with pytest.raises(SolarError, match="the tokenizer joins its start"):
                compared(tokenizer, kind, row)
