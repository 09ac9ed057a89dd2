"""Memory per GPU: the model's states by DeepSpeed's arithmetic, and a training step that was run.

What a step holds beside the states comes from `training_step`; what is kept where, from here:

=========  ========  =============  ==========================================
ZeRO       weights   gradients      optimizer
=========  ========  =============  ==========================================
none       all       all            two moments in the type of the weight
1          all       all            float32 weight and two moments, shared out
2          all       shared out     the same
3          shared out, and those in use   the same
=========  ========  =============  ==========================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from solar_plugins.plan import model_size, training_step
from solar_plugins.plan.model_size import ModelSize
from solar_plugins.plan.training_step import Adapter, Step, Traced
from solar_plugins.recipes import global_batch

GIB = 1024**3

_SUB_GROUP = 10**9
"""Weights of one GPU's share that ZeRO-3 updates together; ``sub_group_size``'s default."""


@dataclass(frozen=True)
class Zero:
    """DeepSpeed's ``zero_optimization``.

    Attributes:
        stage: 0 (every GPU holds everything), 1, 2 or 3.
        offload_optimizer, offload_param: To the CPU's memory.
        reduce_bucket_size: Weights whose gradients are sent together; None: the model's width
            squared, which is what ``auto`` stands for.
        max_reuse_distance: Gathered weights are kept if they are used again within so many.
    """

    stage: int = 0
    offload_optimizer: bool = False
    offload_param: bool = False
    reduce_bucket_size: int | None = None
    max_reuse_distance: int = 10**9


@dataclass(frozen=True)
class Setup:
    """What of a recipe decides its memory.

    Attributes:
        step: One forward and backward pass.
        zero: How the states are shared out.
        accumulates: Whether gradients of several passes are added up.
        is_8bit: Whether the optimizer keeps its moments in 8 bits; others count as Adam.
    """

    step: Step
    zero: Zero
    accumulates: bool
    is_8bit: bool


Change = Callable[[Setup], Setup]


@dataclass(frozen=True)
class Memory:
    """Bytes per GPU, and of the node's own memory."""

    states: int
    activations: int
    cpu: int

    @property
    def gpu(self) -> int:
        """States and activations together."""
        return self.states + self.activations


def read_setup(recipe: dict[str, Any], gpus: int) -> Setup:
    """The `Setup` of an Axolotl recipe; a DeepSpeed file that is not there counts as none."""
    zero = _zero(deepspeed_config(recipe).get("zero_optimization") or {})
    is_half = bool(recipe.get("bf16") or recipe.get("fp16") or recipe.get("bfloat16"))
    is_pairs = bool(recipe.get("rl"))
    adapter = None
    if recipe.get("adapter"):
        named = recipe.get("lora_target_modules") or ()
        everywhere = recipe.get("lora_target_linear") or not named
        adapter = Adapter(
            rank=int(recipe.get("lora_r") or 8),
            targets="all-linear" if everywhere or isinstance(named, str) else tuple(named),
            dropout=float(recipe.get("lora_dropout") or 0),
        )
    micro = int(recipe.get("micro_batch_size") or 1)
    step = Step(
        sequences=2 * micro if is_pairs else micro,
        length=int(recipe.get("sequence_len") or 512),
        is_pairs=is_pairs,
        recomputes=bool(recipe.get("gradient_checkpointing")),
        weights="bfloat16" if is_half else "float32",
        autocasts=is_half and zero.stage == 0,
        attention=str(recipe.get("attn_implementation") or "sdpa"),
        adapter=adapter,
    )
    return Setup(
        step=step,
        zero=zero,
        accumulates=global_batch.of(recipe, gpus) > micro * gpus,
        is_8bit="8bit" in str(recipe.get("optimizer")),
    )


def left_out(recipe: dict[str, Any]) -> list[str]:
    """What of an Axolotl recipe changes memory and is not in its `Setup`."""
    notes = []
    given = recipe.get("deepspeed")
    if isinstance(given, str) and not Path(given).is_file():
        notes.append(f"{given} is not there, so memory is without ZeRO")
    if recipe.get("fsdp_config") or recipe.get("fsdp_version"):
        notes.append("FSDP is not planned: memory is that of a GPU that holds everything")
    for key in ("load_in_4bit", "load_in_8bit"):
        if recipe.get(key):
            notes.append(f"{key} is not planned: the weights count as bf16")
    return notes


def _zero(block: dict[str, Any]) -> Zero:
    def offloads(key: str) -> bool:
        return (block.get(key) or {}).get("device") in ("cpu", "nvme")

    bucket = block.get("reduce_bucket_size", 5e8)
    reuse = block.get("stage3_max_reuse_distance", 1e9)
    return Zero(
        stage=int(block.get("stage", 0)),
        offload_optimizer=offloads("offload_optimizer"),
        offload_param=offloads("offload_param"),
        reduce_bucket_size=None if bucket == "auto" else int(float(bucket)),
        max_reuse_distance=10**9 if reuse == "auto" else int(float(reuse)),
    )


def deepspeed_config(recipe: dict[str, Any]) -> dict[str, Any]:
    """The DeepSpeed configuration that a recipe names or holds; empty if none."""
    given = recipe.get("deepspeed")
    if isinstance(given, dict):
        return given
    if isinstance(given, str) and Path(given).is_file():
        return json.loads(Path(given).read_text(encoding="utf-8"))
    return {}


def estimate(config: dict[str, Any], setup: Setup, gpus: int) -> Memory:
    """Memory for training the model with the config.json content `config` on one node.

    Raises:
        SolarError: transformers does not know the architecture.
        CannotRun: see `training_step.trace`.
    """
    traced = training_step.trace(config, setup.step)
    if setup.zero.stage == 0:
        return _unshared(traced, setup, gpus)
    return _shared(traced, model_size.of(config), setup, gpus)


def _unshared(traced: Traced, setup: Setup, gpus: int) -> Memory:
    moments = 2 * (traced.trained if setup.is_8bit else traced.gradients)
    # DistributedDataParallel has them a second time, in the buckets that it sends.
    buckets = traced.gradients if gpus > 1 else 0
    states = traced.weights + traced.gradients + moments + buckets
    return Memory(states, _beside_gradients(traced, setup), 0)


def _beside_gradients(traced: Traced, setup: Setup) -> int:
    """The most that a pass holds beside states of which the gradients are a part."""
    if setup.accumulates:  # those of the passes before are there from the start
        return traced.without_gradients
    return max(traced.with_gradients - traced.gradients, 0)


def _shared(traced: Traced, size: ModelSize, setup: Setup, gpus: int) -> Memory:
    """DeepSpeed 0.18's buffers, see `deepspeed.runtime.zero.stage_1_and_2` and ``stage3``."""
    zero = setup.zero
    width = traced.gradients // traced.trained
    bucket = (zero.reduce_bucket_size or size.hidden_size**2) * width * 2
    # Weights in float32 and both moments.
    optimizer = (4 + (2 if setup.is_8bit else 8)) * traced.trained // gpus
    update = 4 * traced.trained // gpus  # gradients in float32 for the update
    if zero.stage == 3:  # which goes from one group of weights to the next
        update = min(update, 4 * _SUB_GROUP)
    gradients = traced.gradients if zero.stage == 1 else traced.gradients // gpus
    weights, gathered, cpu = traced.weights, 0, 0
    if zero.stage == 3:
        weights //= gpus
        # What the forward pass used last is kept for the backward pass, which begins with it.
        gathered = min(traced.weights, width * (zero.max_reuse_distance // 2 + size.largest_layer))
        if zero.offload_param:
            weights, cpu = 0, cpu + traced.weights
    if zero.offload_optimizer:
        cpu += 16 * traced.trained
        optimizer = gradients = update = 0
    step = traced.without_gradients
    if zero.stage == 1:
        step = _beside_gradients(traced, setup)
    return Memory(weights + gradients + optimizer, max(step + gathered + bucket, update), cpu)


def what_fits(config: dict[str, Any], setup: Setup, gpus: int, gpu_bytes: float) -> str | None:
    """The change of a recipe that brings it below `gpu_bytes`; None if there is none.

    Tried in the order in which they cost time: less per pass, then ZeRO-3, then the CPU, and
    shorter sequences last, since they change what is trained. What is not needed is left out.
    """
    tried: list[tuple[str, Change]] = []
    for text, change in _changes(setup):
        tried.append((text, change))
        if _fits(config, setup, tried, gpus, gpu_bytes):
            for one in list(tried):
                fewer = [other for other in tried if other is not one]
                if _fits(config, setup, fewer, gpus, gpu_bytes):
                    tried = fewer
            return " and ".join(text for text, _ in tried)
    return None


def _fits(
    config: dict[str, Any],
    setup: Setup,
    changes: list[tuple[str, Change]],
    gpus: int,
    gpu_bytes: float,
) -> bool:
    for _, change in changes:
        setup = change(setup)
    return estimate(config, setup, gpus).gpu <= gpu_bytes


def _changes(setup: Setup) -> Iterator[tuple[str, Change]]:
    """Keys to write, and what each makes of a `Setup`."""

    def step(**values: Any) -> Change:
        return lambda old: replace(old, step=replace(old.step, **values))

    def zero(**values: Any) -> Change:
        return lambda old: replace(old, zero=replace(old.zero, **values))

    if not setup.step.recomputes:
        yield "gradient_checkpointing: true", step(recomputes=True)
    at_once = 2 if setup.step.is_pairs else 1
    micro = setup.step.sequences // at_once
    while micro > 1:
        micro //= 2
        text = f"micro_batch_size: {micro} at the same global batch"
        fewer = step(sequences=micro * at_once)
        yield text, lambda old, fewer=fewer: replace(fewer(old), accumulates=True)
    if setup.zero.stage != 3:
        text = "deepspeed: recipes/deepspeed/zero3_bf16.json"
        yield text, lambda old: zero(stage=3)(step(autocasts=False)(old))
    if not setup.zero.offload_optimizer:
        yield "zero_optimization.offload_optimizer: {device: cpu}", zero(offload_optimizer=True)
    if not setup.zero.offload_param:
        yield "zero_optimization.offload_param: {device: cpu}", zero(offload_param=True)
    length = setup.step.length
    while length > 512:
        length //= 2
        yield f"sequence_len: {length}", step(length=length)
