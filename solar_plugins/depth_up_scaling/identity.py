"""Added layers that start as no-ops: the deeper model computes what the base computes.

In a residual block x + f(x), f ends in parameters that silence it when they are zero: attention's
output projection, the MLP's down projection, the experts', an SSM's, or the norm behind them where
the block has one (OLMo 2). Their names differ from family to family, so they are found by trying:
a tiny random model of the same config (same layers, small widths) is grown with everything in the
added layers at zero, and then every parameter, in the order in which a forward pass meets them,
gets its value back unless the logits change. What must stay zero is the outputs, and the layer can
learn: all that comes before them is the base layer's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedConfig, PreTrainedModel

from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.depth_up_scaling.growth import grow_part, reloaded
from solar_plugins.depth_up_scaling.layer_map import added_layers
from solar_plugins.depth_up_scaling.structure import layer_lists
from solar_plugins.depth_up_scaling.tiny_model import VOCABULARY, random_model, shrunk
from solar_plugins.errors import SolarError

INIT = "depth_up_scaling.init"
TOKENS = 24
"""Enough for each of a tiny model's four experts to be chosen by some token."""


def starred(name: str, layer: nn.Module) -> str:
    """`name` of a parameter of `layer`, its place in a list of modules as ``*``.

    The experts are such a list, and there are fewer of them in a tiny model:
    ``mlp.experts.3.down_proj.weight`` is ``mlp.experts.*.down_proj.weight``. The place in a
    sequence (``ffn.2.weight``) says which step it is, and stays.
    """
    parts, module = name.split("."), layer
    for position, part in enumerate(parts[:-1]):
        if isinstance(module, nn.ModuleList):
            parts[position] = "*"
        children = dict(module.named_children())
        if part not in children:
            break
        module = children[part]
    return ".".join(parts)


def silencing_parameters(
    model_class: type[PreTrainedModel], base_config: PreTrainedConfig, layer_map: Sequence[int]
) -> frozenset[str]:
    """Names within a layer (`starred`) of the parameters that make it a no-op when they are zero.

    Raises:
        SolarError: the blocks of this architecture do not pass their input on, or compute with the
            layer's position or the depth.
    """
    family = base_config.model_type
    text = base_config.get_text_config()
    content, depth = text.to_dict(), text.num_hidden_layers
    for found in config_rules.depth_in_the_maths(content, depth, len(layer_map)):
        raise SolarError(
            f"{INIT}: identity is not possible with {found} Write init: copy, or another base."
        )
    base, model = _tiny_pair(model_class, base_config, layer_map)
    ids = torch.arange(TOKENS)[None] * 7 % (VOCABULARY - 3) + 3
    with torch.no_grad():
        wanted = base(ids).logits
    groups = _copy_layers(base, model, layer_map)
    values = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    parameters = dict(model.named_parameters())

    @torch.no_grad()
    def same() -> bool:
        found = model(ids).logits
        return torch.equal(found, wanted)  # x + 0 is x in every bit

    with torch.no_grad():
        if same():
            raise SolarError(
                f"{INIT}: in a small {family} the added layers change the logits too little to "
                "find out which parameters silence them. Write init: copy."
            )
        for names in groups.values():
            for name in names:
                parameters[name].zero_()
        if not same():
            raise SolarError(
                f"{INIT}: with all parameters of the added layers at zero, {family} still does not "
                "compute what the base computes: its blocks are not residual, or they compute with "
                "the layer's position or the model's depth. Write init: copy."
            )
        used = _in_order_of_use(model, ids)
        _refuse_idle_layers(family, used, added_layers(layer_map, depth) or [])
        group_of = {name: group for group, names in groups.items() for name in names}
        in_use = dict.fromkeys(group_of[name] for name in used if name in group_of)
        silent = set(groups)
        for group in [*(group for group in groups if group not in in_use), *in_use]:
            for name in groups[group]:
                parameters[name].copy_(values[name])
            if same():
                silent.remove(group)
            else:
                for name in groups[group]:
                    parameters[name].zero_()
    return frozenset(silent)


def _tiny_pair(
    model_class: type[PreTrainedModel], base_config: PreTrainedConfig, layer_map: Sequence[int]
) -> tuple[PreTrainedModel, PreTrainedModel]:
    """A tiny base and its deeper model, both random, once they have been seen to run."""
    try:
        config = shrunk(base_config)
        base = random_model(model_class, config)
        model = random_model(model_class, reloaded(grow_part(config, layer_map)[0]))
        with torch.no_grad():
            base(torch.zeros((1, TOKENS), dtype=torch.long))
    except SolarError:
        raise
    except (RuntimeError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise SolarError(
            f"{INIT}: no small {base_config.model_type} could be run to find out which parameters "
            f"silence a layer ({type(error).__name__}). Write init: copy."
        ) from None
    return base, model


def _refuse_idle_layers(family: str, used: Sequence[str], added: Sequence[int]) -> None:
    """Layers that only images wake (mllama's cross-attention) cannot be silenced by text."""
    for i in added:
        if not any(f".{i}." in name for name in used):
            raise SolarError(
                f"{INIT}: layer {i} takes no part when a small {family} reads text, so that what "
                "silences it cannot be found out. Write init: copy."
            )


def _copy_layers(
    base: PreTrainedModel, model: PreTrainedModel, layer_map: Sequence[int]
) -> dict[str, list[str]]:
    """Give `model` the weights of `base`; the parameters of its added layers, by `starred` name."""
    lists = layer_lists(base, model)
    source = base.state_dict()
    added = added_layers(layer_map, base.config.get_text_config().num_hidden_layers)
    groups: dict[str, list[str]] = {}
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            prefix = next((p for p in lists if name.startswith(f"{p}.")), None)
            if prefix is None:
                tensor.copy_(source[name])
                continue
            index, _, rest = name[len(prefix) + 1 :].partition(".")
            tensor.copy_(source[f"{prefix}.{layer_map[int(index)]}.{rest}"])
    for prefix in lists:
        for i in added or ():
            layer = model.get_submodule(f"{prefix}.{i}")
            for rest, _ in layer.named_parameters():
                groups.setdefault(starred(rest, layer), []).append(f"{prefix}.{i}.{rest}")
    return groups


class _Uses(TorchFunctionMode):
    """Notes which parameters a forward pass computes with, in order."""

    def __init__(self, parameters: dict[int, str]):
        super().__init__()
        self.parameters = parameters
        self.order: dict[str, None] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if not isinstance(result, torch.dtype | torch.device | torch.Size | int):  # x.dtype, …
            for value in (*args, *(kwargs or {}).values()):
                if isinstance(value, nn.Parameter) and id(value) in self.parameters:
                    self.order.setdefault(self.parameters[id(value)])
        return result


def _in_order_of_use(model: PreTrainedModel, ids: torch.Tensor) -> list[str]:
    """Names of the parameters that a forward pass computes with, as it meets them."""
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    with torch.no_grad(), _Uses(named) as uses:
        model(ids)
    return list(uses.order)
