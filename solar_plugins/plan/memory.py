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
from solar_plugins.recipes.extends import merged

GIB = 1024**3

PROCESS = round(1.3 * GIB)
"""Assumed: what a training process takes besides its tensors. On a GPU the CUDA context and the
allocator's gaps; on the CPU Python and its libraries. 0.8 to 1.3 GiB were seen."""

_SUB_GROUP = 10**9
"""Weights of one GPU's share that ZeRO-3 updates together; ``sub_group_size``'s default."""


@dataclass(frozen=True)
class MemorySetup:
    """The part of a recipe that decides its memory."""

    step: TrainingStep
    accumulates: bool  # gradients of several passes
    is_8bit: bool  # the optimizer's moments; others count as Adam
    zero: dict[str, Any]  # DeepSpeed's block; empty where every GPU holds everything

    @property
    def zero_stage(self) -> int:
        return int(self.zero.get("stage", 0))

    def offloads(self, key: str) -> bool:
        """Whether ``offload_optimizer`` or ``offload_param`` move states from the GPU."""
        return (self.zero.get(key) or {}).get("device") in ("cpu", "nvme")


@dataclass(frozen=True)
class Memory:
    """Bytes per GPU, and of the node's own memory."""

    states: int
    activations: int
    cpu: int

    @property
    def gpu(self) -> int:
        """States, activations and the process itself, together."""
        return self.states + self.activations + PROCESS


def read_setup(recipe: dict[str, Any], gpus: int) -> MemorySetup:
    """The `MemorySetup` of an Axolotl recipe; without ZeRO if its DeepSpeed file does not exist."""
    zero = deepspeed_config(recipe).get("zero_optimization") or {}
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
        autocasts=is_half and not zero.get("stage"),
        attention=str(recipe.get("attn_implementation") or "sdpa"),
        adapter=adapter,
    )
    return MemorySetup(
        step=step,
        accumulates=global_batch.of(recipe, gpus) > micro * gpus,
        is_8bit="8bit" in str(recipe.get("optimizer")),
        zero=zero,
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


def deepspeed_config(recipe: dict[str, Any]) -> dict[str, Any]:
    """The DeepSpeed configuration that a recipe names or holds; empty if none."""
    given = recipe.get("deepspeed")
    if isinstance(given, str) and Path(given).is_file():
        return json.loads(Path(given).read_text(encoding="utf-8"))
    return given if isinstance(given, dict) else {}


def estimate(
    config: dict[str, Any], setup: MemorySetup, gpus: int, trained_share: float = 1.0
) -> Memory:
    """Memory for training the model with the config.json content `config` on one node.

    Where `trained_share` of the weights is trained (`depth_up_scaling.train: added`), activations
    count as if all were: at most what is needed. Raises what
    `training_step.trace` does.
    """
    traced = training_step.trace(config, setup.step)
    if trained_share < 1:
        traced = replace(
            traced,
            gradients=int(trained_share * traced.gradients),
            trained=int(trained_share * traced.trained),
            with_gradients=traced.without_gradients + int(trained_share * traced.gradients),
        )
    # The peak of a pass besides states that include the gradients. Where gradients are
    # accumulated, those of the passes before exist from the start.
    step = max(traced.with_gradients - traced.gradients, 0)
    if setup.accumulates or setup.zero_stage > 1:
        step = traced.without_gradients
    if setup.zero_stage == 0:
        moments = 2 * (traced.trained if setup.is_8bit else traced.gradients)
        # DistributedDataParallel has the gradients a second time, in the buckets that it sends.
        buckets = traced.gradients if gpus > 1 else 0
        return Memory(traced.weights + traced.gradients + moments + buckets, step, 0)
    return _shared(traced, step, model_size.of(config), setup, gpus)


def _shared(traced: Traced, step: int, size: ModelSize, setup: MemorySetup, gpus: int) -> Memory:
    """DeepSpeed 0.18's buffers, see `deepspeed.runtime.zero.stage_1_and_2` and ``stage3``."""
    width = traced.gradients // traced.trained
    # Weights whose gradients are sent together; ``auto`` stands for the model's width squared.
    sent = setup.zero.get("reduce_bucket_size", 5e8)
    bucket = (size.hidden_size**2 if sent == "auto" else int(float(sent))) * width * 2
    # Weights in float32 and both moments.
    optimizer = (4 + (2 if setup.is_8bit else 8)) * traced.trained // gpus
    update = 4 * traced.trained // gpus  # gradients in float32 for the update
    gradients = traced.gradients if setup.zero_stage == 1 else traced.gradients // gpus
    weights, gathered, cpu = traced.weights, 0, 0
    if setup.zero_stage == 3:
        update = min(update, 4 * _SUB_GROUP)  # which goes from one group of weights to the next
        weights //= gpus
        # What the forward pass used last is kept for the backward pass, which begins with it:
        # gathered weights that are used again within this many.
        reuse = setup.zero.get("stage3_max_reuse_distance", "auto")
        kept = (10**9 if reuse == "auto" else int(float(reuse))) // 2
        gathered = min(traced.weights, width * (kept + size.largest_layer))
        if setup.offloads("offload_param"):
            weights, cpu = 0, cpu + traced.weights
    if setup.offloads("offload_optimizer"):
        cpu += 16 * traced.trained
        optimizer = gradients = update = 0
    return Memory(weights + gradients + optimizer, max(step + gathered + bucket, update), cpu)


def what_fits(
    config: dict[str, Any],
    recipe: dict[str, Any],
    gpus: int,
    gpu_bytes: float,
    trained_share: float = 1.0,
) -> str | None:
    """The keys of a recipe that bring it to `gpu_bytes`; None if there are none.

    Tried in the order in which they cost time: less per pass, then ZeRO-3, then the CPU, and
    shorter sequences last, since they change what is trained. Changes that are not needed are
    dropped again.
    """
    batch = {"global_batch_size": global_batch.of(recipe, gpus)}  # which a change keeps
    whole = {**recipe, "deepspeed": deepspeed_config(recipe), **batch}

    def fits(changes: list[tuple[str, dict[str, Any]]]) -> bool:
        changed = whole
        for _, keys in changes:
            changed = merged(changed, keys)
        setup = read_setup(changed, gpus)
        return estimate(config, setup, gpus, trained_share).gpu <= gpu_bytes

    tried: list[tuple[str, dict[str, Any]]] = []
    for one in _changes(recipe, read_setup(recipe, gpus)):
        tried.append(one)
        if fits(tried):
            for each in list(tried):
                fewer = [other for other in tried if other is not each]
                if fits(fewer):
                    tried = fewer
            return " and ".join(text for text, _ in tried)
    return None


def _changes(recipe: dict[str, Any], setup: MemorySetup) -> Iterator[tuple[str, dict[str, Any]]]:
    """What to write, and the keys of the recipe that it changes."""
    if not setup.step.recomputes:
        yield "gradient_checkpointing: true", {"gradient_checkpointing": True}
    micro = int(recipe.get("micro_batch_size") or 1)
    while micro > 1:
        micro //= 2
        yield f"micro_batch_size: {micro} at the same global batch", {"micro_batch_size": micro}
    if setup.zero_stage != 3:
        zero3 = {"deepspeed": {"zero_optimization": {"stage": 3}}}
        yield "deepspeed: recipes/deepspeed/zero3_bf16.json", zero3
    for key in ("offload_optimizer", "offload_param"):
        if not setup.offloads(key):
            offload = {"deepspeed": {"zero_optimization": {key: {"device": "cpu"}}}}
            yield f"zero_optimization.{key}: {{device: cpu}}", offload
    length = setup.step.length
    while length > 512:
        length //= 2
        yield f"sequence_len: {length}", {"sequence_len": length}
