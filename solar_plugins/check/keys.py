"""Keys that a tool does not know, and would drop without a word."""

from __future__ import annotations

from typing import Any

from solar_plugins.check.source import Path_, YamlFile, dotted
from solar_plugins.check.unambiguous_match import unambiguous_match
from solar_plugins.errors import nearest

Tree = dict
"""``{key: Tree or None}``; None: anything may stand below. See `model_keys.key_tree`."""

OTHER_NAMES = {
    # transformers.TrainingArguments and TRL's configs
    "per_device_train_batch_size": "micro_batch_size",
    "per_device_eval_batch_size": "eval_batch_size",
    "num_train_epochs": "num_epochs",
    "epochs": "num_epochs",
    "max_seq_length": "sequence_len",
    "max_seq_len": "sequence_len",
    "max_length": "sequence_len",
    "cutoff_len": "sequence_len",
    "lr": "learning_rate",
    "lr_scheduler_type": "lr_scheduler",
    "optim": "optimizer",
    "adam_eps": "adam_epsilon",
    "model_name_or_path": "base_model",
    "model_name": "base_model",
    "tokenizer_name": "tokenizer_config",
    "beta": "rl_beta",
    "packing": "sample_packing",
    # PEFT's and LLaMA-Factory's
    "lora_rank": "lora_r",
    "lora_target": "lora_target_modules",
    "target_modules": "lora_target_modules",
    "finetuning_type": "adapter",
    "warmup_proportion": "warmup_ratio",
}
"""What other trainers call a key of Axolotl, where no spelling is near enough to tell."""


def add_unknown_keys(
    source: YamlFile,
    value: Any,
    place: Path_,
    tree: Tree | None,
    reader: str,
    hints: dict[str, str],
) -> None:
    """Add a finding for every key of `value` that `tree` does not have, at any depth.

    Args:
        value: What stands at `place`.
        place: Where to begin.
        tree: The keys that are known there.
        reader: Who drops the key, for the message (``Axolotl``).
        hints: What to say about particular keys, by dotted path without list indices.
    """
    if tree is None:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            add_unknown_keys(source, item, (*place, index), tree, reader, hints)
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        here = (*place, str(key))
        if key in tree or "*" in tree:
            add_unknown_keys(source, below, here, tree.get(key, tree.get("*")), reader, hints)
            continue
        plain = dotted(tuple(part for part in here if isinstance(part, str)))
        hint, meant = hints.get(plain), None
        if hint is None:
            # What `extends:` fills in may be written over; what stands in this file is taken.
            free = [name for name in tree if (*place, name) not in source.marks]
            meant = OTHER_NAMES.get(str(key))
            meant = meant if meant in free else unambiguous_match(str(key), free)
            likely = f"Did you mean {meant!r}?" if meant else nearest(str(key), tree).strip()
            hint = likely or _elsewhere(str(key), tree)
        # A key without a value loses nothing: somebody kept it as a reminder.
        empty = below is None and meant is None
        loses = "drops it" if empty else "would drop it in silence"
        message = f"unknown key, {reader} {loses}. {hint or 'Take it out.'}"
        source.add(here, "unknown-key", message, is_note=empty, new_key=meant)


def _elsewhere(key: str, tree: Tree) -> str:
    """Where `key` would be known, when it only stands at the wrong depth."""
    for name, below in tree.items():
        if below and key in below:
            return f"It belongs below {name!r}: check the indentation."
    return ""
