"""DeepSpeed's JSON configuration, and whether it says the same as the recipe that names it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solar_plugins.check.finding import RULES, unambiguous_match
from solar_plugins.check.source import YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import nearest

_GATHERS = [f"stage3_gather_{bits}_weights_on_model_save" for bits in ("16bit", "fp16")]
_GATHERS.append("gather_16bit_weights_on_model_save")

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
        source.say(("deepspeed",), "wrong-value/json", name=name, fault=error)
        return
    if not isinstance(config, dict):
        source.say(("deepspeed",), "wrong-value/no-mapping", name=name)
        return
    for what, values in _faults(config, source.content):
        source.say(("deepspeed",), f"wrong-value/ds-{what}", name=name, **values)


def _faults(config: dict[str, Any], recipe: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The texts of ``findings.yml`` that apply, with what stands in their braces."""
    blocks = RULES["deepspeed"].split()
    for key in config:
        meant = unambiguous_match(key, blocks)
        if key not in blocks and meant:
            yield "dropped", {"key": key, "meant": meant}
    zero, fields = config.get("zero_optimization"), known("deepspeed")["zero"]
    zero = zero if isinstance(zero, dict) else {}
    for key in zero:
        if key not in fields:
            yield "refused", {"key": key, "hint": nearest(key, fields)}
    stage = zero.get("stage", 0)
    if stage not in (0, 1, 2, 3):
        yield "stage", {"found": stage}
    halves = {key: config.get(key) for key in ("bf16", "fp16")}
    on = {key: isinstance(block, dict) and block.get("enabled") for key, block in halves.items()}
    for key, enabled in on.items():
        if enabled not in (True, False, None, "auto"):
            yield "enabled", {"key": key, "found": enabled}
    if on["bf16"] is True and on["fp16"] is True:
        yield "both", {}
    for key, other in (("bf16", "fp16"), ("fp16", "bf16")):
        wants = recipe.get(other) is True and not recipe.get(key)
        if on[key] is True and on[other] is not True and wants:
            yield "other", {"key": key, "other": other}
    for theirs, ours in _SIZES.items():
        size, wanted = config.get(theirs), recipe.get(ours)
        if isinstance(size, int) and isinstance(wanted, int) and size != wanted:
            yield "size", {"theirs": theirs, "size": size, "ours": ours, "wanted": wanted}
    if stage == 3 and not any(zero.get(key) for key in _GATHERS):
        yield "gather", {"key": _GATHERS[0]}
