"""The six benchmarks of H6: which task and metric of lm-eval stands for each.

The paper (section 4.1) evaluates on "six types of evaluation methods: ARC, HellaSwag, MMLU,
TruthfulQA, Winogrande, and GSM8K" and reports "the average for the six tasks, e.g., H6", as the
Open LLM Leaderboard did at the time. lm-eval's group `openllm` holds the same six with the same
few-shot counts, but no average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """One of the six.

    Attributes:
        key: its name in our result files (``arc``, …).
        title: its name in the paper's tables.
        task: the task or group of lm-eval.
        metric: the metric's name in lm-eval.
        filters: lm-eval's filter names that may carry the metric, the preferred one first.
        num_fewshot: the leaderboard's number of examples in the prompt.
        chance: what guessing scores; None where that depends on the question (TruthfulQA's mc2).
    """

    key: str
    title: str
    task: str
    metric: str
    filters: tuple[str, ...]
    num_fewshot: int
    chance: float | None


BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark("arc", "ARC", "arc_challenge", "acc_norm", ("none",), 25, 0.25),
    Benchmark("hellaswag", "HellaSwag", "hellaswag", "acc_norm", ("none",), 10, 0.25),
    Benchmark("mmlu", "MMLU", "mmlu", "acc", ("none",), 5, 0.25),
    Benchmark("truthfulqa", "TruthfulQA", "truthfulqa_mc2", "acc", ("none",), 0, None),
    Benchmark("winogrande", "Winogrande", "winogrande", "acc", ("none",), 5, 0.5),
    Benchmark("gsm8k", "GSM8K", "gsm8k", "exact_match", ("strict-match", "none"), 5, 0.0),
)
BY_KEY: dict[str, Benchmark] = {benchmark.key: benchmark for benchmark in BENCHMARKS}
BY_TASK: dict[str, Benchmark] = {benchmark.task: benchmark for benchmark in BENCHMARKS}


def h6(scores: Mapping[str, float | None]) -> float | None:
    """The mean of the six scores by benchmark key; None unless all six are there.

    A benchmark that was not run is not a zero, and an average over five is not H6.

    >>> h6({"arc": 0.5, "hellaswag": 0.5}) is None
    True
    """
    values = [scores.get(benchmark.key) for benchmark in BENCHMARKS]
    if any(value is None for value in values):
        return None
    return math.fsum(values) / len(values)


def h6_stderr(errors: Mapping[str, float | None]) -> float | None:
    """The standard error of H6 from the six benchmarks' own; they share no item."""
    values = [errors.get(benchmark.key) for benchmark in BENCHMARKS]
    if any(value is None for value in values):
        return None
    return math.hypot(*values) / len(values)
