"""Exact parameter counts, from a model built on the meta device: shapes, and no memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config
from solar_plugins.quiet import quiet


@dataclass(frozen=True)
class ModelSize:
    """What of a model decides memory, disk and time.

    Attributes:
        token_weights: Weights that one token is multiplied with: those of matrices, the head's
            also where it is the embedding; of experts, only as many as a token is sent to.
        attention: Of each layer that has attention: query channels, and its sliding window.
    """

    parameters: int  # tied ones count once
    largest_layer: int  # parameters of the largest single module, which ZeRO-3 gathers whole
    layers: int
    hidden_size: int
    layers_are_alike: bool  # weights of the same names and shapes in each
    token_weights: int
    attention: tuple[tuple[int, int | None], ...]


def of(config: dict[str, Any]) -> ModelSize:
    """The size of the causal language model with the config.json content `config`.

    Raises:
        SolarError: transformers does not know the architecture.
    """
    return _of(json.dumps(config, sort_keys=True))


@cache
def _of(text: str) -> ModelSize:
    with quiet():
        import torch
        from transformers import AutoModelForCausalLM

    config = transformers_config(json.loads(text))
    with quiet(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    text_config = config.get_text_config()
    shapes = (
        frozenset((name, weight.shape) for name, weight in layer.named_parameters())
        for layer in layers(model)
    )
    return ModelSize(
        # `parameters()` gives a tied weight once.
        parameters=sum(p.numel() for p in model.parameters()),
        largest_layer=max(
            sum(p.numel() for p in module.parameters(recurse=False)) for module in model.modules()
        ),
        layers=text_config.num_hidden_layers,
        hidden_size=text_config.hidden_size,
        layers_are_alike=len(set(shapes)) == 1,
        token_weights=_token_weights(model, text_config),
        attention=_attention(text_config),
    )


def _token_weights(model: Any, config: Any) -> int:
    from torch.nn import Embedding

    # Named so by the mixtures of experts of transformers, some of them through an attribute map.
    sent_to = getattr(config, "num_experts_per_tok", None)
    count = 0
    for module_name, module in model.named_modules():
        if isinstance(module, Embedding):  # looked up
            continue
        # transformers keeps the matrices of all experts in one weight.
        of_experts = "experts" in module_name.split(".") and sent_to is not None
        for weight in module.parameters(recurse=False):
            if of_experts and weight.dim() == 3:
                count += weight[0].numel() * min(sent_to, weight.shape[0])
            elif not of_experts and weight.dim() > 1:
                count += weight.numel()
    return count


def _attention(config: Any) -> tuple[tuple[int, int | None], ...]:
    heads = getattr(config, "num_attention_heads", None)
    if not isinstance(heads, int):
        return ()  # a state-space model
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    if getattr(config, "qk_head_dim", None) and getattr(config, "v_head_dim", None):
        width = (config.qk_head_dim + config.v_head_dim) // 2  # latent attention
    channels = heads * width
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return ((channels, window),) * config.num_hidden_layers
    return tuple(
        (channels, window if kind == "sliding_attention" else None)
        for kind in kinds
        if kind in ("full_attention", "sliding_attention")
    )


def transformers_config(config: dict[str, Any]) -> Any:
    """The content of a config.json as transformers' own object.

    Raises:
        SolarError: transformers does not know the architecture.
    """
    with quiet():
        from transformers import AutoConfig

    values = dict(config)
    kind = values.pop("model_type", None)
    try:
        return AutoConfig.for_model(kind, **values)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SolarError(f"base_model: model_type {kind!r} cannot be planned: {reason}") from error


def layers(model: Any) -> Any:
    """The list of the model's layers, a `torch.nn.ModuleList`."""
    from torch.nn import ModuleList

    depth = model.config.get_text_config().num_hidden_layers
    return next(
        part for part in model.modules() if isinstance(part, ModuleList) and len(part) == depth
    )


def with_layers(config: dict[str, Any], layer_map: list[int]) -> dict[str, Any]:
    """`config` of the model whose layer i is layer ``layer_map[i]`` of the one `config` is of."""
    text = model_config.language_model(config)
    key = transformers_config(config).get_text_config().attribute_map.get("num_hidden_layers")
    grown = {**text, **config_rules.grow(text, layer_map, key or "num_hidden_layers").changes}
    return grown if text is config else {**config, "text_config": grown}
