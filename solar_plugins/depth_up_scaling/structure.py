"""Is target layer i built like base layer map[i]?

The rules of `config_rules` cover the fields we know. This check covers the ones we do not: it
builds base and target without weights (meta device) and compares their modules one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.errors import SolarError
from solar_plugins.seams.transformers import parts_of, stored_tensors_of

_SCALARS = (bool, int, float, str, type(None))


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
    """Shapes of the tensors that a checkpoint holds besides those of the layers."""
    start = f"{name}." if name else ""
    found = {start + key: shape for key, shape in _shapes(stored_tensors_of(module)).items()}
    for key, child in module.named_children():
        if start + key not in lists:
            found |= _outside(child, lists, start + key)
    return found


def _shapes(tensors: Mapping[str, torch.Tensor | None]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if tensor is not None}


def _difference(
    base: nn.Module,
    target: nn.Module,
    i: int,
    layer_map: Sequence[int],
    numbers_may_differ: bool,
    name: str = "",
) -> str | None:
    """The first difference of two modules of a layer, in words.

    Compares their classes, the shapes of their own tensors, their settings (what the constructors
    stored: sizes, flags, window, layer type), and the modules in them.
    """
    where = name or "the layer"
    if type(target) is not type(base):
        return f"{where} is {type(target).__name__}, not {type(base).__name__}"
    # this runs for every module of a model: most own no tensor and share their settings
    parameters, buffers, inside = parts_of(target)
    base_parameters, base_buffers, base_inside = parts_of(base)
    for ours, theirs in ((parameters, base_parameters), (buffers, base_buffers)):
        if (ours or theirs) and _shapes(ours) != _shapes(theirs):
            return f"{where} has tensors {_shapes(ours)}, not {_shapes(theirs)}"
    found, wanted = vars(target), vars(base)
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
    for key in sorted(inside.keys() | base_inside.keys()):
        path = f"{name}.{key}" if name else key
        child, base_child = inside.get(key), base_inside.get(key)
        if (child is None) != (base_child is None):
            return f"only one of the two has {path}"
        if child is None or base_child is None:
            continue
        difference = _difference(base_child, child, i, layer_map, numbers_may_differ, path)
        if difference:
            return difference
    return None


def _follows(
    found: Any, wanted: Any, i: int, layer_map: Sequence[int], numbers_may_differ: bool
) -> bool:
    """Equal, the layer's own index on both sides, or a per-layer list that was remapped.

    Values that are not plain (a config, a function) are not compared.
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
