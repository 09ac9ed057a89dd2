"""An untrained model of any architecture that transformers has, with a tokenizer that is there."""

from __future__ import annotations

from pathlib import Path

from solar_plugins import atomic
from solar_plugins.errors import SolarError, nearest
from solar_plugins.recipes.data_recipe import UntrainedModelRecipe


def write(recipe: UntrainedModelRecipe, out: Path) -> dict:
    """Write model and tokenizer to `out`; returns the number of parameters.

    The vocabulary is rounded up to a multiple of 64, as full-size models have it.

    Raises:
        SolarError: an architecture or a config value that transformers does not have, or a
            tokenizer that is not there.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    if recipe.architecture not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise SolarError(
            f"architecture: {recipe.architecture!r} is no causal language model of transformers."
            f"{nearest(recipe.architecture, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)}"
        )
    known = AutoConfig.for_model(recipe.architecture)
    for key in recipe.config:
        if not hasattr(known, key):
            raise SolarError(
                f"config.{key}: {type(known).__name__} has no such value."
                f"{nearest(key, known.to_dict())}"
            )
    if not Path(recipe.tokenizer).is_dir():
        raise SolarError(
            f"tokenizer: {recipe.tokenizer} is not there. Name a folder with a tokenizer"
        )
    tokenizer = AutoTokenizer.from_pretrained(recipe.tokenizer)
    config = AutoConfig.for_model(
        recipe.architecture,
        vocab_size=-(-len(tokenizer) // 64) * 64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
        **recipe.config,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = AutoModelForCausalLM.from_config(config)
    with atomic.new_directory(out) as folder:
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
    return {"parameters": sum(parameter.numel() for parameter in model.parameters())}
