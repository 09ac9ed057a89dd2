"""FLOPs of H6: items and prompts of its six tasks as measured, times those of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solar_plugins.plan.model_size import ModelSize
from solar_plugins.plan.training_run import forward_flops

_GROUPS = (["solar_h6"], ["solar_h6_leaderboard_v1"])  # with the leaderboard's few-shot counts

WRITING = 0.01
"""Share of the peak while GSM8K's answers are written, token by token: an assumption."""

# Items of the public splits; passes an item and tokens a pass of 200 real items of each task under
# the prompts of lm-eval 0.4.11, in SmolLM2's tokens (benchmarks/plan_evaluation.py).
TASKS = {
    "arc_challenge": (1172, 4.0, 975.0),
    "hellaswag": (10042, 4.0, 850.0),
    "mmlu": (14042, 1.0, 721.0),
    "truthfulqa_mc2": (817, 7.4, 223.0),
    "winogrande": (1267, 2.0, 144.0),
    "gsm8k": (1319, 1.0, 1024.0),
}
_WRITTEN = 256  # tokens: a batch goes on to the longest answer that lm-eval allows


def flops(recipe: Mapping[str, Any], size: ModelSize) -> tuple[float, float] | None:
    """Of a model that an lm-eval config scores: FLOPs of all prompts, and of the answers that it
    writes. None for other tasks than H6, a part of its items, or another number of examples."""
    if recipe.get("tasks") not in _GROUPS or recipe.get("limit") or "num_fewshot" in recipe:
        return None
    read = sum(
        n * passes * tokens * forward_flops(size, tokens) for n, passes, tokens in TASKS.values()
    )
    answers, _, tokens = TASKS["gsm8k"]
    return read, answers * _WRITTEN * forward_flops(size, 2 * tokens)
