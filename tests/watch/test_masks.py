"""Rows of supervised data that train another text than their answers, under Axolotl's templates."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from tiny_models import byte_tokenizer

from solar_plugins.seams.axolotl import answers_of
from solar_plugins.watch import masks

pytestmark = pytest.mark.slow

MESSAGES = int(os.environ.get("MASKED_MESSAGES", "60"))  # of each template
NAMED = ("chatml", "llama3", "gemma", "mistral_v1", "phi_3", "qwen_25", "qwen3", "alpaca")
WORDS = ["cheese", "no", "a", "user", "assistant", "[/INST]", "<think>", "é", "😀", "§"]
CALLS = [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]


def turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def talk(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant") * len(contents)
    return {"messages": [turn(role, text) for role, text in zip(roles, contents, strict=False)]}


def strategy(template: str, length: int = 100_000, **entry: Any) -> Any:
    """Axolotl's, for one of its chat templates or one of our own."""
    from axolotl.prompt_strategies.chat_template import load
    from axolotl.utils.dict import DictDefault

    own = {"chat_template": "jinja", "chat_template_jinja": template}
    cfg = own if "{" in template else {"chat_template": template}
    data = {"field_messages": "messages", **entry}
    tokenizer = byte_tokenizer(pad_token="<pad>")
    return load(tokenizer, DictDefault({**cfg, "sequence_len": length}), data)


def looked_at(kind: Any, rows: list[dict[str, Any]], length: int = 100_000) -> tuple:
    read = Dataset.from_list(rows)
    tokens = read.map(kind.tokenize_prompt, batched=True, remove_columns=read.column_names)
    found = masks.other_texts(kind.tokenizer, read, tokens, answers_of(kind), length)
    return found, tokens


def is_exact(kind: Any, row: dict[str, Any], tokens: dict[str, Any]) -> bool:
    """Whether the trained bytes are those at the places where the template writes the answers."""
    text = kind.prompter.build_prompt_text(row["messages"])
    wanted = b""
    for place, message in enumerate(row["messages"]):
        if message["role"] != "assistant":
            continue
        swapped = list(row["messages"])
        swapped[place] = turn("assistant", "\x00word\x00")
        other = kind.prompter.build_prompt_text(swapped)
        before, _, after = other.partition("\x00word\x00")
        if not text.startswith(before) or text[len(before) :] != message["content"] + after:
            stripped = message["content"].strip()
            if not text.startswith(before) or text[len(before) :] != stripped + after:
                return False
        wanted += "".join(message["content"].split()).encode()
    ids = [i for i, label in zip(tokens["input_ids"], tokens["labels"], strict=True) if label >= 0]
    trained = kind.tokenizer.decode(ids, skip_special_tokens=True)
    return "".join(trained.split()).encode() == wanted


@pytest.mark.parametrize("name", NAMED)
def test_rows_that_train_their_answers_are_told_from_those_that_do_not(name):
    draw = random.Random(name)

    def drawn() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 5))) + draw.choice(["", " ", "\n"])

    rows = [talk(*(drawn() for _ in range(draw.choice([2, 4])))) for _ in range(MESSAGES)]
    kind = strategy(name)
    _, tokens = looked_at(kind, rows)
    differing = 0
    for row, row_tokens in zip(rows, tokens, strict=True):
        found = masks.other_texts(
            kind.tokenizer,
            Dataset.from_list([row]),
            Dataset.from_list([row_tokens]),
            answers_of(kind),
            100_000,
        )
        assert (found is None) == is_exact(kind, row, row_tokens), row
        differing += found is not None
    together, _ = looked_at(kind, rows)
    assert differing == (together.rows if together else 0)
    assert not together or together.looked_at == MESSAGES


@pytest.mark.parametrize(
    ("template", "rows", "line"),
    [
        (
            "{% for m in messages %}{{ m['content'] | upper }}</s>{% endfor %}",
            [talk("q", "yes"), talk("q", "NO")],
            "1 of 2 rows train another text than their answer, as row 1: 'YES', not 'yes'. Look at "
            "chat_template: it changes the answers, or leaves some out.",
        ),
        (
            "{% for m in messages %}{{ m['content'].split('</think>')[-1] }}</s>{% endfor %}",
            [talk("q", "yes"), talk("q", "<think>h</think>yes")],
            "row 2: 'yes', not '<think>h</think>yes'.",
        ),
        (
            "{% for m in messages[-2:] %}{{ m['content'] }}</s>{% endfor %}",
            [talk("q", "one", "q", "two")],
            "row 1: 'two', not 'onetwo'.",
        ),
    ],
)
def test_a_template_that_changes_answers_is_named(template, rows, line):
    found, _ = looked_at(strategy(template), rows)
    assert line in found.line()


PLAIN = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.mark.parametrize(
    ("rows", "entry"),
    [
        ([talk("q", "yes")], {"roles_to_train": ["user", "assistant"]}),
        ([talk("q", "yes")], {"roles_to_train": [], "train_on_eos": None}),
        ([{"messages": [turn("user", "q", train=True)]}], {"message_field_training": "train"}),
        ([talk("q", "long" * 50)], {}),
        ([{"messages": [turn("user", "q"), turn("assistant", "", tool_calls=CALLS)]}], {}),
    ],
)
def test_what_is_trained_by_wish_or_cut_is_none(rows, entry):
    found, _ = looked_at(strategy(PLAIN, **entry), rows, length=100)
    assert found is None


def test_a_tokenizer_that_changes_texts_is_no_fault():
    from tokenizers import normalizers

    kind = strategy(PLAIN)
    kind.tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    assert looked_at(kind, [talk("Q", "Yes.")])[0] is None


def test_of_many_rows_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(masks, "LOOKED_AT", 10)
    upper = "{% for m in messages %}{{ m['content'] | upper }}</s>{% endfor %}"
    found, _ = looked_at(strategy(upper), [talk("q", "yes")] * 25)
    assert (found.rows, found.looked_at) == (9, 9)


def test_a_training_says_it(train):
    from axolotl_train import write_rows

    write_rows(train.folder / "data.jsonl", [talk("q", "yes"), talk("q", "NO")] * 4)
    Path(train.folder / "upper.jinja").write_text(
        "{% for m in messages %}{{ m['content'] | upper }}</s>{% endfor %}"
    )
    entry = {"path": "data.jsonl", "ds_type": "json", "type": "chat_template"}
    keys = {"chat_template": "jinja", "chat_template_jinja": "upper.jinja"}
    for _ in range(2):  # the second time from the prepared data
        assert train(entry, **keys) == ""
        assert train.rows["other_texts"] == 4
    assert "4 train another text than their answer" in train.log
