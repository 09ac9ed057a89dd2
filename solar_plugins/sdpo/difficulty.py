"""How hard preference data is for a model, and an order from easy to hard.

sDPO (arXiv 2403.19270) orders its chunks from easy to hard by **reward accuracy**: the share of
pairs to which the model, before any preference training, gives the chosen answer the higher
reward. In DPO the reward of an answer is beta log(pi(y|x) / pi_ref(y|x)), up to a term of the
prompt alone. At the start policy and reference are one model and all of these are 0, so it is the
model itself that is asked, with a reference that knows nothing (the same for all answers): the
reward is the log-probability log pi(y|x), summed over the answer's tokens, as DPO sums it. `ours:`
this reading; we found no code of the authors that fixes it. Ties do not count as right.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

Pair = tuple[float, float]
"""Log-probability of the chosen and of the rejected answer, in nats."""


def measured(name: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The difficulty of `pairs`; the margin is log pi(chosen) - log pi(rejected), in nats.

    >>> measured("d", [(-1.0, -2.0), (-3.0, -2.0)])
    {'name': 'd', 'rows': 2, 'reward_accuracy': 0.5, 'mean_margin': 0.0}
    """
    margins = [chosen - rejected for chosen, rejected in pairs]
    return {
        "name": name,
        "rows": len(margins),
        "reward_accuracy": sum(margin > 0 for margin in margins) / len(margins),
        "mean_margin": statistics.fmean(margins),
    }


def easy_to_hard(accuracies: Sequence[float]) -> list[int]:
    """Places of the sets by falling reward accuracy; the given order decides between equals."""
    return sorted(range(len(accuracies)), key=lambda place: -accuracies[place])


def chunks(
    rows: int, count: int, order_by: str, seed: int, pairs: Sequence[Pair] | None = None
) -> list[list[int]]:
    """Cut `rows` rows into `count` chunks of the same size, up to one row.

    Args:
        order_by: "given" (contiguous), "random", or "reward_accuracy": by the margin of each
            pair, so that every chunk's reward accuracy is at least that of the next.
        seed: for "random".
        pairs: what the model gives each row, for "reward_accuracy".

    Returns:
        For each chunk its row numbers, ascending: which pairs a step has is a matter of their
        difficulty, in which order it sees them is not.
    """
    order = list(range(rows))
    if order_by == "random":
        random.Random(seed).shuffle(order)
    elif order_by == "reward_accuracy":
        assert pairs is not None
        order.sort(key=lambda row: pairs[row][1] - pairs[row][0])
    bounds = [rows * chunk // count for chunk in range(count + 1)]
    return [sorted(order[a:b]) for a, b in pairwise(bounds)]
