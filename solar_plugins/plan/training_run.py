"""Steps, tokens and floating-point operations of a recipe's training runs.

A matrix product takes 2 FLOPs per weight and token, the backward pass twice that: 6 per weight and
token together (arXiv 2001.08361, section 2.1). Attention adds 4 per layer, query channel and pair
of tokens that see each other, times 3 with the backward pass: with every pair of a sequence that is
12 x layers x channels x length per token (arXiv 2204.02311, appendix B). Here a token sees those
before it, in its own document and within the sliding window, which is what kernels compute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solar_plugins.plan import data_size
from solar_plugins.plan.data_size import DataSize
from solar_plugins.plan.model_size import ModelSize
from solar_plugins.recipes import global_batch
from solar_plugins.sdpo import step_plan

PACKING = 0.99
"""Share of a packed sequence that is filled: Axolotl's packer, tried on lognormal lengths of 200 to
330 tokens on average, reaches 0.995 to 0.999 (`tests/plan/test_plan_flops.py` tries it again)."""


@dataclass(frozen=True)
class TrainingRun:
    """What one training run does. None: not known.

    Attributes:
        rows: That are trained on, without those held out.
        steps: Of the optimizer.
        tokens: Over all epochs; of preference data those of both sequences.
        flops: Over all tokens, what gradient checkpointing computes again included.
        packed: Whether sequences are filled with several rows.
    """

    rows: int | None
    steps: int | None
    tokens: int | None
    flops: float | None
    packed: bool


@dataclass(frozen=True)
class _Sequences:
    """The sequences of one epoch."""

    count: int
    tokens: float
    """Of each, on average."""
    document: float
    """Tokens that see each other, on average."""


@dataclass(frozen=True)
class Work:
    """All training runs of a recipe: one, or one per step of sDPO.

    Attributes:
        runs: In their order.
        notes: Where their numbers come from, one sentence each.
    """

    runs: Sequence[TrainingRun]
    notes: tuple[str, ...]

    def total(self, name: str) -> Any:
        """The sum over the runs of one of their numbers; None where one of them is not known."""
        numbers = [getattr(run, name) for run in self.runs]
        return None if None in numbers else sum(numbers)

    def seconds(self, flops_per_s: float) -> float | None:
        """How long they take at so many FLOP/s on full sequences; None if not known.

        Batches that are not packed are taken to run at half the speed, for their padding.
        """
        if self.total("flops") is None:
            return None
        return sum((run.flops or 0.0) * (1 if run.packed else 2) for run in self.runs) / flops_per_s


def of_recipe(
    recipe: dict[str, Any],
    size: ModelSize,
    gpus: int,
    tokenizer: Path | None,
    rebase: data_size.Rebase = str,
    known: Mapping[str, data_size.PublicData] = data_size.PUBLIC,
) -> Work:
    """What training `recipe` does.

    Args:
        recipe: An Axolotl recipe.
        size: Of the model that it trains.
        gpus: On how many.
        tokenizer, rebase, known: See `data_size.of`.
    """
    planned, notes = [], []
    for one in recipes_of(recipe):
        entries = one.get("datasets") or one.get("pretraining_dataset") or []
        found = data_size.of(
            [entries] if isinstance(entries, dict) else entries,
            rebase,
            tokenizer,
            bool(one.get("rl")),
            one.get("flan_filter"),
            known,
        )
        run = of(one, found, global_batch.of(one, gpus), size)
        if found.rows is not None or not one.get("max_steps"):
            notes += found.notes
        if run.packed and run.rows is not None:
            notes.append(f"packed sequences are taken to be {PACKING:.0%} full")
        planned.append(run)
    return Work(planned, tuple(dict.fromkeys(notes)))


def recipes_of(recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """The recipe of each training run: itself, or one per step of sDPO."""
    if "sdpo" not in recipe:
        return [recipe]
    return [
        {**recipe, **step.settings, "datasets": list(step.datasets)}
        for step in step_plan.parse(recipe["sdpo"]).steps
    ]


def of(recipe: dict[str, Any], data: DataSize, batch: int, size: ModelSize) -> TrainingRun:
    """What the run of `recipe` on `data` does.

    DPO reads every pair a second time without gradient, for the reference's log-probabilities,
    once for the data and not once per epoch.

    Args:
        recipe: An Axolotl recipe, or one step of sDPO with the recipe's keys.
        data: Of its datasets.
        batch: Sequences or pairs per optimizer step, over all GPUs.
        size: Of the model.
    """
    length = int(recipe.get("sequence_len") or 512)
    packed = bool(recipe.get("sample_packing")) or bool(recipe.get("pretraining_dataset"))
    epochs = float(recipe.get("num_epochs") or 1)
    at_most = int(recipe["max_steps"]) if recipe.get("max_steps") else None
    is_preference = bool(recipe.get("rl"))
    rows = _trained_rows(recipe, data)
    if rows is not None:
        sequences = _sequences(recipe, data, rows, length, packed)
        steps = math.ceil(epochs * math.ceil(sequences.count / batch))
        tokens = sequences.count * sequences.tokens * epochs
        if at_most is not None and at_most < steps:
            steps, tokens = at_most, min(tokens, at_most * batch * sequences.tokens)
    elif at_most is not None and packed:
        # A stream of unknown documents, as if each filled a sequence.
        sequences = _Sequences(at_most * batch, length, length)
        steps, tokens = at_most, at_most * batch * length
    else:
        return TrainingRun(None, at_most, None, None, packed)
    one_pass = min(tokens, sequences.count * sequences.tokens)
    passes = 4 if recipe.get("gradient_checkpointing") else 3
    flops = passes * tokens + (one_pass if is_preference else 0)
    flops *= forward_flops(size, sequences.document)
    return TrainingRun(rows, steps, round(tokens), flops, packed)


def forward_flops(size: ModelSize, document: float) -> float:
    """FLOPs of one forward pass per token, in documents of `document` tokens.

    >>> forward_flops(ModelSize(0, 0, 1, 8, 0, True, token_weights=100, attention=((8, None),)), 9)
    360.0
    """
    seen = (channels * tokens_seen(document, window) for channels, window in size.attention)
    return 2.0 * size.token_weights + 4.0 * sum(seen)


def tokens_seen(document: float, window: int | None) -> float:
    """Tokens that one sees on average in causal attention, itself included.

    >>> tokens_seen(5, None), tokens_seen(5, 2)
    (3.0, 1.8)
    """
    if window is None or document <= window:
        return (document + 1) / 2
    return window * (1 - (window - 1) / 2 / document)


def _trained_rows(recipe: dict[str, Any], data: DataSize) -> int | None:
    if data.rows is None or data.tokens_per_row is None:
        return None
    held_out = float(recipe.get("val_set_size") or 0)
    return data.rows - round(held_out if held_out >= 1 else held_out * data.rows)


def _sequences(
    recipe: dict[str, Any], data: DataSize, rows: int, length: int, packed: bool
) -> _Sequences:
    mean = float(data.tokens_per_row or 0)
    if packed:
        full = length * PACKING
        return _Sequences(math.ceil(rows * mean / full), full, min(mean, length))
    if recipe.get("rl"):  # a row is two sequences, prompt and answer each
        tokens = min(mean, 2 * length)
        return _Sequences(rows, tokens, tokens / 2)
    if any(entry.get("type") == "completion" for entry in recipe.get("datasets") or []):
        # A text that is too long is cut into several sequences.
        count = max(rows, math.ceil(rows * mean / length))
        return _Sequences(count, rows * mean / count, rows * mean / count)
    tokens = min(mean, length)
    return _Sequences(rows, tokens, tokens)
