"""Axolotl's preference types around `preference_rows`: good rows as they were, others refused."""

from __future__ import annotations

import copy

import pytest
from test_preference_rows import OURS, turn

from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow

TALK = {
    "chosen": [turn("user", "Which?"), turn("assistant", "That one.")],
    "rejected": [turn("user", "Which?"), turn("assistant", "None.")],
}
PAIR = {"chosen": "That one.", "rejected": "None."}
FORMAT = {
    "field_prompt": "question",
    "prompt_format": "{system}\n{prompt}\n",
    "field_system": "sys",
}
KINDS = {
    "chat_template.argilla_chat": {"prompt": "Which?", **TALK},
    "chat_template.default": {"messages": [turn("user", "Which?")], **TALK},
    "chatml.intel": {"system": "", "question": "Which?", "note": None, **PAIR},
    "chatml.ultra": {"prompt": "Which?", "system": None, **TALK},
    "llama3.default": {"instruction": "Which?", **PAIR},
    "passthrough": {"prompt": "Which?", **PAIR},
    "user_defined.default": {"question": "Which?", "sys": None, **PAIR},
}


@pytest.fixture(scope="module")
def tokenizer(small_world):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(small_world / "sft")


def entry_of(kind: str, **keys) -> dict:
    from axolotl.utils.dict import DictDefault

    kind = FORMAT if kind == "user_defined.default" else kind
    return DictDefault({"path": "rows.jsonl", "type": kind, **keys})


def written(kind: str, row: dict, tokenizer, template="chatml", **keys) -> tuple[dict, dict]:
    """The row as our plugin has it written, and as Axolotl's own type writes it."""
    import inspect

    from axolotl.prompt_strategies.dpo import load
    from axolotl.utils.dict import DictDefault

    from solar_plugins.sdpo.in_axolotl.step_data import write_row

    entry = entry_of(kind, **keys)
    cfg = DictDefault({"chat_template": template, "datasets": [entry]})
    if template not in ("chatml", "llama3", "gemma"):
        cfg.chat_template, cfg.chat_template_jinja = "jinja", str(template)
    write = load(kind, cfg, dataset_idx=0)
    write = write[0] if isinstance(write, tuple) else write
    takes = "tokenizer" in inspect.signature(write).parameters
    ours = write_row(write, entry, copy.deepcopy(row), 6, tokenizer=tokenizer)
    return ours, write(copy.deepcopy(row), **({"tokenizer": tokenizer} if takes else {}))


@pytest.mark.parametrize("template", ["chatml", "llama3", "gemma", OURS])
@pytest.mark.parametrize("kind", KINDS)
def test_a_good_row_is_written_as_by_axolotl(kind, template, tokenizer):
    ours, theirs = written(kind, KINDS[kind], tokenizer, template)

    assert ours == theirs
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("name", ["chosen", "rejected"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_without_text_is_refused_by_row_and_column(kind, name, tokenizer):
    for nothing in (None, ""):
        row = copy.deepcopy(KINDS[kind])
        if isinstance(row[name], list):
            row[name][1]["content"] = nothing
        else:
            row[name] = nothing
        with pytest.raises(SolarError) as error:
            written(kind, row, tokenizer)
        assert str(error.value).startswith(f"row 7 of rows.jsonl: {name}")
        assert ("null" if nothing is None else "empty") in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_that_is_null_is_refused(kind, tokenizer):
    row = copy.deepcopy(KINDS[kind])
    for name in ("prompt", "question", "instruction"):
        if name in row:
            row[name] = None
    for name in ("messages", "chosen", "rejected"):
        if "chat_template" in kind and name in row:
            row[name][0]["content"] = None
    with pytest.raises(SolarError, match=r"^row 7 of rows\.jsonl: .*: null\."):
        written(kind, row, tokenizer)


def test_answers_at_the_edge_are_trained_as_the_row_says(tokenizer):
    for answer in (" That", "That ", "\n", "me", "[[dummy_message]]", "user", "im_start"):
        row = copy.deepcopy(KINDS["chat_template.argilla_chat"])
        row["chosen"][1]["content"] = f"{answer}."
        assert written("chat_template.argilla_chat", row, tokenizer)[0]["chosen"] == (
            f"{answer}.<|im_end|>"
        )


def test_own_fields_and_roles_are_those_of_the_entry(tokenizer):
    row = {
        "better": [{"from": "human", "value": "Which?"}, {"from": "gpt", "value": " That."}],
        "worse": [{"from": "human", "value": "Which?"}, {"from": "gpt", "value": ""}],
    }
    keys = {
        "field_chosen": "better",
        "field_rejected": "worse",
        "message_property_mappings": {"role": "from", "content": "value"},
        "roles": {"user": ["human"], "assistant": ["gpt"]},
    }
    with pytest.raises(SolarError, match=r"rows\.jsonl: rejected: empty\."):
        written("chat_template.argilla_chat", row, tokenizer, **keys)
    row["worse"][1]["value"] = "x"
    ours, _ = written("chat_template.argilla_chat", row, tokenizer, **keys)
    assert (ours["chosen"], ours["rejected"]) == (" That.<|im_end|>", "x<|im_end|>")
    row["worse"][0]["value"] = "Who?"
    with pytest.raises(SolarError, match="worse: answers another conversation than better"):
        written("chat_template.argilla_chat", row, tokenizer, **keys)


def test_types_are_put_back():
    from axolotl.utils.data import rl

    from solar_plugins.seams import axolotl as seam

    before = rl.load_dpo, rl._load_split
    with seam.preference_rows(lambda *_: {}, {}):
        assert rl.load_dpo is not before[0]
    assert (rl.load_dpo, rl._load_split) == before
    seam.self_test()


def test_data_that_were_prepared_without_the_plugin_are_not_reused():
    from axolotl.utils.data.shared import generate_dataset_hash_from_config
    from axolotl.utils.dict import DictDefault

    from solar_plugins.seams import axolotl as seam

    cfg, entry = DictDefault({"sequence_len": 64}), entry_of("chat_template.default")
    before = generate_dataset_hash_from_config(cfg, [entry], "tokenizer")
    seam.mark_as_checked(entry)
    after = generate_dataset_hash_from_config(cfg, [entry], "tokenizer")
    seam.mark_as_checked(entry)

    assert before != after == generate_dataset_hash_from_config(cfg, [entry], "tokenizer")
    assert entry["type"] == "chat_template.default"
