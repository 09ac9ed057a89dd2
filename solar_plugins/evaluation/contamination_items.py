"""The four benchmarks of the paper's Table 9 as texts: a question and its right answer.

The texts are those of the published test, swj0419/detect-pretrain-code-contamination at commit
616114e (`src/eval.py`). It has no GSM8K; ours: there the answer is the whole worked solution.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from solar_plugins.errors import SolarError, nearest

PREFIX_SHARE = 0.4


@dataclass(frozen=True)
class Contaminable:
    """A benchmark that a model may have seen.

    Attributes:
        key: its name in our result files.
        title: its name in the paper's tables.
        hub: where its items are: id on the Hub, configuration, split.
        text: question, a blank and the right answer of one row; None where the published test
            leaves the row out.
    """

    key: str
    title: str
    hub: tuple[str, str, str]
    text: Callable[[dict], str | None]


def _arc(row: dict) -> str | None:
    if isinstance(row["choices"], list):  # the miniature
        return f"{row['question']} {row['choices'][row['answer']]}"
    if row["answerKey"] not in ("A", "B", "C", "D"):  # some rows count 1 to 4, or have an E
        return None
    return f"{row['question']} {row['choices']['text']['ABCD'.index(row['answerKey'])]}"


def _mmlu(row: dict) -> str:
    return f"{row['question']} {row['choices'][row['answer']]}"


def _truthfulqa(row: dict) -> str:
    targets = row.get("mc1_targets") or row["mc2_targets"]  # the miniature has one true answer
    return f"{row['question']} {targets['choices'][list(targets['labels']).index(1)]}"


def _gsm8k(row: dict) -> str:
    return f"{row['question']} {row['answer']}"


BENCHMARKS = {
    benchmark.key: benchmark
    for benchmark in (
        Contaminable("arc", "ARC", ("allenai/ai2_arc", "ARC-Challenge", "test"), _arc),
        Contaminable("mmlu", "MMLU", ("cais/mmlu", "all", "test"), _mmlu),
        Contaminable(
            "truthfulqa",
            "TruthfulQA",
            ("truthfulqa/truthful_qa", "multiple_choice", "validation"),
            _truthfulqa,
        ),
        Contaminable("gsm8k", "GSM8K", ("openai/gsm8k", "main", "test"), _gsm8k),
    )
}


def benchmark(key: str) -> Contaminable:
    """
    Raises:
        SolarError: the test does not know that benchmark.
    """
    if key not in BENCHMARKS:
        raise SolarError(
            f"{key}: the contamination test knows {', '.join(BENCHMARKS)}."
            f"{nearest(key, BENCHMARKS)}"
        )
    return BENCHMARKS[key]


def read_texts(chosen: Contaminable, place: str | None, count: int) -> tuple[list[str], dict]:
    """`count` items of a benchmark as texts, and what they were read from.

    The items are the published test's: those that come first after its own shuffle with seed 0.

    Args:
        place: file, folder or id with the benchmark's own columns; None for the Hub's.

    Raises:
        SolarError: the benchmark cannot be read.
    """
    from solar_plugins.recipes.rows import Source

    name, config, split = chosen.hub
    if place is not None and Path(place, "test.jsonl").is_file():  # the miniature's layout
        split = "test"
    source = Source(place or name, split, config)
    texts = []
    for row in source:
        try:
            text = chosen.text(row)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise SolarError(
                f"{source.name}: row {source.count} is no item of {chosen.title} "
                f"({type(error).__name__}: {error}). Its columns are {', '.join(row)}"
            ) from error
        if text is not None and len(text.split()) > 1:  # of one word nothing is left to go on with
            texts.append(text)
    if not texts:
        raise SolarError(f"{source.name}: no item of {chosen.title}. Give another file")
    random.Random(0).shuffle(texts)
    return texts[:count], source.facts()


def prefix(text: str) -> tuple[str, int]:
    """The beginning that the reference model goes on from, and how many tokens it may add.

    The first 40 % of the words, rounded up; as many new tokens as words are left.

    >>> prefix("what eats the cat ? a dog")
    ('what eats the', 4)
    """
    words = text.split()
    length = math.ceil(len(words) * PREFIX_SHARE)
    return " ".join(words[:length]), len(words) - length
