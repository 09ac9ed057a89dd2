"""A tiny random model of any family, from a config of that family.

Only widths shrink: the layers, their kinds and every switch stay as the config has them, so that
what holds for the tiny model holds for the large one. `identity` finds there which parameters
silence a layer, and the tests up-scale one of every architecture that transformers knows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import PreTrainedConfig, PreTrainedModel

VOCABULARY = 64

_TABLES: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_suffix(".yml").read_text(encoding="utf-8")
)
_WIDTHS: dict[int, str] = _TABLES["widths"]
"""Width in the tiny model -> names of the config fields that get it."""

_GROUPED = ("num_key_value_heads", "swa_num_key_value_heads", "num_kv_heads", "num_query_groups")
"""Heads that several attention heads share: all of them (as many), one, or in between."""

_FAMILIES: dict[str, dict[str, int]] = _TABLES["families"]
"""Widths that must fit each other in a family's own way."""


def shrunk(config: PreTrainedConfig) -> PreTrainedConfig:
    """`config`, of a language model or of one with others in it, with small widths."""
    content = config.to_dict()
    for name in ("_name_or_path", "output_attentions"):  # written by to_dict, not always read back
        content.pop(name, None)
    for name in config.sub_configs:
        part = getattr(config, name)
        if isinstance(part, PreTrainedConfig):
            content[name] = shrunk(part)
    changes: dict[str, Any] = {}
    for width, names in _WIDTHS.items():
        for name in names.split():
            own = config.attribute_map.get(name, name)
            value = content.get(own)
            if isinstance(value, int) and not isinstance(value, bool):
                changes[own] = min(width, value)
            elif isinstance(value, list):
                changes[own] = [width] * len(value)
    heads = content.get(config.attribute_map.get("num_attention_heads", "num_attention_heads"))
    for name in _GROUPED:
        if isinstance(content.get(name), int):
            changes[name] = 4 if content[name] == heads else min(2, content[name])
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if name in content and content[name] is not None:
            changes[name] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}[name]
    if isinstance(content.get("n_group"), int):
        changes.update(n_group=min(2, content["n_group"]), topk_group=1)
    if isinstance(content.get("rope_parameters"), dict):
        changes["rope_parameters"] = _small_rope(content["rope_parameters"])
    changes.update(_FAMILIES.get(config.model_type, {}))
    return type(config).from_dict({**content, **changes})


def _small_rope(parameters: dict[str, Any]) -> dict[str, Any]:
    """Rotary settings that fit heads of eight: no factor per dimension, an even share of them."""
    if any(isinstance(value, dict) for value in parameters.values()):  # one for each layer type
        return {k: _small_rope(v) if isinstance(v, dict) else v for k, v in parameters.items()}
    small = dict(parameters)
    if small.get("rope_type") == "longrope":
        small = {"rope_type": "default", "rope_theta": small.get("rope_theta", 1e4)}
        small |= {k: v for k, v in parameters.items() if k == "partial_rotary_factor"}
    if int(8 * small.get("partial_rotary_factor", 1.0)) % 2:
        small["partial_rotary_factor"] = 0.5
    return small


def random_model(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """A float32 model of this config in which no two weights are equal, in eval mode."""
    with torch.random.fork_rng(devices=[]):  # a training run around us keeps its random numbers
        torch.manual_seed(0)
        model = model_class(config).float().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.2)
    return model
