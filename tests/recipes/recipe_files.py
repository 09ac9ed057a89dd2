"""Reading the shipped recipes and giving them to Axolotl with other paths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
MERGES = ROOT / "mergekit_configs"

SFT = ("sft_v1", "sft_v2", "sft_v3", "sft_v4")
DPO = ("dpo_v1", "dpo_v2", "dpo_v3", "cand_1", "cand_2")
TRAINED = ("cpt", *SFT, *DPO)

H100_NODE = {"bf16": True, "fp8": True, "tf32": True, "n_gpu": 8, "compute_capability": "sm_90"}

# What a machine without GPU cannot do; nothing here touches data or prompts.
ON_CPU = {
    "attn_implementation": "eager",
    "bf16": False,
    "tf32": False,
    "deepspeed": None,
    "gradient_checkpointing": False,
    "gradient_checkpointing_kwargs": None,
    "optimizer": "adamw_torch",
}


def recipe(name: str) -> dict[str, Any]:
    return yaml.safe_load((RECIPES / f"{name}.yml").read_text(encoding="utf-8"))


def merge(name: str) -> dict[str, Any]:
    return yaml.safe_load((MERGES / f"{name}.yml").read_text(encoding="utf-8"))


def configured(keys: dict[str, Any], folder: Path):
    """`keys` as Axolotl's configuration on this machine, with this recipe's plugins only."""
    from axolotl.cli.config import load_cfg
    from axolotl.integrations.base import PluginManager

    PluginManager.get_instance().plugins.clear()
    # The runner adds it; a stage of these tests has no chain around it.
    plugins = [p for p in keys.get("plugins", []) if p != "solar_plugins.StagePlugin"]
    changes = {
        **ON_CPU,
        "plugins": plugins or None,
        "chat_template_jinja": keys.get("chat_template_jinja")
        and str(ROOT / keys["chat_template_jinja"]),
        "output_dir": str(folder / "out"),
        "dataset_prepared_path": str(folder / "prepared"),
    }
    known = {key: value for key, value in {**keys, **changes}.items() if value is not None}
    file = folder / "recipe.yml"
    file.write_text(yaml.safe_dump(known, sort_keys=False), encoding="utf-8")
    return load_cfg(str(file))


def tokenised_pairs(rows: Any, tokenizer: Any) -> Any:
    """Texts of pairs as stepwise DPO's trainer tokenises them; no model is needed for it."""
    from trl import DPOConfig

    from solar_plugins.sdpo.trainer import StepTrainer

    trainer = StepTrainer.__new__(StepTrainer)
    trainer._tokenizer = tokenizer
    settings = DPOConfig("unused", max_length=512, use_cpu=True, bf16=False)
    return trainer._prepare_dataset(rows, tokenizer, settings, "train")


def lost(written: Any, kept: Any, where: str = "") -> Iterator[str]:
    """Keys and values of `written` that `kept` does not hold."""
    if isinstance(written, dict):
        for key, value in written.items():
            path = f"{where}.{key}".lstrip(".")
            if not isinstance(kept, dict) or key not in kept:
                yield path
            else:
                yield from lost(value, kept[key], path)
    elif isinstance(written, list):
        if not isinstance(kept, list) or len(written) != len(kept):
            yield where
        else:
            for number, (one, other) in enumerate(zip(written, kept, strict=True)):
                yield from lost(one, other, f"{where}[{number}]")
    elif written != kept:
        yield f"{where}: {written!r} became {kept!r}"
