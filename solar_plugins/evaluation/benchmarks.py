"""The six benchmarks of H6: the task and metric of lm-eval for each, and where their items are.

The paper (section 4.1) evaluates on "six types of evaluation methods: ARC, HellaSwag, MMLU,
TruthfulQA, Winogrande, and GSM8K" and reports "the average for the six tasks, e.g., H6", as the
Open LLM Leaderboard did at the time. lm-eval's group `openllm` holds the same six with the same
few-shot counts, but no average.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """One of the six.

    Attributes:
        key, title: its name in our result files (``arc``, …) and in the paper's tables.
        task, metric: lm-eval's names of the task or group and of the metric.
        filters: lm-eval's filter names that may carry the metric, the preferred one first.
        num_fewshot: the leaderboard's number of examples in the prompt.
        chance: what guessing scores; None where that depends on the question (TruthfulQA's mc2).
        size: items of the public split that is measured.
        items: id on the Hub, configuration and split of the items that the contamination test
            reads; None where the published test does not support the benchmark.
    """

    key: str
    title: str
    task: str
    metric: str
    filters: tuple[str, ...]
    num_fewshot: int
    chance: float | None
    size: int
    items: tuple[str, str, str] | None = None


# fmt: off
BENCHMARKS: tuple[Benchmark, ...] = (
    Benchmark("arc", "ARC", "arc_challenge", "acc_norm", ("none",), 25, 0.25, 1172,
              ("allenai/ai2_arc", "ARC-Challenge", "test")),
    Benchmark("hellaswag", "HellaSwag", "hellaswag", "acc_norm", ("none",), 10, 0.25, 10042),
    Benchmark("mmlu", "MMLU", "mmlu", "acc", ("none",), 5, 0.25, 14042,
              ("cais/mmlu", "all", "test")),
    Benchmark("truthfulqa", "TruthfulQA", "truthfulqa_mc2", "acc", ("none",), 0, None, 817,
              ("truthfulqa/truthful_qa", "multiple_choice", "validation")),
    Benchmark("winogrande", "Winogrande", "winogrande", "acc", ("none",), 5, 0.5, 1267),
    Benchmark("gsm8k", "GSM8K", "gsm8k", "exact_match", ("strict-match", "none"), 5, 0.0, 1319,
              ("openai/gsm8k", "main", "test")),
)
# fmt: on
BY_KEY = {benchmark.key: benchmark for benchmark in BENCHMARKS}
BY_TASK = {benchmark.task: benchmark for benchmark in BENCHMARKS}
BY_TASK["gsm8k_leaderboard_v1"] = BY_KEY["gsm8k"]  # the same items, with the leaderboard's stops
CONTAMINABLE = {benchmark.key: benchmark for benchmark in BENCHMARKS if benchmark.items}


def plain_mean(values: Sequence[float | None]) -> float | None:
    """The mean of scores, None if one of them is missing."""
    found = [value for value in values if value is not None]
    return math.fsum(found) / len(values) if values and len(found) == len(values) else None


def mean_stderr(errors: Sequence[float | None]) -> float | None:
    """The standard error of `plain_mean`: scores that share no item are independent."""
    found = [error for error in errors if error is not None]
    return math.hypot(*found) / len(errors) if errors and len(found) == len(errors) else None


def ratio_stderr(items: Sequence[tuple[float, float]]) -> float | None:
    """The standard error of sum(a) / sum(b) over independent items (a, b), None for one item.

    The delta method: that of the mean of `a - ratio * b`, divided by the mean of `b`.

    >>> ratio_stderr([(1.0, 1.0), (3.0, 1.0)])  # as of the mean of 1 and 3
    1.0
    """
    if len(items) < 2:
        return None
    total = math.fsum(b for _, b in items)
    ratio = math.fsum(a for a, _ in items) / total
    square = math.fsum((a - ratio * b) ** 2 for a, b in items)
    return math.sqrt(square * len(items) / (len(items) - 1)) / total


def h6(scores: Mapping[str, float | None]) -> float | None:
    """The mean of the six scores by benchmark key; None unless all six are there.

    A benchmark that was not run is not a zero, and an average over five is not H6.

    >>> h6({"arc": 0.5, "hellaswag": 0.5}) is None
    True
    """
    return plain_mean([scores.get(key) for key in BY_KEY])


def h6_stderr(errors: Mapping[str, float | None]) -> float | None:
    """The standard error of H6."""
    return mean_stderr([errors.get(key) for key in BY_KEY])


def notes_of(result: Mapping) -> list[str]:
    """Lines that belong below the scores of a result file: averages and stops that may differ."""
    notes = []
    for task in result["tasks"].values():
        title, theirs = BY_KEY[task["benchmark"]].title, task.get("lm_eval")
        if theirs or task.get("stops"):
            notes.append(f"{title}: {how_measured(task)}")
        if theirs and theirs["value"] is not None:
            error = "" if theirs["stderr"] is None else f" ± {100 * theirs['stderr']:.2f}"
            score = f"{100 * theirs['value']:.2f}{error}"
            notes.append(f"{title} as lm-eval averages it, {theirs['averaging']}: {score}")
    return notes


def sample_note(results: Iterable[Mapping]) -> str | None:
    """That scores are of a part of the items, if any are: cut by a limit, or a file of one's own.

    >>> sample_note([{"limit": 5, "tasks": {"gsm8k": {"n": 5}, "mini_arc": {"n": 5}}}])
    'A small sample, a trial and not a score: gsm8k 5 of 1,319, mini_arc 5 items.'
    """
    found = {}
    for result in results:
        for name, n in ((name, task["n"]) for name, task in result["tasks"].items()):
            if name in BY_TASK and n < (whole := BY_TASK[name].size):
                found[name] = f"{name} {n:,} of {whole:,}"
            elif name not in BY_TASK and result.get("limit") is not None:
                found[name] = f"{name} {n:,} items"
    return (
        f"A small sample, a trial and not a score: {', '.join(found.values())}." if found else None
    )


def how_measured(task: Mapping) -> str:
    """How the score of one task in a result file was averaged, and where its answers ended.

    >>> how_measured({"averaging": "all items", "stops": [":", "Question:"]})
    "all items; an answer ends at ':', 'Question:'"
    """
    parts = [task["averaging"]] if "averaging" in task else []  # not in files of version 1
    if task.get("stops"):
        parts.append(f"an answer ends at {', '.join(map(repr, task['stops']))}")
    return "; ".join(parts)
