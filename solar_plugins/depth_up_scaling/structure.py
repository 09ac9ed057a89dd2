"""Is target layer i built like base layer map[i]?

The rules of `config_rules` cover the fields we know. This check covers the ones we do not: it
builds base and target without weights (meta device) and compares their modules one by one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.initialization import (
    meta_device_safe_creation_ops,
    no_init_weights,
    no_tie_weights,
)

from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.errors import SolarError

_SCALARS = (bool, int, float, str, type(None))


def skeleton(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """`model_class` with this config and no weights.

    Built by the class itself: ``AutoModel.from_config`` would enter ``zero.Init`` under ZeRO-3.
    """
    with (
        torch.device("meta"),
        meta_device_safe_creation_ops(),
        no_init_weights(),
        no_tie_weights(),
    ):
        return model_class(copy.deepcopy(config))


def layer_lists(base: nn.Module, target: nn.Module) -> list[str]:
    """Names of the lists whose length follows the depth (``model.layers`` in most models)."""
    base_depth = base.config.get_text_config().num_hidden_layers
    target_depth = target.config.get_text_config().num_hidden_layers
    lengths = {n: len(m) for n, m in target.named_modules() if isinstance(m, nn.ModuleList)}
    return [
        name
        for name, module in base.named_modules()
        if isinstance(module, nn.ModuleList)
        and len(module) == base_depth
        and lengths.get(name) == target_depth
    ]


def check_structure(
    base: PreTrainedModel, target: PreTrainedModel, layer_map: Sequence[int]
) -> list[str]:
    """Require that target layer i is built like base layer ``layer_map[i]``, and the rest equal.

    Args:
        base: skeleton of the base.
        target: skeleton at the new depth.
        layer_map: base layer of every target layer.

    Returns:
        The names of the layer lists.

    Raises:
        SolarError: the first difference, in words.
    """
    family = base.config.model_type
    lists = layer_lists(base, target)
    if not lists:
        raise SolarError(
            f"base_model: {type(base).__name__} ({family}) keeps no list of "
            f"{base.config.get_text_config().num_hidden_layers} layers that grows with its config. "
            "Choose another base."
        )
    # where the config says that layers are scaled by their position, numbers may differ with it
    numbers_may_differ = bool(config_rules.depth_in_the_maths(base.config.to_dict(), 0, 0))
    for name in lists:
        base_layers, target_layers = base.get_submodule(name), target.get_submodule(name)
        for i, j in enumerate(layer_map):
            difference = _difference(
                base_layers[j], target_layers[i], i, layer_map, numbers_may_differ
            )
            if difference:
                raise SolarError(
                    f"base_model: {family} would not build layer {i} like layer {j} of the base, "
                    f"from which it is copied: {difference}. Choose another "
                    "depth_up_scaling.remove_layers or another base."
                )
    outside_base, outside_target = _outside(base, lists), _outside(target, lists)
    for name in sorted(outside_base.keys() | outside_target.keys()):
        if outside_base.get(name) != outside_target.get(name):
            raise SolarError(
                f"base_model: {name} of {family} depends on the depth "
                f"({outside_base.get(name)} at the base's, {outside_target.get(name)} at the new "
                "one), so that there is nothing to copy it from. Choose another base."
            )
    return lists


def _outside(module: nn.Module, lists: Sequence[str], name: str = "") -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that a checkpoint holds beside those of the layers."""
    own = vars(module)
    tensors = own["_parameters"] | own["_buffers"]
    stored = tensors.keys() - own["_non_persistent_buffers_set"]
    found = {_joined(name, key): shape for key, shape in _shapes(tensors).items() if key in stored}
    for key, child in module.named_children():
        if (path := _joined(name, key)) not in lists:
            found |= _outside(child, lists, path)
    return found


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _shapes(tensors: dict[str, torch.Tensor | None]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if tensor is not None}


def _difference(
    base: nn.Module,
    target: nn.Module,
    i: int,
    layer_map: Sequence[int],
    numbers_may_differ: bool,
    name: str = "",
) -> str | None:
    """The first thing in which two modules of a layer differ, in words.

    Classes, shapes of their own tensors, settings (what the constructors remembered: sizes, flags,
    window, layer type), and so on for the modules in them.
    """
    where = name or "the layer"
    if type(target) is not type(base):
        return f"{where} is {type(target).__name__}, not {type(base).__name__}"
    # this runs for every module of a model: most own no tensor and share their settings
    found, wanted = vars(target), vars(base)
    for kind in ("_parameters", "_buffers"):
        if (found[kind] or wanted[kind]) and _shapes(found[kind]) != _shapes(wanted[kind]):
            tensors, base_tensors = _shapes(found[kind]), _shapes(wanted[kind])
            return f"{where} has tensors {tensors}, not {base_tensors}"
    different = [
        key
        for key in found.keys() | wanted.keys()
        if key[0] != "_"  # nn.Module's own
        and found.get(key) is not wanted.get(key)
        and not _follows(found.get(key), wanted.get(key), i, layer_map, numbers_may_differ)
    ]
    if different:
        key = min(different)
        return f"{where} has {key} = {found.get(key)!r}, not {wanted.get(key)!r}"
    inside, base_inside = found["_modules"], wanted["_modules"]
    for key in sorted(inside.keys() | base_inside.keys()):
        path = _joined(name, key)
        ours, theirs = inside.get(key), base_inside.get(key)
        if (ours is None) != (theirs is None):
            return f"only one of the two has {path}"
        if ours is None or theirs is None:
            continue
        difference = _difference(theirs, ours, i, layer_map, numbers_may_differ, path)
        if difference:
            return difference
    return None


def _follows(
    found: Any, wanted: Any, i: int, layer_map: Sequence[int], numbers_may_differ: bool
) -> bool:
    """Equal, or the layer's own index on both sides, or a per-layer list that was remapped.

    What is no plain value (a config, a function) is not looked at.
    """
    found, wanted = (value if _is_plain(value) else None for value in (found, wanted))
    if found == wanted or (found, wanted) == (i, layer_map[i]):
        return True
    if isinstance(found, list | tuple) and isinstance(wanted, list | tuple):
        in_range = len(wanted) > max(layer_map)
        return in_range and list(found) == [wanted[j] for j in layer_map]
    return numbers_may_differ and isinstance(found, float)


def _is_plain(value: Any) -> bool:
    kind = type(value)  # isinstance asks a config for its class, which takes it long
    if issubclass(kind, list | tuple):
        return all(_is_plain(item) for item in value)
    return issubclass(kind, _SCALARS)
