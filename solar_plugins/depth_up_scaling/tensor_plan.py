"""Which tensors of the base become which tensors of the deeper model, by their names on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from solar_plugins.depth_up_scaling import identity
from solar_plugins.depth_up_scaling.grown_config import config_for, grow_config, reloaded
from solar_plugins.depth_up_scaling.layer_map import added_layers
from solar_plugins.depth_up_scaling.structure import check_structure, skeleton
from solar_plugins.errors import SolarError

FLOATING = ("F64", "F32", "F16", "BF16")
"""As the safetensors header spells them: what is a weight as it was trained."""

Conversion = WeightRenaming | WeightConverter


@dataclass(frozen=True)
class Blueprint:
    """Base and deeper model without weights, once they were found to agree layer by layer.

    Attributes:
        base: the base's skeleton.
        layer_map: base layer of every target layer.
        layer_lists: names of the model's lists of layers (``model.layers``).
        depth: layers of the base.
        silent: parameters that start at zero in the added layers (`identity.starred` names).
    """

    base: PreTrainedModel
    layer_map: Sequence[int]
    layer_lists: list[str]
    depth: int
    silent: frozenset[str]

    def fits(self, model: PreTrainedModel) -> bool:
        """Whether `model` agrees with the base, too: classes may have been patched meanwhile."""
        if type(model) is not type(self.base):
            return False
        try:
            return check_structure(self.base, model, self.layer_map) == self.layer_lists
        except SolarError:
            return False


def blueprint(
    model_class: type[PreTrainedModel],
    base_config: PreTrainedConfig,
    layer_map: Sequence[int],
    init: str,
    target: PreTrainedModel | None = None,
) -> Blueprint:
    """Build the base without weights, and require that the deeper model agrees with it.

    Args:
        model_class: the class that the base is loaded with.
        base_config: the base's config, of whole models with vision too.
        layer_map: base layer of every target layer.
        init: ``copy``, or ``identity`` to zero the outputs of the added layers.
        target: the deeper model as `model_class` has built it; built here without weights if None.

    Raises:
        SolarError: they differ, one of them cannot be built, or the init is not possible.
    """
    try:
        base = skeleton(model_class, reloaded(config_for(model_class, base_config)))
        if target is None:
            config, _ = grow_config(base_config, layer_map)
            target = skeleton(model_class, reloaded(config_for(model_class, config)))
    except SolarError:
        raise
    except (IndexError, KeyError, TypeError, ValueError) as error:
        # a list too short for the layers, a size that does not divide, an unknown activation
        raise SolarError(
            f"base_model: its config builds no {base_config.model_type} "
            f"({type(error).__name__}: {' '.join(str(error).split())}). "
            "Correct the base's config.json."
        ) from None
    lists = check_structure(base, target, layer_map)
    depth = base.config.get_text_config().num_hidden_layers
    silent: frozenset[str] = frozenset()
    if init == "identity":
        identity.check_map(layer_map, depth)
        silent = identity.silencing_parameters(model_class, base.config, layer_map)
    return Blueprint(base, layer_map, lists, depth, silent)


@dataclass(frozen=True)
class TensorPlan:
    """What becomes of every tensor of a base.

    Attributes:
        targets: checkpoint name in the base -> its names in the deeper model; none where the
            layer is left out. Each target name is a tensor of its own.
        zeroed: target names whose tensor starts at zero (``init: identity``).
        dropped: names behind the base's last layer (heads for predicting several tokens).
    """

    targets: dict[str, list[str]]
    zeroed: frozenset[str]
    dropped: list[str]


def plan_tensors(
    layers: Blueprint, stored: Mapping[str, Mapping], conversions: Sequence[Conversion]
) -> TensorPlan:
    """Map the base's checkpoint to the deeper model's.

    Args:
        layers: how the deeper model is made of the base's layers.
        stored: name -> dtype and shape of every tensor in the base's files
            (`checkpoint_files.check_files`).
        conversions: how transformers renames checkpoint names (`get_model_conversion_mapping`).

    Raises:
        SolarError: the files do not fit the base's config, or a name whose layer cannot be told.
    """
    copies: dict[int, list[int]] = {}
    for i, j in enumerate(layers.layer_map):
        copies.setdefault(j, []).append(i)
    added = set(added_layers(layers.layer_map, layers.depth) or ()) if layers.silent else set()

    targets: dict[str, list[str]] = {}
    zeroed, dropped = set(), []
    places = key_layers(stored, layers.base, layers.layer_lists, conversions)
    for key in stored:
        place = places.get(key)
        if place is None:
            targets[key] = [key]
            continue
        names = {i: place.named(i) for i in copies.get(place.layer, ())}
        targets[key] = list(names.values())
        if place.layer >= layers.depth:
            dropped.append(key)
        elif layers.silent and place.parameter(layers.base) in layers.silent:
            zeroed.update(name for i, name in names.items() if i in added)
    _check_count(places.values(), layers.depth)
    return TensorPlan(targets, frozenset(zeroed), dropped)


def _check_count(places: Iterable[KeyLayer], depth: int) -> None:
    """Behind the last layer there may be heads, but no layer like the others."""
    inside: dict[int, set[tuple[str, str]]] = {}
    for place in places:
        inside.setdefault(place.layer, set()).add((place.layer_list, place.inside))
    counted = [inside.get(layer) for layer in range(depth)]
    more = [layer for layer, names in inside.items() if layer >= depth and names in counted]
    if None in counted or more:
        found = f"nothing of layer {counted.index(None)}" if None in counted else f"layer {more[0]}"
        raise SolarError(
            f"base_model: its files hold {found}, where its config.json counts {depth} layers. "
            "Correct that number, or fetch the base again."
        )


def _check_entry(key: str, entry: Mapping, wanted: torch.Tensor, converted: bool) -> None:
    """Require the dtype and, unless several tensors become one, the shape that the model wants."""
    if wanted.is_floating_point() and entry["dtype"] not in FLOATING:
        raise SolarError(
            f"base_model: {key} is stored as {entry['dtype']}, so that its weights are quantised "
            "already. Name the unquantised model; it can still be loaded in 4 bits."
        )
    shape = tuple(wanted.shape)
    if not converted and tuple(entry["shape"]) != shape:
        raise SolarError(
            f"base_model: {key} has the shape {tuple(entry['shape'])} in its files, where its "
            f"config.json wants {shape}. Fetch or write the base again."
        )


class KeyLayer(NamedTuple):
    """The layer that a checkpoint name is of: ``f"{before}{layer}{after}"``.

    Attributes:
        before: the name up to the layer's number.
        layer: the layer.
        after: the name behind it.
        layer_list: the model's list of layers that it is in.
        inside: the model's name of the parameter, inside the layer.
    """

    before: str
    layer: int
    after: str
    layer_list: str
    inside: str

    def named(self, layer: int) -> str:
        """The name of the same tensor in another layer."""
        return f"{self.before}{layer}{self.after}"

    def parameter(self, base: PreTrainedModel) -> str:
        """The parameter's `identity.starred` name."""
        return identity.starred(self.inside, base.get_submodule(self.layer_list)[self.layer])


_NUMBER = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)")


def key_layers(
    stored: Mapping[str, Mapping],
    base: PreTrainedModel,
    lists: Sequence[str],
    conversions: Sequence[Conversion],
) -> dict[str, KeyLayer]:
    """The layer of every checkpoint name that belongs to one, other names left out.

    A checkpoint may use other names than the model (``h.0.`` for ``transformer.h.0.``, one tensor
    per expert for one per layer): transformers' own renaming says which layer a name ends up in.

    Raises:
        SolarError: a name whose layer cannot be told, or a tensor that the model cannot take.
    """
    renamings = [entry for entry in conversions if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in conversions if isinstance(entry, WeightConverter)]
    prefix, state_dict = base.base_model_prefix, base.state_dict(keep_vars=True)
    inside_list = re.compile(rf"({'|'.join(map(re.escape, lists))})\.(\d+)\.(.+)")
    found = {}
    for key, entry in stored.items():
        name, converter = rename_source_key(key, renamings, converters, prefix, state_dict)
        if name not in state_dict and key in state_dict:
            name, converter = key, None
        if name in state_dict:
            _check_entry(key, entry, state_dict[name], converter is not None)
        # names of layers that the base's model does not have keep the checkpoint's short prefix
        match = inside_list.fullmatch(name) or inside_list.fullmatch(f"{prefix}.{name}")
        if match is None:
            continue
        number = _NUMBER.search(key)
        if number is None or number[0] != match[2]:
            raise SolarError(
                f"base_model: its checkpoint holds {key}, from which the layer cannot be told. "
                "Choose another base."
            )
        before, after = key[: number.start()], key[number.end() :]
        found[key] = KeyLayer(before, int(number[0]), after, match[1], match[3])
    return found
