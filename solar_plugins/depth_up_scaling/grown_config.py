"""The config of the deeper model, as an object of transformers."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
)

from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.errors import SolarError


def load_config(name: str | Path, trust_remote_code: bool, **options: Any) -> PreTrainedConfig:
    """The config of a folder or a Hub id, as transformers reads it.

    Raises:
        SolarError: it cannot.
    """
    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code, **options)
    except OSError as error:  # not there, not readable, or the Hub cannot be reached
        raise SolarError(f"base_model: no config of {name}. {_lines(error)[0]}") from None
    except StrictDataclassError as error:
        raise SolarError(f"base_model: the config of {name}: {_lines(error)[-1]}") from None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise SolarError(
            f"base_model: the config of {name} cannot be read ({' '.join(_lines(error))}). "
            "Correct its config.json, or name another base."
        ) from None


def _lines(error: Exception) -> list[str]:
    return [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]


def base_depth(config: PreTrainedConfig) -> int:
    """How many layers the language model of `config` has.

    Raises:
        SolarError: it is no model whose layers can be taken over one by one.
    """
    refuse_uncovered(config)
    return config.get_text_config().num_hidden_layers


def grow_config(
    base_config: PreTrainedConfig, layer_map: Sequence[int]
) -> tuple[PreTrainedConfig, config_rules.GrownConfig]:
    """A copy of `base_config` for the model whose layers come from ``layer_map``.

    Returns:
        The config, and what was changed in it (in its text config, if it has one).

    Raises:
        SolarError: the architecture cannot be grown, or its config would not survive saving.
    """
    refuse_uncovered(base_config)
    return grow_part(base_config, layer_map)


def grow_part(
    base_config: PreTrainedConfig, layer_map: Sequence[int]
) -> tuple[PreTrainedConfig, config_rules.GrownConfig]:
    """`grow_config` for the part of a config that a model class is built from (`config_for`)."""
    text = base_config.get_text_config()
    depth_key = text.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    content = text.to_dict()
    # Nemotron-H counts its layers by the list of their kinds and stores no number
    stores_depth = depth_key in content
    content[depth_key] = text.num_hidden_layers
    grown = config_rules.grow(content, layer_map, depth_key)
    if not stores_depth:
        del grown.changes[depth_key]

    config = copy.deepcopy(base_config)
    in_copy = config.get_text_config()
    for name, value in grown.changes.items():
        setattr(in_copy, name, value)
    after = reloaded(config).get_text_config()
    saved = after.to_dict()
    if after.num_hidden_layers != len(layer_map):
        raise SolarError(
            f"base_model: the depth of {config.model_type} does not follow {depth_key} "
            f"({after.num_hidden_layers} layers where {len(layer_map)} were set). "
            "Choose another base."
        )
    for name, value in grown.changes.items():
        if saved.get(name) != value:
            raise SolarError(
                f"base_model: {config.model_type} does not keep {name} in its config.json, so "
                f"that a saved model would come back with {saved.get(name)!r}. Choose another base."
            )
    return config, grown


def reloaded(config: PreTrainedConfig) -> PreTrainedConfig:
    """`config` as it comes back from the ``config.json`` that it would be saved to."""
    content = json.loads(config.to_json_string())
    return type(config).from_dict(type(config)._decode_special_floats(content))


def config_for(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedConfig:
    """The part of `config` that `model_class` is built from.

    Some text models load from checkpoints whose config holds a vision config as well (llama4):
    the auto classes hand them the text config alone.
    """
    text = config.get_text_config()
    wants_text = issubclass(type(text), model_class.config_class or ())
    return text if wants_text and not isinstance(config, model_class.config_class) else config


def refuse_uncovered(config: PreTrainedConfig) -> None:
    """Raise for the kinds of base whose layers cannot be taken over one by one."""
    if config.is_encoder_decoder:
        raise SolarError(
            f"base_model: {config.model_type} is an encoder-decoder model. "
            "Depth up-scaling is for decoder-only language models; choose one."
        )
    text = config.get_text_config()
    several = text is not config and "text_config" not in config.sub_configs  # BLT
    if several or not hasattr(text, "num_hidden_layers"):
        raise SolarError(
            f"base_model: {config.model_type} has no single stack of layers. "
            "Depth up-scaling is for decoder-only language models; choose one."
        )
    content = config.to_dict()
    causal = content.get("is_decoder") or content.get("causal")
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not causal:
        raise SolarError(
            f"base_model: {config.model_type} is an encoder, which reads text in both directions. "
            "Depth up-scaling is for decoder-only language models; choose one."
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and "auto_map" not in content:
        raise SolarError(
            f"base_model: {config.model_type} is no causal language model that transformers "
            "knows. Depth up-scaling is for decoder-only language models; choose one."
        )
    quantization = content.get("quantization_config")
    if quantization:
        raise SolarError(
            f"base_model: its weights are quantised already ({quantization.get('quant_method')}). "
            "Name the unquantised model; it can still be loaded in 4 bits."
        )
