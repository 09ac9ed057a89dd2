"""The four benchmarks of the paper's Table 9 as texts: a question and its right answer.

The texts are those of the published test, swj0419/detect-pretrain-code-contamination at commit
616114e (`src/eval.py`). It has no GSM8K; ours: the answer is the whole worked solution.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

from solar_plugins.errors import SolarError, nearest
from solar_plugins.evaluation.benchmarks import CONTAMINABLE, Benchmark
from solar_plugins.recipes.rows import Source

PREFIX_SHARE = 0.4


def benchmark(key: str) -> Benchmark:
    """
    Raises:
        SolarError: the contamination test does not support that benchmark.
    """
    if key not in CONTAMINABLE:
        raise SolarError(
            f"{key}: the contamination test knows {', '.join(CONTAMINABLE)}."
            f"{nearest(key, CONTAMINABLE)}"
        )
    return CONTAMINABLE[key]


def item_text(key: str, row: dict) -> str | None:
    """Question, a blank and the right answer of one row of the benchmark `key`.

    None where the published test leaves the row out. The miniature's rows differ from the public
    ones: ARC's choices are a list as MMLU's, and TruthfulQA has `mc2_targets` with one true answer.
    """
    if key == "gsm8k":
        return f"{row['question']} {row['answer']}"
    if key == "truthfulqa":
        targets = row.get("mc1_targets") or row["mc2_targets"]
        return f"{row['question']} {targets['choices'][list(targets['labels']).index(1)]}"
    if key == "arc" and not isinstance(row["choices"], list):
        if row["answerKey"] not in ("A", "B", "C", "D"):  # some rows count 1 to 4, or have an E
            return None
        return f"{row['question']} {row['choices']['text']['ABCD'.index(row['answerKey'])]}"
    return f"{row['question']} {row['choices'][row['answer']]}"


def read_texts(chosen: Benchmark, place: str | None, count: int) -> tuple[list[str], dict]:
    """`count` items of a benchmark as texts, and the facts of their source for the result file.

    The items are the published test's: those that come first after its own shuffle with seed 0.

    Args:
        place: file, folder or id with the benchmark's own columns; None for the Hub's.

    Raises:
        SolarError: the benchmark cannot be read.
    """
    assert chosen.items is not None
    name, config, split = chosen.items
    if place is not None and Path(place, "test.jsonl").is_file():  # the miniature's layout
        split = "test"
    source = Source(place or name, split, config)
    texts = []
    for row in source:
        try:
            text = item_text(chosen.key, row)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise SolarError(
                f"{source.name}: row {source.count} is not an item of {chosen.title} "
                f"({type(error).__name__}: {error}). Its columns are {', '.join(row)}"
            ) from error
        if text is not None and len(text.split()) > 1:  # one word leaves nothing to continue
            texts.append(text)
    if not texts:
        raise SolarError(f"{source.name}: no item of {chosen.title} found. Give another file")
    random.Random(0).shuffle(texts)
    return texts[:count], source.facts()


def prefix(text: str) -> tuple[str, int]:
    """The beginning that the reference model continues, and how many tokens it may add.

    The first 40 % of the words, rounded up; as many new tokens as words are left.

    >>> prefix("what eats the cat ? a dog")
    ('what eats the', 4)
    """
    words = text.split()
    length = math.ceil(len(words) * PREFIX_SHARE)
    return " ".join(words[:length]), len(words) - length
