"""What a row may not lack."""

from __future__ import annotations

import pytest

from solar_plugins.recipes.text_columns import gap, text_columns

OWN = {"field_instruction": "q", "field_output": "a", "format": "{instruction}"}
CHAT = {"type": "chat_template"}
OURS = {"type": "solar_plugins.chat"}


def said(*contents, role="user", **more):
    return {"messages": [{"role": role, "content": text, **more} for text in contents]}


@pytest.mark.parametrize(
    ("row", "entry", "rl", "fault"),
    [
        ({"instruction": None, "output": "x"}, {"type": "alpaca"}, "", "'instruction' is null"),
        ({"instruction": "x", "output": None}, {"type": "alpaca:chat"}, "", "'output' is null"),
        ({"instruction": "x", "output": "y", "input": None}, {"type": "alpaca"}, "", None),
        ({"instruction": "", "output": ""}, {"type": "alpaca"}, "", None),
        ({"q": "x", "a": None}, {"type": OWN}, "", "'a' is null"),
        ({"body": None}, {"type": "completion", "field": "body"}, "", "'body' is null"),
        ({"text": None}, {"type": "pretrain"}, "", "'text' is null"),
        ({"messages": None}, CHAT, "", "'messages' is null"),
        (said("a", None), CHAT, "", r"'messages': [1].content is null"),
        (said("a", role=None), CHAT, "", r"'messages': [0].role is null"),
        (said(None, role="assistant", tool_calls=[{"name": "f"}]), CHAT, "", None),
        (said("a", name=None), CHAT, "", None),
        ({"chosen": "a", "rejected": None, "prompt": "p"}, {}, "dpo", "'rejected' is null"),
        ({"chosen": "", "rejected": "b", "prompt": "p"}, {}, "dpo", "'chosen' is empty"),
        ({"chosen": " ", "rejected": "b", "prompt": "p"}, {}, "dpo", None),
        (
            {"question": "q", "chosen": "a", "rejected": "b", "system": None},
            {"type": "chatml.intel"},
            "dpo",
            None,
        ),
        ({"prompt": "q", "completion": None}, {"type": "chatml.ultra"}, "kto", "'completion' is"),
        ({"instruction": None}, {"type": "my.own.strategy"}, "", None),
        (
            {"query": "q", "response": None},
            OURS,
            "",
            "'response' is null",
        ),
        (
            {"system": None, "question": "q", "answer": "a"},
            OURS,
            "",
            None,
        ),
        ({"prompt": "q", "chosen": ""}, OURS, "dpo", "'chosen' is empty"),
    ],
)
def test_a_gap_is_named(row, entry, rl, fault):
    found = gap(row, entry, rl)
    assert found is None if fault is None else fault in found


def test_names_of_columns_and_of_message_fields_are_the_entrys():
    mapped = {**CHAT, "field_messages": "talk"}
    mapped["message_property_mappings"] = {"role": "from", "content": "value"}
    row = {"talk": [{"from": "human", "value": None}]}
    assert gap(row, mapped) == "column 'talk': [0].value is null"
    kind = {"type": {"field_prompt": "question"}}
    assert text_columns(kind, "dpo") == ("question", "chosen", "rejected")
