"""Steps, tokens and floating-point operations of a recipe's training runs.

A matrix product takes 2 FLOPs per weight and token, the backward pass twice that: 6 per weight and
token together (arXiv 2001.08361, section 2.1). Attention adds 4 per layer, query channel and pair
of tokens that see each other, times 3 with the backward pass: with every pair of a sequence that is
12 x layers x channels x length per token (arXiv 2204.02311, appendix B). Here a token sees those
before it, within the sliding window, and where packed documents are masked in its own document,
which is what kernels compute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from solar_plugins.plan.data_size import DataReader, DataSize
from solar_plugins.plan.model_size import ModelSize
from solar_plugins.recipes import global_batch
from solar_plugins.sdpo import args as sdpo_args

PACKING = 0.99
"""Share of a packed sequence that is filled: Axolotl's packer, tried on lognormal lengths of 200 to
330 tokens on average, reaches 0.995 to 0.999 (`tests/plan/test_plan_flops.py` tries it again)."""


@dataclass(frozen=True)
class TrainingRun:
    """One training run. None: not known."""

    rows: int | None  # without those held out
    steps: int | None  # of the optimizer
    tokens: int | None  # over all epochs; of preference data those of both sequences
    flops: float | None  # what gradient checkpointing computes again included
    packed: bool  # whether sequences are filled with several rows
    notes: tuple[str, ...] = ()  # where the numbers come from


def total(runs: list[TrainingRun], name: str) -> Any:
    """The sum over the runs of one of their numbers; None where one of them is not known."""
    numbers = [getattr(run, name) for run in runs]
    return None if None in numbers else sum(numbers)


def hours(runs: list[TrainingRun], flops_per_s: float) -> float | None:
    """The time of all runs at `flops_per_s` on full sequences; None if not known.

    Batches that are not packed are taken to run at half the speed, for their padding.
    """
    if total(runs, "flops") is None:
        return None
    work = sum((run.flops or 0.0) * (1 if run.packed else 2) for run in runs)
    return work / flops_per_s / 3600


def of_recipe(
    recipe: dict[str, Any], size: ModelSize, gpus: int, data: DataReader
) -> list[TrainingRun]:
    """The runs of an Axolotl recipe that trains a model of `size` on `gpus`: one, or one per step
    of sDPO."""
    recipes = recipes_of(recipe)
    return [of(one, data.size(one), global_batch.of(one, gpus), size) for one in recipes]


def recipes_of(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """The recipe of each training run: itself, or one per step of sDPO."""
    if recipe.get("sdpo") is None:
        return [recipe]
    return [
        {**recipe, **step.settings, "datasets": step.datasets}
        for step in sdpo_args.parse(recipe["sdpo"]).steps
    ]


def of(recipe: dict[str, Any], data: DataSize, batch: int, size: ModelSize) -> TrainingRun:
    """The run of `recipe` on `data` with `batch` sequences (or pairs) per optimizer step.

    DPO reads every pair a second time without gradient, for the reference's log-probabilities,
    which are computed once.
    """
    length = int(recipe.get("sequence_len") or 512)
    at_most = int(recipe["max_steps"]) if recipe.get("max_steps") else None
    notes = data.notes if data.rows is not None or at_most is None else ()
    packed = bool(recipe.get("sample_packing")) or bool(recipe.get("pretraining_dataset"))
    epochs = float(recipe.get("num_epochs") or 1)
    rows = None
    if data.rows is not None and data.tokens_per_row is not None:
        held_out = float(recipe.get("val_set_size") or 0)
        rows = data.rows - round(held_out if held_out >= 1 else held_out * data.rows)
        mean = float(data.tokens_per_row)
        count, per_sequence, document = _sequences(recipe, rows, mean, length, packed)
        if packed and masks_documents(recipe):
            document = data.document(length)
        steps = math.ceil(epochs * math.ceil(count / batch))
        tokens = count * per_sequence * epochs
        if at_most is not None and at_most < steps:
            steps, tokens = at_most, min(tokens, at_most * batch * per_sequence)
        if packed:
            notes = (*notes, f"packed sequences are taken to be {PACKING:.0%} full")
    elif at_most is not None and packed:
        # A stream of unknown documents, as if each filled a sequence.
        steps, count, per_sequence, document = at_most, at_most * batch, length, length
        tokens = at_most * batch * length
    else:
        return TrainingRun(None, at_most, None, None, packed, notes)
    passes = 4 if recipe.get("gradient_checkpointing") else 3
    flops = passes * tokens
    if recipe.get("rl"):
        flops += min(tokens, count * per_sequence)
    flops *= forward_flops(size, document)
    return TrainingRun(rows, steps, round(tokens), flops, packed, notes)


def masks_documents(recipe: dict[str, Any]) -> bool:
    """Whether packed documents do not see one another: with kernels that take their lengths, and
    in a stream unless ``pretrain_multipack_attn`` is off. Others compute every pair."""
    kernel = recipe.get("attn_implementation")
    in_stream = recipe.get("pretrain_multipack_attn", True) or not recipe.get("pretraining_dataset")
    varlen = bool(recipe.get("flash_attention")) or kernel not in (None, "sdpa", "eager", "fp8")
    return bool(recipe.get("sample_packing") and in_stream and varlen)


def _sequences(
    recipe: dict[str, Any], rows: int, mean: float, length: int, packed: bool
) -> tuple[int, float, float]:
    """Of one epoch: sequences (or pairs), mean tokens of each, and tokens that see each other."""
    if packed:
        full = length * PACKING
        return math.ceil(rows * mean / full), full, length
    if recipe.get("rl"):  # a row is two sequences, prompt and answer each
        tokens = min(mean, 2 * length)
        return rows, tokens, tokens / 2
    if any(entry.get("type") == "completion" for entry in recipe.get("datasets") or []):
        # A text that is too long is cut into several sequences.
        count = max(rows, math.ceil(rows * mean / length))
        return count, rows * mean / count, rows * mean / count
    tokens = min(mean, length)
    return rows, tokens, tokens


def forward_flops(size: ModelSize, document: float) -> float:
    """FLOPs of one forward pass per token, in documents of `document` tokens.

    >>> forward_flops(ModelSize(0, 0, 1, 8, 0, True, token_weights=100, attention=((8, None),)), 9)
    360.0
    """
    seen = (channels * tokens_seen(document, window) for channels, window in size.attention)
    return 2.0 * size.token_weights + 4.0 * sum(seen)


def tokens_seen(document: float, window: int | None) -> float:
    """Tokens that a token sees on average in causal attention, itself included.

    >>> tokens_seen(5, None), tokens_seen(5, 2)
    (3.0, 1.8)
    """
    if window is None or document <= window:
        return (document + 1) / 2
    return window * (1 - (window - 1) / 2 / document)
