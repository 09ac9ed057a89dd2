"""DeepSpeed's JSON configuration, and whether it says the same as the recipe that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from solar_plugins.check.source import YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.check.unambiguous_match import unambiguous_match
from solar_plugins.errors import nearest

_BLOCKS = (
    "zero_optimization", "bf16", "fp16", "optimizer", "scheduler", "gradient_clipping",
    "activation_checkpointing", "zero_allow_untested_optimizer", "train_batch_size",
    "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "steps_per_print",
    "wall_clock_breakdown", "communication_data_type", "aio", "flops_profiler",
)  # fmt: skip
"""Top keys near which another spelling is taken for a typo, which DeepSpeed would drop."""

_GATHERS = (
    "stage3_gather_16bit_weights_on_model_save",
    "gather_16bit_weights_on_model_save",
    "stage3_gather_fp16_weights_on_model_save",
)

_SIZES = {
    "train_micro_batch_size_per_gpu": "micro_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
}


def check(source: YamlFile) -> None:
    """Add what is wrong in the file that ``deepspeed:`` of the recipe names."""
    name = source.content.get("deepspeed")
    if not isinstance(name, str) or not Path(name).is_file():
        return
    try:
        config = json.loads(Path(name).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        source.add(("deepspeed",), "wrong-value", f"{name} is not JSON: {error}.")
        return
    if not isinstance(config, dict):
        source.add(("deepspeed",), "wrong-value", f"{name} holds no mapping of keys.")
        return
    for fault in [*_keys(config), *_values(config, source.content)]:
        source.add(("deepspeed",), "wrong-value", f"{name}: {fault}")


def _keys(config: dict[str, Any]) -> list[str]:
    faults = []
    for key in config:
        meant = unambiguous_match(key, _BLOCKS)
        if key not in _BLOCKS and meant:
            faults.append(f"{key}: DeepSpeed would drop it. Did you mean {meant!r}?")
    zero = config.get("zero_optimization")
    fields = known("deepspeed")["zero"]
    for key in zero if isinstance(zero, dict) else ():
        if key not in fields:
            hint = nearest(key, fields)
            faults.append(f"zero_optimization.{key}: DeepSpeed refuses it.{hint}")
    return faults


def _values(config: dict[str, Any], recipe: dict[str, Any]) -> list[str]:
    faults = []
    zero = config.get("zero_optimization")
    stage = zero.get("stage", 0) if isinstance(zero, dict) else None
    if stage is not None and stage not in (0, 1, 2, 3):
        faults.append(f"zero_optimization.stage: {stage!r} found, one of 0, 1, 2, 3 is needed.")
    on = {key: isinstance(config.get(key), dict) and config[key].get("enabled") for key in
          ("bf16", "fp16")}  # fmt: skip
    for key, enabled in on.items():
        if enabled not in (True, False, None, "auto"):
            faults.append(f'{key}.enabled: {enabled!r} found. Write true, false or "auto".')
    if on["bf16"] is True and on["fp16"] is True:
        faults.append("bf16 and fp16 are both enabled. Keep one.")
    for key, other in (("bf16", "fp16"), ("fp16", "bf16")):
        wants = recipe.get(other) is True and not recipe.get(key)
        if on[key] is True and on[other] is not True and wants:
            faults.append(f"enables {key}, and the recipe asks for {other}. Make them the same.")
    for theirs, ours in _SIZES.items():
        size, wanted = config.get(theirs), recipe.get(ours)
        if isinstance(size, int) and isinstance(wanted, int) and size != wanted:
            faults.append(f'{theirs}: {size}, and the recipe\'s {ours} is {wanted}. Write "auto".')
    if isinstance(zero, dict) and stage == 3 and not any(zero.get(key) for key in _GATHERS):
        faults.append(
            "zero_optimization.stage3_gather_16bit_weights_on_model_save: not true, so the saved "
            "model holds no weights. Write true."
        )
    return faults
