"""A Mistral model as a Llama: the same tensors, the same computation, another config.json.

Mistral's layers are Llama's with a sliding window. Within the window no token is hidden by it, and
the two compute the same. SOLAR 10.7B is "the 32-layer Llama 2 architecture" with Mistral 7B's
weights (paper, section 2); the released model has Mistral's window of 4,096 tokens as its number of
positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solar_plugins.depth_up_scaling.layer_map import BLOCK
from solar_plugins.errors import SolarError
from solar_plugins.recipes.registry import is_named

_KEY = f"{BLOCK}.as_llama"

# What transformers takes for a key that is not there; for Llama it takes another value, or none.
_MISTRAL = {
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
}


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
        Keys with new values, None for a key that is not to be there; nothing for a Llama.

    Raises:
        SolarError: there is no such Llama.
    """
    kind = config.get("model_type")
    if kind == "llama":
        return {}
    if kind != "mistral" or config.get("auto_map"):
        raise SolarError(
            f"{_KEY}: {base} is of model_type {kind}, and a Mistral alone has a Llama that "
            "computes the same. Remove as_llama."
        )
    found = {key: config.get(key, default) for key, default in _MISTRAL.items()}
    window, positions = found["sliding_window"], found["max_position_embeddings"]
    kept = positions if window is None else min(window, positions)
    if window is not None and longest > window:
        raise SolarError(
            f"{_KEY}: sequences of {longest} tokens are longer than the sliding window of {base}, "
            f"which a Llama does not have. Write sequence_len: {window}, or remove as_llama."
        )
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    scaling = rope.get("rope_type") or rope.get("type") or "default"
    if kept < positions and scaling != "default":
        raise SolarError(
            f"{_KEY}: {base} scales its rotary embedding ({scaling}) for {positions} positions, "
            f"and its sliding window leaves a Llama {kept}. Remove as_llama."
        )
    if (config.get("hidden_size") or 0) % (config.get("num_attention_heads") or 1):
        raise SolarError(
            f"{_KEY}: hidden_size {config['hidden_size']} of {base} is no multiple of its "
            f"{config['num_attention_heads']} heads, as transformers wants it of a Llama. Remove "
            "as_llama."
        )
    return {
        **found,
        "max_position_embeddings": kept,
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        # a Mistral has no biases, whatever its config says
        "attention_bias": False,
        "mlp_bias": False,
        # Mistral's code reads no layer_types; the cache of a Llama would
        **dict.fromkeys(["sliding_window", *(["layer_types"] if "layer_types" in config else [])]),
    }


def of_recipe(recipe: Mapping[str, Any], config: Mapping[str, Any], base: str) -> dict[str, Any]:
    """`changes` for a recipe with ``as_llama: true`` and its base.

    A recipe with `StagePlugin` follows its base: one of another family stays what it is.

    Raises:
        SolarError: as `changes`.
    """
    if stays(recipe, config):
        return {}
    length = recipe.get("sequence_len") or 0
    # Axolotl then fills rows of that many sequences, and each token sees all before it
    joined = recipe.get("pretraining_dataset") and recipe.get("sample_packing")
    if joined and not recipe.get("pretrain_multipack_attn", True):
        length *= recipe.get("micro_batch_size") or 1
    return changes(config, base, length)


def stays(recipe: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a base is of another family than Mistral and Llama, and the recipe follows it."""
    other = config.get("model_type") not in ("llama", "mistral")
    return other and is_named(recipe, "StagePlugin")


def applied(config: Mapping[str, Any], llama: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with `changes`."""
    return {
        key: value for key, value in {**config, **llama}.items() if llama.get(key, 0) is not None
    }
