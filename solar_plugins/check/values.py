"""Values that Axolotl takes and that cannot be meant: out of range, or without any effect."""

from __future__ import annotations

from typing import Any

from solar_plugins.check.finding import RULES, unambiguous_match
from solar_plugins.check.source import YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError
from solar_plugins.recipes import global_batch


def check_ranges(source: YamlFile) -> None:
    """Add a finding for every number of the recipe that is out of its range."""
    for interval, keys in RULES["ranges"].items():
        least, _, most = interval[1:-1].partition(", ")
        wanted = f"at least {float(least):g}" if interval[0] == "[" else f"more than {least}"
        if most:
            wanted += f" and {'at most' if interval[-1] == ']' else 'less than'} {float(most):g}"
        for key in keys.split():
            number = _number(source.content.get(key))
            if number is None:
                continue
            low = number < float(least) or (interval[0] == "(" and number == float(least))
            end = float(most or "inf")
            high = number > end or (bool(most) and interval[-1] == ")" and number == end)
            if low or high or number != number:  # NaN is not itself
                found = source.content[key]
                source.say((key,), "wrong-value/range", found=found, wanted=wanted)
    share = _number(source.content.get("val_set_size"))
    if share is not None and share > 1 and share % 1:
        source.say(("val_set_size",), "wrong-value/share-or-rows", found=share)


def _number(value: Any) -> float | None:
    """`value` as Axolotl reads it: it turns ``"2e-5"`` into a number."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (ValueError, TypeError):
        return None


def check_batch(source: YamlFile, processes: int = 1) -> None:
    """Add a finding if the global batch cannot be shared out, or is said twice.

    Args:
        processes: How many the recipe is to be trained on.
    """
    reported = {finding.path for finding in source.findings}
    if source.content.get(global_batch.KEY) is None or reported & {*global_batch.KEYS}:
        return
    try:
        global_batch.accumulation_steps(source.content, processes)
        global_batch.refuse_rivals(source.content)
    except SolarError as error:
        source.add_error(error)


def check_effects(source: YamlFile) -> None:
    """Add a finding where keys contradict each other, or Axolotl does nothing with one."""
    recipe = source.content
    get = recipe.get
    if get("bf16") is True and get("fp16") is True:
        source.say(("fp16",), "wrong-value/bf16-and-fp16")
    if get("deepspeed") and get("fsdp_config"):
        source.say(("fsdp_config",), "wrong-value/deepspeed-and-fsdp")
    unused: dict[str, str] = {}
    if not get("adapter"):
        unused |= dict.fromkeys(
            [key for key in RULES["of_adapters"].split() if get(key)][:1], "adapter"
        )
    if not (get("val_set_size") or get("test_datasets")) and get("eval_strategy") != "no":
        unused |= {key: "evaluation" for key in ("eval_steps", "evals_per_epoch") if get(key)}
    # A constant rate is decayed by nothing.
    if get("cosine_min_lr_ratio") and get("lr_scheduler", "cosine") != "cosine":
        unused["cosine_min_lr_ratio"] = "cosine"
    if get("rl") is None:
        of_rl = ("rl_beta", "dpo_label_smoothing", "dpo_loss_type")
        unused |= {key: "rl" for key in of_rl if get(key) is not None}
    for key, why in unused.items():
        is_note, scheduler = key.startswith("eval"), get("lr_scheduler")
        source.say((key,), f"no-effect/without-{why}", is_note, scheduler=scheduler)
    targets = get("lora_target_modules")
    parts = {part for name in known("mergekit")["tensors"] for part in name.split(".")}
    for index, name in enumerate(targets if isinstance(targets, list) else []):
        meant = unambiguous_match(str(name), parts)
        if str(name).isidentifier() and name not in parts and meant:
            place = ("lora_target_modules", index)
            source.say(place, "wrong-value/module", new_value=meant, name=name, meant=meant)
