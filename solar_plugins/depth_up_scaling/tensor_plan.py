"""Which tensors of the base become which tensors of the deeper model, by their names on disk."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from solar_plugins.depth_up_scaling import identity, transport
from solar_plugins.depth_up_scaling.growth import IN_BETWEEN, SILENT, Growth, config_for, reloaded
from solar_plugins.depth_up_scaling.layer_map import BLOCK
from solar_plugins.depth_up_scaling.structure import check_structure
from solar_plugins.errors import SolarError
from solar_plugins.models.safetensors_header import Tensor
from solar_plugins.seams.transformers import Conversion, parameter_names, skeleton

FLOATING = ("F64", "F32", "F16", "BF16")
"""Dtypes, as the safetensors header spells them, of weights that are not quantised."""


@dataclass(frozen=True)
class Blueprint:
    """The base without weights, once the deeper model was found to agree with it by layer.

    Attributes:
        base: the base's skeleton.
        growth: the configs of base and deeper model.
        layer_lists: names of the model's lists of layers (``model.layers``).
        silent: parameters that start at zero in the added layers (`identity.starred` names).
        units: for ``init: optimal_transport``, list and number of a base layer below an added one
            -> where its parameters hold heads and neurons.
    """

    base: PreTrainedModel
    growth: Growth
    layer_lists: list[str]
    silent: frozenset[str]
    units: dict[tuple[str, int], dict[str, transport.Place]]

    def fits(self, model: PreTrainedModel) -> bool:
        """Whether `model` agrees with the base, too: classes may have been patched meanwhile."""
        if type(model) is not type(self.base):
            return False
        try:
            return check_structure(self.base, model, self.growth.layer_map) == self.layer_lists
        except SolarError:
            return False


def blueprint(
    model_class: type[PreTrainedModel], growth: Growth, target: PreTrainedModel | None = None
) -> Blueprint:
    """Build the base without weights, and require that the deeper model agrees with it.

    Args:
        model_class: the class that the base is loaded with.
        growth: the configs of base and deeper model.
        target: the deeper model as `model_class` has built it; built here without weights if None.

    Raises:
        SolarError: they differ, one of them cannot be built, or the init is not possible.
    """
    try:
        base = skeleton(model_class, reloaded(config_for(model_class, growth.base)))
        if target is None:
            target = skeleton(model_class, reloaded(config_for(model_class, growth.config)))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        # a list too short for the layers, a size that does not divide, an unknown activation
        raise SolarError(
            f"base_model: its config builds no {growth.base.model_type} "
            f"({type(error).__name__}: {' '.join(str(error).split())}). "
            "Correct the base's config.json."
        ) from None
    lists = check_structure(base, target, growth.layer_map)
    units = {}
    if growth.init == "optimal_transport":
        text, below = base.config.get_text_config(), {growth.layer_map[i] for i in growth.added}
        at = [(path, j) for path in lists for j in below]
        units = {(path, j): transport.places(base.get_submodule(path)[j], text) for path, j in at}
    silent: frozenset[str] = frozenset()
    if growth.init in SILENT:
        silent = identity.silencing_parameters(model_class, base.config, growth.layer_map)
    return Blueprint(base, growth, lists, silent, units)


class Average(NamedTuple):
    """Two tensors of the base of which an added layer's is the mean.

    Attributes:
        lower, upper: their names.
        unit: the layer and module whose units they hold (``optimal_transport``), and `held` how:
            the lower one is reordered before.
    """

    lower: str
    upper: str
    unit: tuple[str, int, str] | None
    held: transport.Place | None


@dataclass(frozen=True)
class TensorPlan:
    """What becomes of every tensor of a base.

    Attributes:
        targets: checkpoint name in the base -> its names in the deeper model; none where the
            layer is left out. Each target name is a tensor of its own.
        zeroed: target names whose tensor starts at zero (``init: identity``, the outputs of
            ``optimal_transport``).
        averaged: target name -> what it starts as the mean of.
        dropped: names behind the base's last layer (heads for predicting several tokens).
    """

    targets: dict[str, list[str]]
    zeroed: frozenset[str]
    averaged: dict[str, Average]
    dropped: list[str]

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one sentence each."""
        if not self.dropped:
            return []
        return [
            f"{len(self.dropped)} tensors behind the base's last layer (heads for predicting "
            "several tokens) are not copied."
        ]


def plan_tensors(
    layers: Blueprint, stored: Mapping[str, Tensor], conversions: Sequence[Conversion]
) -> TensorPlan:
    """Map the base's checkpoint to the deeper model's.

    Raises:
        SolarError: the files do not fit the base's config, or a name is of an unknown layer.
    """
    growth = layers.growth
    copies: dict[int, list[int]] = {}
    for i, j in enumerate(growth.layer_map):
        copies.setdefault(j, []).append(i)
    added = set(growth.added)

    targets: dict[str, list[str]] = {}
    zeroed: set[str] = set()
    averaged: dict[str, Average] = {}
    dropped: list[str] = []
    places = key_layers(stored, layers.base, layers.layer_lists, conversions)
    for key in stored:
        place = places.get(key)
        if place is None:
            targets[key] = [key]
            continue
        names = {i: place.named(i) for i in copies.get(place.layer, ())}
        targets[key] = list(names.values())
        new = [name for i, name in names.items() if i in added]
        if place.layer >= growth.depth:
            dropped.append(key)
        elif layers.silent and place.parameter(layers.base) in layers.silent:
            zeroed.update(new)
        elif growth.init in IN_BETWEEN and new and place.layer + 1 < growth.depth:
            following = place.named(place.layer + 1)
            _check_alike(growth.init, stored[key], stored.get(following), place.layer)
            at = (place.layer_list, place.layer)
            held = layers.units.get(at, {}).get(place.inside)
            average = Average(key, following, held and (*at, held.module), held)
            averaged.update(dict.fromkeys(new, average))
    _check_count(places.values(), growth.depth)
    return TensorPlan(targets, frozenset(zeroed), averaged, dropped)


def averages(
    averaged: Mapping[str, Average], read: Callable[[str], torch.Tensor]
) -> Callable[[str], torch.Tensor]:
    """A function: a name in `averaged` of a plan -> its tensor; `read` gives the base's."""

    @functools.cache  # all tensors of a unit have one
    def order(unit: tuple[str, int, str], count: int) -> torch.Tensor:
        of_unit = [each for each in averaged.values() if each.unit == unit]
        parts = ((read(e.lower), read(e.upper), e.held.dim) for e in of_unit if e.held)
        return transport.order(count, parts)

    def average(name: str) -> torch.Tensor:
        lower, upper, unit, held = averaged[name]
        first = read(lower)
        if unit and held:
            first = transport.reordered(first, order(unit, held.number), held.dim)
        return mean(first, read(upper))

    return average


def mean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The mean of two tensors of one shape, computed in float32 at least; the dtype of `a`."""
    wide = torch.promote_types(a.dtype, torch.float32)
    return ((a.to(wide) + b.to(wide)) / 2).to(a.dtype)


def _check_alike(init: str, tensor: Tensor, following: Tensor | None, layer: int) -> None:
    """Require that the next layer has a tensor of this name, dtype and shape."""
    if following is None or following[1:3] != tensor[1:3]:
        raise SolarError(
            f"{BLOCK}.init: {init} needs neighbours that are built alike, and layers {layer} and "
            f"{layer + 1} of this base are not ({tensor.name}). Write init: copy or identity."
        )


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


def _check_stored(tensor: Tensor, wanted: torch.Tensor, converted: bool) -> None:
    """Require the dtype and, unless several tensors become one, the shape that the model needs."""
    if wanted.is_floating_point() and tensor.dtype not in FLOATING:
        raise SolarError(
            f"base_model: {tensor.name} is stored as {tensor.dtype}, so that its weights are "
            "quantised already. Name the unquantised model; it can still be loaded in 4 bits."
        )
    shape = tuple(wanted.shape)
    if not converted and tensor.shape != shape:
        raise SolarError(
            f"base_model: {tensor.name} has the shape {tensor.shape} in its files, where its "
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
    stored: Mapping[str, Tensor],
    base: PreTrainedModel,
    lists: Sequence[str],
    conversions: Sequence[Conversion],
) -> dict[str, KeyLayer]:
    """The layer of every checkpoint name that belongs to one, other names left out.

    A checkpoint may use other names than the model (``h.0.`` for ``transformer.h.0.``, one tensor
    per expert for one per layer): transformers' own renaming gives the layer of a name.

    Raises:
        SolarError: a name is of an unknown layer, or the model cannot take a tensor.
    """
    prefix, wanted = base.base_model_prefix, base.state_dict(keep_vars=True)
    name_of = parameter_names(prefix, wanted, conversions)
    inside_list = re.compile(rf"({'|'.join(map(re.escape, lists))})\.(\d+)\.(.+)")
    found = {}
    for key, tensor in stored.items():
        name, converted = name_of(key)
        if name in wanted:
            _check_stored(tensor, wanted[name], converted)
        # names of layers that the base's model does not have keep the checkpoint's short prefix
        match = inside_list.fullmatch(name) or inside_list.fullmatch(f"{prefix}.{name}")
        if match is None:
            continue
        number = _NUMBER.search(key)
        if number is None or number[0] != match[2]:
            raise SolarError(
                f"base_model: its checkpoint holds {key}, whose layer is unknown. "
                "Choose another base."
            )
        before, after = key[: number.start()], key[number.end() :]
        found[key] = KeyLayer(before, int(number[0]), after, match[1], match[3])
    return found
