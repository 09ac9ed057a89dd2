"""The deeper model's config: grown once, and handed to structure check, loading and writing."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
)

from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.depth_up_scaling.layer_map import (
    added_layers,
    check_in_between,
    check_keeps_base,
)
from solar_plugins.errors import SolarError
from solar_plugins.seams.transformers import from_json_values


@dataclass(frozen=True)
class Growth:
    """A base's config and the config of the deeper model.

    Attributes:
        base: config of the base.
        config: config of the deeper model.
        layer_map: base layer of every target layer.
        init: how the added layers start (`args.Init`).
        changes: fields of the (text) config that differ, with their new values.
        warnings: what depends on the depth and cannot follow it, one sentence each.
    """

    base: PreTrainedConfig
    config: PreTrainedConfig
    layer_map: list[int]
    init: str
    changes: dict[str, Any]
    warnings: list[str]

    @property
    def depth(self) -> int:
        """Layers of the base."""
        return self.base.get_text_config().num_hidden_layers

    @property
    def added(self) -> list[int]:
        """Target layers without which the model is the base; none where there is no such choice."""
        return added_layers(self.layer_map, self.depth) or []

    @property
    def mark(self) -> dict[str, Any]:
        """What the deeper model's config stores under the key `config_rules.MARK`."""
        return config_rules.mark(self.depth, self.layer_map, self.init)


SILENT = ("identity", "optimal_transport")
"""Inits under which the added layers change nothing before training."""

IN_BETWEEN = ("average", "optimal_transport")
"""Inits that make an added layer out of the two base layers that it is between."""


def grow(base: PreTrainedConfig, layer_map: Sequence[int], init: str = "copy") -> Growth:
    """Grow the config of a base, with its vision config if it has one; `base` stays unchanged.

    Raises:
        SolarError: the architecture cannot be grown like this, or its config would not survive
            saving.
    """
    depth = base_depth(base)
    if init in IN_BETWEEN:
        check_in_between(layer_map, depth, init)
    elif init in SILENT:
        check_keeps_base(layer_map, depth, init)
    config, grown = grow_part(base, layer_map)
    return Growth(base, config, list(layer_map), init, grown.changes, grown.warnings)


def grow_part(
    base_config: PreTrainedConfig, layer_map: Sequence[int]
) -> tuple[PreTrainedConfig, config_rules.GrownConfig]:
    """The grown config and what changed, also for the part that a model class is built from."""
    grown = _follow_layers(base_config, layer_map)
    config = copy.deepcopy(base_config)
    in_copy = config.get_text_config()
    for name, value in grown.changes.items():
        setattr(in_copy, name, value)
    after = reloaded(config).get_text_config()
    if after.num_hidden_layers != len(layer_map):
        raise SolarError(
            f"base_model: the depth of {config.model_type} does not follow "
            f"{_depth_key(in_copy)} ({after.num_hidden_layers} layers where {len(layer_map)} were "
            "set). Choose another base."
        )
    saved = after.to_dict()
    for name, value in grown.changes.items():
        if saved.get(name) != value:
            raise SolarError(
                f"base_model: {config.model_type} does not keep {name} in its config.json, so "
                f"that a saved model would come back with {saved.get(name)!r}. Choose another base."
            )
    return config, grown


def fields_of_depth(base: PreTrainedConfig, layer_map: Sequence[int]) -> set[str]:
    """Names of the config fields that follow from the layers, the depth included.

    Raises:
        SolarError: as `grow`.
    """
    return {"num_hidden_layers", *_follow_layers(base, layer_map).changes}


def _follow_layers(base: PreTrainedConfig, layer_map: Sequence[int]) -> config_rules.GrownConfig:
    text = base.get_text_config()
    key, content = _depth_key(text), text.to_dict()
    # Nemotron-H counts its layers by the list of their kinds and stores no number
    stores_depth = key in content
    content[key] = text.num_hidden_layers
    grown = config_rules.grow(content, layer_map, key)
    if not stores_depth:
        del grown.changes[key]
    return grown


def _depth_key(text: PreTrainedConfig) -> str:
    return text.attribute_map.get("num_hidden_layers", "num_hidden_layers")


def load_config(name: str | Path, trust_remote_code: bool, **options: Any) -> PreTrainedConfig:
    """The config of a folder or a Hub id, as transformers reads it.

    Raises:
        SolarError: it cannot.
    """
    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code, **options)
    except OSError as error:  # missing, not readable, or the Hub cannot be reached
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


def reloaded(config: PreTrainedConfig) -> PreTrainedConfig:
    """`config` as it comes back from the ``config.json`` that it would be saved to."""
    return from_json_values(type(config), json.loads(config.to_json_string()))


def config_for(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedConfig:
    """The part of `config` that `model_class` is built from.

    Some text models load from checkpoints whose config holds a vision config as well (llama4):
    the auto classes pass them the text config alone.
    """
    text = config.get_text_config()
    wants_text = issubclass(type(text), model_class.config_class or ())
    return text if wants_text and not isinstance(config, model_class.config_class) else config


def base_depth(config: PreTrainedConfig) -> int:
    """The number of layers of the language model of `config`.

    Raises:
        SolarError: its layers cannot be copied one by one.
    """
    refuse_uncovered(config)
    return config.get_text_config().num_hidden_layers


def refuse_uncovered(config: PreTrainedConfig) -> None:
    """Raise for the kinds of base whose layers cannot be copied one by one."""
    what = _other_than_a_decoder(config)
    if what:
        raise SolarError(
            f"base_model: {config.model_type} {what}. "
            "Depth up-scaling is for decoder-only language models; choose one."
        )
    quantization = config.to_dict().get("quantization_config")
    if quantization:
        raise SolarError(
            f"base_model: its weights are quantised already ({quantization.get('quant_method')}). "
            "Name the unquantised model; it can still be loaded in 4 bits."
        )


def _other_than_a_decoder(config: PreTrainedConfig) -> str | None:
    if config.is_encoder_decoder:  # first: the text config of some is ambiguous
        return "is an encoder-decoder model"
    text = config.get_text_config()
    several = text is not config and "text_config" not in config.sub_configs  # BLT
    if several or not hasattr(text, "num_hidden_layers"):
        return "has no single stack of layers"
    content = config.to_dict()
    causal = content.get("is_decoder") or content.get("causal")
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not causal:
        return "is an encoder, which reads text in both directions"
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and "auto_map" not in content:
        return "is not a causal language model that transformers knows"
    return None
