"""Untrained models: of any architecture of transformers, with an existing tokenizer."""

from __future__ import annotations

from pathlib import Path

from solar_plugins import atomic
from solar_plugins.errors import SolarError, nearest
from solar_plugins.recipes.data_recipe import UntrainedModelRecipe

_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")


def write(recipe: UntrainedModelRecipe, out: Path) -> dict:
    """Write model and tokenizer to `out`; returns the number of parameters.

    Raises:
        SolarError: transformers has no such architecture or config key, or the tokenizer's folder
            does not exist.
    """
    from transformers import AutoConfig, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if recipe.architecture not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        found = f"{recipe.architecture!r} is not a causal language model of transformers"
        hint = nearest(recipe.architecture, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
        raise SolarError(f"architecture: {found}.{hint}")
    known = AutoConfig.for_model(recipe.architecture)
    for key in recipe.config:
        if not hasattr(known, key):
            found = f"{type(known).__name__} has no such key"
            raise SolarError(f"config.{key}: {found}.{nearest(key, known.to_dict())}")
    if not Path(recipe.tokenizer).is_dir():
        raise SolarError(f"tokenizer: {recipe.tokenizer} found. Name a folder with a tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(recipe.tokenizer)
    with atomic.new_directory(out) as folder:
        tokenizer.save_pretrained(folder)
        ids = {name: getattr(tokenizer, name) for name in _SPECIAL}
        values = ids | recipe.config
        size = save(recipe.architecture, len(tokenizer), values, recipe.seed, folder)
    return {"parameters": size}


def save(architecture: str, tokens: int, values: dict, seed: int, folder: Path) -> int:
    """A float32 model drawn from `seed`; returns the number of its parameters.

    Args:
        tokens: The vocabulary, rounded up to a multiple of 64, as full-size models have it.
        values: Of config.json.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    vocab_size = -(-tokens // 64) * 64
    config = AutoConfig.for_model(architecture, vocab_size=vocab_size, dtype="float32", **values)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())
