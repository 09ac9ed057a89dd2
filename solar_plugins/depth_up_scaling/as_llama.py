"""A Mistral as a Llama: the same tensors and, within its sliding window, the same computation.

SOLAR 10.7B is "the 32-layer Llama 2 architecture" with Mistral 7B's weights (paper, section 2). The
released model has as many positions as Mistral 7B's window: 4,096.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solar_plugins.depth_up_scaling.args import BLOCK, parse
from solar_plugins.errors import SolarError
from solar_plugins.recipes.registry import is_named

# What transformers takes for a key that is not there; for a Llama it takes something else.
_MISTRAL = {"intermediate_size": 14336, "num_key_value_heads": 8}
_MISTRAL |= {"max_position_embeddings": 131072, "sliding_window": 4096}


def changes(config: Mapping[str, Any], base: str, longest: int = 0) -> dict[str, Any]:
    """What differs in the config.json of the Llama that computes what the model of `config` does.

    >>> found = changes({"model_type": "mistral", "sliding_window": 64}, "base", longest=64)
    >>> found["model_type"], found["max_position_embeddings"], found["sliding_window"]
    ('llama', 64, None)

    Args:
        config: a config.json, as a file or as transformers writes it.
        base: the model's name, for messages.
        longest: tokens of the longest sequence that the model has to compute.

    Returns:
        Keys and new values; none for a Llama.

    Raises:
        SolarError: there is no such Llama.
    """
    kind = config.get("model_type")
    if kind == "llama":
        return {}
    found = {key: config.get(key, default) for key, default in _MISTRAL.items()}
    window, positions = found["sliding_window"], found["max_position_embeddings"]
    kept = positions if window is None else min(window, positions)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    scaling = rope.get("rope_type") or rope.get("type") or "default"
    why = None
    if kind != "mistral" or config.get("auto_map"):
        why = f"is of model_type {kind}, and only a Mistral has a Llama that computes the same"
    elif window is not None and longest > window:
        why = f"has a sliding window of {window} tokens, and sequences here are {longest} long"
    elif kept < positions and scaling != "default":
        why = f"scales positions ({scaling}) that lie beyond its sliding window of {window}"
    elif (config.get("hidden_size") or 0) % (config.get("num_attention_heads") or 1):
        why = "has a hidden_size that its heads do not divide, as those of a Llama do"
    if why:
        shorter = f"Write sequence_len: {window}, or remove" if longest > kept else "Remove"
        raise SolarError(f"{BLOCK}.as_llama: {base} {why}. {shorter} as_llama.")
    return {
        **found,
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": kept,
        "sliding_window": None,
        # a Mistral has none of these, whatever its config says
        "attention_bias": False,
        "mlp_bias": False,
        **dict.fromkeys({"layer_types"} & config.keys()),
    }


def of_recipe(recipe: Mapping[str, Any], config: Mapping[str, Any], base: str) -> dict[str, Any]:
    """`changes` for a recipe and its base; none without ``as_llama: true``.

    A recipe with `StagePlugin` follows its base: one of a third family stays what it is.
    """
    is_third = config.get("model_type") not in ("llama", "mistral")
    if not parse(recipe.get(BLOCK)).as_llama or (is_third and is_named(recipe, "StagePlugin")):
        return {}
    length = recipe.get("sequence_len") or 0
    # Axolotl then fills a row with several sequences, and each token sees all before it
    joined = recipe.get("pretraining_dataset") and recipe.get("sample_packing")
    if joined and not recipe.get("pretrain_multipack_attn", True):
        length *= recipe.get("micro_batch_size") or 1
    return changes(config, base, length)


def converted(config: Any, llama: Mapping[str, Any]) -> Any:
    """transformers' own config of a model, with its `changes`."""
    from transformers import LlamaConfig

    return LlamaConfig.from_dict({**config.to_dict(), **llama}) if llama else config
