"""Rows as they are counted and looked at, without a training."""

from __future__ import annotations

import pytest
from datasets import Dataset

from solar_plugins.errors import SolarError
from solar_plugins.watch.rows import refusing_gaps, same_answers

pytestmark = pytest.mark.slow


def stream(*texts: str | None) -> Dataset:
    return Dataset.from_list([{"text": text} for text in texts]).to_iterable_dataset()


def test_a_stream_has_no_empty_text_and_no_gap():
    entry = {"path": "a.jsonl", "type": "pretrain"}
    assert [row["text"] for row in refusing_gaps(stream("a", "", " "), entry, "")] == ["a", " "]
    with pytest.raises(SolarError, match=r"a\.jsonl: row 2: column 'text' is null"):
        list(refusing_gaps(stream("a", None), entry, ""))


def test_of_a_type_that_is_not_known_a_stream_is_left_as_it_is():
    rows = refusing_gaps(stream("a", "", None), {"path": "a.jsonl", "type": "their.own"}, "")
    assert [row["text"] for row in rows] == ["a", "", None]


def test_pairs_of_one_answer_are_counted():
    pairs = [{"chosen": a, "rejected": b, "prompt": "q"} for a, b in ("ab", "aa", "ba", "bb")]
    assert same_answers(Dataset.from_list(pairs)) == 2
    assert same_answers(Dataset.from_list([{"text": "a"}])) == 0
