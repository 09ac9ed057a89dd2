"""Memory per GPU: the model's states by DeepSpeed's arithmetic, and a training step that was run.

`training_step` gives the memory of a step besides the states; where the states are kept:

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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from solar_plugins.plan import model_size, training_step
from solar_plugins.plan.model_size import ModelSize
from solar_plugins.plan.training_step import Adapter, Traced, TrainingStep
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
        max_reuse_distance: Gathered weights are kept if used again within this many weights.
    """

    stage: int = 0
    offload_optimizer: bool = False
    offload_param: bool = False
    reduce_bucket_size: int | None = None
    max_reuse_distance: int = 10**9


@dataclass(frozen=True)
class MemorySetup:
    """The part of a recipe that decides its memory.

    Attributes:
        step: One forward and backward pass.
        zero: How the states are shared out.
        accumulates: Whether gradients of several passes are added up.
        is_8bit: Whether the optimizer keeps its moments in 8 bits; others count as Adam.
    """

    step: TrainingStep
    zero: Zero
    accumulates: bool
    is_8bit: bool


Change = dict[str, dict[str, Any]]
"""New values of fields of a `MemorySetup` (``setup``) and of its ``step`` and ``zero``."""


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


def read_setup(recipe: dict[str, Any], gpus: int) -> MemorySetup:
    """The `MemorySetup` of an Axolotl recipe; without ZeRO if its DeepSpeed file does not exist."""
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
    step = TrainingStep(
        sequences=2 * micro if is_pairs else micro,
        length=int(recipe.get("sequence_len") or 512),
        is_pairs=is_pairs,
        recomputes=bool(recipe.get("gradient_checkpointing")),
        weights="bfloat16" if is_half else "float32",
        autocasts=is_half and zero.stage == 0,
        attention=str(recipe.get("attn_implementation") or "sdpa"),
        adapter=adapter,
    )
    return MemorySetup(
        step=step,
        zero=zero,
        accumulates=global_batch.of(recipe, gpus) > micro * gpus,
        is_8bit="8bit" in str(recipe.get("optimizer")),
    )


def left_out(recipe: dict[str, Any]) -> list[str]:
    """Notes on keys of an Axolotl recipe that change memory and are not in its `MemorySetup`."""
    notes = []
    given = recipe.get("deepspeed")
    if isinstance(given, str) and not Path(given).is_file():
        notes.append(f"{given} does not exist, so memory is without ZeRO")
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


def estimate(config: dict[str, Any], setup: MemorySetup, gpus: int) -> Memory:
    """Memory for training the model with the config.json content `config` on one node.

    Raises:
        SolarError: transformers does not know the architecture.
        CannotRun: see `training_step.trace`.
    """
    traced = training_step.trace(config, setup.step)
    zero = setup.zero
    # The peak of a pass besides states that include the gradients. Where gradients are
    # accumulated, those of the passes before exist from the start.
    step = max(traced.with_gradients - traced.gradients, 0)
    if setup.accumulates or zero.stage > 1:
        step = traced.without_gradients
    if zero.stage == 0:
        moments = 2 * (traced.trained if setup.is_8bit else traced.gradients)
        # DistributedDataParallel has the gradients a second time, in the buckets that it sends.
        buckets = traced.gradients if gpus > 1 else 0
        return Memory(traced.weights + traced.gradients + moments + buckets, step, 0)
    return _shared(traced, step, model_size.of(config), setup, gpus)


def _shared(traced: Traced, step: int, size: ModelSize, setup: MemorySetup, gpus: int) -> Memory:
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
    return Memory(weights + gradients + optimizer, max(step + gathered + bucket, update), cpu)


def what_fits(
    config: dict[str, Any], setup: MemorySetup, gpus: int, gpu_bytes: float
) -> str | None:
    """The change of a recipe that brings it below `gpu_bytes`; None if there is none.

    Tried in the order in which they cost time: less per pass, then ZeRO-3, then the CPU, and
    shorter sequences last, since they change what is trained. Changes that are not needed are
    dropped again.
    """

    def fits(changes: list[tuple[str, Change]]) -> bool:
        changed = setup
        for _, change in changes:
            changed = _changed(changed, change)
        return estimate(config, changed, gpus).gpu <= gpu_bytes

    tried: list[tuple[str, Change]] = []
    for one in _changes(setup):
        tried.append(one)
        if fits(tried):
            for each in list(tried):
                fewer = [other for other in tried if other is not each]
                if fits(fewer):
                    tried = fewer
            return " and ".join(text for text, _ in tried)
    return None


def _changes(setup: MemorySetup) -> Iterator[tuple[str, Change]]:
    """Keys to write, and the fields of a `MemorySetup` that each changes."""
    if not setup.step.recomputes:
        yield "gradient_checkpointing: true", {"step": {"recomputes": True}}
    at_once = 2 if setup.step.is_pairs else 1
    micro = setup.step.sequences // at_once
    while micro > 1:
        micro //= 2
        fewer: Change = {"step": {"sequences": micro * at_once}, "setup": {"accumulates": True}}
        yield f"micro_batch_size: {micro} at the same global batch", fewer
    if setup.zero.stage != 3:
        sharded: Change = {"zero": {"stage": 3}, "step": {"autocasts": False}}
        yield "deepspeed: recipes/deepspeed/zero3_bf16.json", sharded
    for key in ("offload_optimizer", "offload_param"):
        if not getattr(setup.zero, key):
            yield f"zero_optimization.{key}: {{device: cpu}}", {"zero": {key: True}}
    length = setup.step.length
    while length > 512:
        length //= 2
        yield f"sequence_len: {length}", {"step": {"length": length}}


def _changed(setup: MemorySetup, change: Change) -> MemorySetup:
    return replace(
        setup,
        step=replace(setup.step, **change.get("step", {})),
        zero=replace(setup.zero, **change.get("zero", {})),
        **change.get("setup", {}),
    )
