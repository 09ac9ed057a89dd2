"""Load the base's checkpoint straight into the deeper model.

transformers asks for tensors by name and does not care where they come from. So it is handed a
state dict whose names are those of the deeper model and whose tensors still lie in the base's
files: nothing is written, and nothing is read twice.

A base layer that is used twice must become two parameters. One slice under two names would give
two views of the same pages: training one would train both, and saving would fail. A second
`safe_open` of the same file maps it again, copy-on-write, so that the repeated layers own no
memory until they are written.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from safetensors import safe_open
from transformers import PreTrainedConfig, PreTrainedModel, modeling_utils
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.depth_up_scaling.checkpoint_files import check_files
from solar_plugins.depth_up_scaling.structure import check_structure, reloaded, skeleton
from solar_plugins.errors import SolarError


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
    config = copy.deepcopy(base_config)
    text = config.get_text_config()
    depth_key = text.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    grown = config_rules.grow(text.to_dict(), layer_map, depth_key)
    for name, value in grown.changes.items():
        setattr(text, name, value)
    saved = reloaded(config).get_text_config().to_dict()
    for name, value in grown.changes.items():
        if saved.get(name) != value:
            raise SolarError(
                f"base_model: {config.model_type} does not keep {name} in its config.json, so "
                f"that a saved model would come back with {saved.get(name)!r}. Choose another base."
            )
    return config, grown


def refuse_uncovered(config: PreTrainedConfig) -> None:
    """Raise for the kinds of base whose layers cannot be taken over one by one."""
    if config.is_encoder_decoder:
        raise SolarError(
            f"base_model: {config.model_type} is an encoder-decoder model. "
            "Depth up-scaling is for decoder-only language models; choose one."
        )
    quantization = config.to_dict().get("quantization_config")
    if quantization:
        raise SolarError(
            f"base_model: its weights are quantised already ({quantization.get('quant_method')}). "
            "Name the unquantised model; it can still be loaded in 4 bits."
        )


@dataclass
class UpScaledLoading:
    """What one load through `up_scaled_loading` did.

    Attributes:
        model_class: class of the model that was loaded, None before.
        dropped: checkpoint names behind the last layer (multi-token prediction heads).
    """

    model_class: type[PreTrainedModel] | None = None
    dropped: list[str] = field(default_factory=list)


@contextmanager
def up_scaled_loading(
    base_config: PreTrainedConfig, layer_map: Sequence[int]
) -> Iterator[UpScaledLoading]:
    """Within the block, ``from_pretrained(base, config=grown)`` fills the deeper model.

    Acts on models of the new depth only, in the ordinary and in the ZeRO-3 branch of transformers.

    >>> config, _ = grow_config(base_config, layer_map)               # doctest: +SKIP
    >>> with up_scaled_loading(base_config, layer_map):               # doctest: +SKIP
    ...     model = AutoModelForCausalLM.from_pretrained(base, config=config)

    Raises:
        SolarError: on loading, when the base's files or its architecture cannot be remapped.
    """
    original = PreTrainedModel._load_pretrained_model
    report = UpScaledLoading()

    def load(model, state_dict, checkpoint_files, load_config, expected_keys=None):
        depth = model.config.get_text_config().num_hidden_layers
        if state_dict is None and depth == len(layer_map):
            state_dict, lists = _remapped(
                model, base_config, layer_map, checkpoint_files, load_config, report
            )
            result = original(model, state_dict, checkpoint_files, load_config, expected_keys)
            _refuse_missing(model, lists, result[0].missing_keys, load_config)
            report.model_class = type(model)
            return result
        return original(model, state_dict, checkpoint_files, load_config, expected_keys)

    PreTrainedModel._load_pretrained_model = staticmethod(load)
    try:
        yield report
    finally:
        PreTrainedModel._load_pretrained_model = staticmethod(original)


def remapped_state_dict(
    files: Iterable[str], key_layers: dict[str, KeyLayer], layer_map: Sequence[int], mapped: bool
) -> dict[str, Any]:
    """The base's tensors under the names that the deeper model's checkpoint would have.

    Args:
        files: the base's safetensors files.
        key_layers: the checkpoint names that belong to a layer.
        layer_map: base layer of every target layer.
        mapped: give tensors that view the mapped file (ZeRO-3 needs real ones) in place of slices
            that are read when they are asked for.
    """
    targets: dict[int, list[int]] = {}
    for i, j in enumerate(layer_map):
        targets.setdefault(j, []).append(i)
    uses = max(Counter(layer_map).values())

    state_dict: dict[str, Any] = {}
    for file in files:
        # one handle, hence one private mapping, for each time that a layer is used
        handles = [safe_open(file, framework="pt", device="cpu") for _ in range(uses)]
        for key in handles[0].keys():  # noqa: SIM118 (safe_open is no mapping)
            place = key_layers.get(key)
            names = [key] if place is None else map(place.named, targets.get(place.layer, ()))
            for name, handle in zip(names, handles, strict=False):
                state_dict[name] = handle.get_tensor(key) if mapped else handle.get_slice(key)
    return state_dict


@dataclass(frozen=True)
class KeyLayer:
    """Where a checkpoint name says its layer: ``parts[position] == str(layer)``."""

    parts: tuple[str, ...]
    position: int

    @property
    def layer(self) -> int:
        return int(self.parts[self.position])

    def named(self, layer: int) -> str:
        """The name of the same tensor in another layer."""
        return ".".join(
            (*self.parts[: self.position], str(layer), *self.parts[self.position + 1 :])
        )


def key_layers(
    keys: Iterable[str],
    base: PreTrainedModel,
    lists: Sequence[str],
    conversions: Sequence[WeightRenaming | WeightConverter],
) -> dict[str, KeyLayer]:
    """The layer of every checkpoint name that belongs to one, other names left out.

    A checkpoint may use other names than the model (``h.0.`` for ``transformer.h.0.``, one tensor
    per expert for one per layer): transformers' own renaming says which layer a name ends up in.

    Raises:
        SolarError: a name whose layer cannot be told.
    """
    renamings = [entry for entry in conversions if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in conversions if isinstance(entry, WeightConverter)]
    prefix, state_dict = base.base_model_prefix, base.state_dict(keep_vars=True)
    found = {}
    for key in keys:
        name, _ = rename_source_key(key, renamings, converters, prefix, state_dict)
        if name not in state_dict and key in state_dict:
            name = key
        # names of layers that the base's model does not have keep the checkpoint's short prefix
        inside = [f for f in (name, f"{prefix}.{name}") for li in lists if f.startswith(f"{li}.")]
        if not inside:
            continue
        depth_of = [int(p) for p in inside[0].split(".") if p.isdigit()]
        parts = tuple(key.split("."))
        numbers = [position for position, part in enumerate(parts) if part.isdigit()]
        if not depth_of or not numbers or int(parts[numbers[0]]) != depth_of[0]:
            raise SolarError(
                f"base_model: its checkpoint holds {key}, from which the layer cannot be told. "
                "Choose another base."
            )
        found[key] = KeyLayer(parts, numbers[0])
    return found


def _remapped(model, base_config, layer_map, checkpoint_files, load_config, report):
    """The state dict for `model`, and the names of its layer lists."""
    if load_config.hf_quantizer is not None and load_config.hf_quantizer.pre_quantized:
        refuse_uncovered(base_config)
    device_map = load_config.device_map
    if isinstance(device_map, dict) and "disk" in device_map.values():
        raise SolarError(
            "device_map: puts layers on disk, which reads the base's files by their own names. "
            "Train with DeepSpeed ZeRO-3 and offloading to fit a larger model."
        )
    check_files(checkpoint_files)
    base = skeleton(type(model), reloaded(base_config))
    target = skeleton(type(model), reloaded(model.config))
    lists = check_structure(base, target, layer_map)

    keys: list[str] = []
    for file in checkpoint_files:
        with safe_open(file, framework="pt") as handle:
            keys.extend(handle.keys())
    places = key_layers(keys, base, lists, load_config.weight_mapping or ())
    depth = base_config.get_text_config().num_hidden_layers
    report.dropped = [key for key, place in places.items() if place.layer >= depth]
    mapped = modeling_utils.is_deepspeed_zero3_enabled() and not load_config.is_quantized
    return remapped_state_dict(checkpoint_files, places, layer_map, mapped), lists


def _refuse_missing(model, lists, missing_keys, load_config) -> None:
    inside = tuple(f"{name}." for name in lists)
    parameters = {name for name, _ in model.named_parameters()}
    missing = sorted(k for k in missing_keys if k in parameters and k.startswith(inside))
    if missing:
        raise SolarError(
            f"base_model: {load_config.pretrained_model_name_or_path} has no tensor for "
            f"{missing[0]} ({len(missing)} missing in all). Fetch or write the base again."
        )
