"""Values that Axolotl takes and that cannot be meant: out of range, or without any effect."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.check.unambiguous_match import unambiguous_match
from solar_plugins.errors import SolarError, nearest
from solar_plugins.recipes import global_batch

# key: (least, whether it may be the least itself, most, whether it may be the most itself)
_RANGES: dict[str, tuple[float, bool, float | None, bool]] = {
    "adam_beta1": (0, True, 1, False),
    "adam_beta2": (0, True, 1, False),
    "adam_epsilon": (0, False, 1, False),
    "cosine_min_lr_ratio": (0, True, 1, True),
    "dpo_label_smoothing": (0, True, 0.5, False),
    "eval_batch_size": (1, True, None, True),
    "global_batch_size": (1, True, None, True),
    "gradient_accumulation_steps": (1, True, None, True),
    "label_smoothing_factor": (0, True, 1, False),
    "learning_rate": (0, False, 1, True),
    "logging_steps": (0, False, None, True),
    "lora_alpha": (0, False, None, True),
    "lora_dropout": (0, True, 1, False),
    "lora_r": (1, True, None, True),
    "max_grad_norm": (0, True, None, True),
    "max_steps": (1, True, None, True),
    "micro_batch_size": (1, True, None, True),
    "neftune_noise_alpha": (0, True, None, True),
    "num_epochs": (0, False, None, True),
    "rl_beta": (0, False, None, True),
    "save_total_limit": (1, True, None, True),
    "seed": (0, True, 2**32 - 1, True),
    "sequence_len": (1, True, None, True),
    "val_set_size": (0, True, None, True),
    "warmup_ratio": (0, True, 1, True),
    "warmup_steps": (0, True, None, True),
    "weight_decay": (0, True, 1, False),
}

_PLACEHOLDERS = {
    # what Axolotl puts in, and what must stand there or the prompt is lost
    "format": ({"instruction", "input", "system"}, "instruction"),
    "no_input_format": ({"instruction", "system"}, "instruction"),
    "system_format": ({"system"}, "system"),
    "prompt_format": ({"prompt", "system"}, "prompt"),
    "chosen_format": ({"chosen"}, "chosen"),
    "rejected_format": ({"rejected"}, "rejected"),
    "completion_format": ({"completion"}, "completion"),
}


def check_ranges(source: YamlFile) -> None:
    """Add a finding for every number of the recipe that is out of its range."""
    for key, (least, with_least, most, with_most) in _RANGES.items():
        number = _number(source.content.get(key))
        if number is None:
            continue
        low = number < least or (number == least and not with_least)
        high = most is not None and (number > most or (number == most and not with_most))
        if not low and not high and number == number:  # NaN is not itself
            continue
        wanted = f"at least {least:g}" if with_least else f"more than {least:g}"
        if most is not None:
            wanted += f" and {'at most' if with_most else 'less than'} {most:g}"
        found = source.content[key]
        source.add((key,), "wrong-value", f"{found} found, a number of {wanted} is needed.")
    val, split = source.content.get("val_set_size"), _number(source.content.get("val_set_size"))
    if split is not None and split > 1 and split != int(split):
        source.add(
            ("val_set_size",),
            "wrong-value",
            f"{val} found. Below 1 it is a share of the rows, above a whole number of them.",
        )


def _number(value: Any) -> float | None:
    """`value` as Axolotl reads it: it turns ``"2e-5"`` into a number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
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
        where, _, message = str(error).partition(": ")
        source.add(tuple(where.split(".")), "wrong-value", message)


_ADAPTER_KEYS = ("lora_r", "lora_alpha", "lora_target_modules", "lora_target_linear",
                 "loraplus_lr_ratio", "peft_use_dora", "peft_use_rslora")  # fmt: skip


def check_conflicts(source: YamlFile) -> None:
    """Add a finding where two keys ask for different things."""
    recipe = source.content
    if recipe.get("bf16") is True and recipe.get("fp16") is True:
        source.add(
            ("fp16",),
            "wrong-value",
            "`bf16` and `fp16` are mutually exclusive. Keep one.",
        )
    if recipe.get("deepspeed") and recipe.get("fsdp_config"):
        source.add(
            ("fsdp_config",),
            "wrong-value",
            "`deepspeed` and `fsdp_config` exclude each other. Keep one.",
        )
    targets = recipe.get("lora_target_modules")
    parts = {part for name in known("mergekit")["tensors"] for part in name.split(".")}
    for index, name in enumerate(targets if isinstance(targets, list) else []):
        meant = unambiguous_match(str(name), parts)
        if str(name).isidentifier() and name not in parts and meant:
            source.add(
                ("lora_target_modules", index),
                "wrong-value",
                f"no model has a module {name!r}. Did you mean {meant!r}?",
                new_value=meant,
            )


def check_effects(source: YamlFile) -> None:
    """Add a finding for what the recipe sets and Axolotl then does nothing with."""
    recipe = source.content
    if not recipe.get("adapter"):
        for key in _ADAPTER_KEYS:
            if recipe.get(key):
                source.add(
                    (key,),
                    "no-effect",
                    "has no effect: all weights are trained. Write `adapter: lora`, or take it "
                    "out.",
                )
                break
    validates = bool(recipe.get("val_set_size")) or bool(recipe.get("test_datasets"))
    if not validates:
        for key in ("eval_steps", "evals_per_epoch"):
            if recipe.get(key) and recipe.get("eval_strategy") != "no":
                source.add(
                    (key,),
                    "no-effect",
                    "has no effect: there are no rows to evaluate on. Write `val_set_size: 0.01`, "
                    "or take it out.",
                    is_note=True,
                )
    # A constant rate is decayed by nothing.
    if recipe.get("cosine_min_lr_ratio") and recipe.get("lr_scheduler", "cosine") != "cosine":
        source.add(
            ("cosine_min_lr_ratio",),
            "no-effect",
            f"has no effect with `lr_scheduler: {recipe['lr_scheduler']}`. Write "
            "`lr_scheduler: cosine`, or take it out.",
        )
    if recipe.get("rl") is None:
        for key in ("rl_beta", "dpo_label_smoothing", "dpo_loss_type"):
            if recipe.get(key) is not None:
                source.add(
                    (key,),
                    "no-effect",
                    "has no effect without `rl`. Write `rl: dpo`, or take it out.",
                )


def check_formats(source: YamlFile, place: Path_, type_: Any) -> None:
    """Add what is wrong in the prompt formats of a user-defined dataset type.

    A format without its placeholder trains on prompts without the question, in silence; an
    unknown one is a KeyError when the data are tokenised.
    """
    if not isinstance(type_, Mapping):
        return
    for key, (placeholders, needed) in _PLACEHOLDERS.items():
        text, here = type_.get(key), (*place, key)
        if not isinstance(text, str):
            continue
        try:
            fields = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
        except ValueError as error:
            source.add(here, "wrong-value", f"{error} in {text!r}. Write {{{{ for a brace.")
            continue
        for name in fields:
            if name not in placeholders:
                meant = unambiguous_match(name, placeholders)
                hint = f" Did you mean {meant!r}?" if meant else nearest(name, placeholders)
                source.add(
                    here,
                    "wrong-value",
                    f"{{{name}}} is nothing that Axolotl puts in; it has "
                    f"{', '.join(f'{{{n}}}' for n in sorted(placeholders))}.{hint}",
                )
        if needed not in fields and not any(name not in placeholders for name in fields):
            source.add(
                here,
                "wrong-value",
                f"{{{needed}}} does not stand in {_short(text)}: it would be left out of every "
                "prompt.",
            )


def _short(text: str) -> str:
    return repr(text) if len(text) <= 50 else f"{text[:47]!r}…"
