"""New layers out of two neighbours whose heads and neurons are matched first (OpT-DeUS).

Cao, Wang and Aletras (arXiv 2508.08011, algorithm 1): two layers may hold the same neurons in
another order, so that their mean mixes what does not belong together. Optimal transport brings the
lower layer into the order of the upper one before the mean; the output projections start at zero.

Reordered is what a layer computes the same with: neurons of the MLP, and groups of heads that share
a key and a value, each with all its tensors. The residual stream, which both layers write to, keeps
its order. With equal weights on both sides the optimal plan is a permutation (Birkhoff), which
`scipy.optimize.linear_sum_assignment` finds.

The published code (github.com/voalmciaf/OpT-DeUS, commit 1d2905f, Model/OpT-DeUS.py) has a plan for
each matrix, which parts the gate and up rows of a neuron, and whose entropic plan sums to one: the
moved layer is multiplied by 1/n (n rows), and the "mean" is half of the upper layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from transformers import PreTrainedConfig

from solar_plugins.depth_up_scaling.layer_map import BLOCK
from solar_plugins.errors import SolarError

_OF_UNITS = re.compile(
    r"(.+)\.(?:(?P<heads>[qkv]_proj|[qk]_norm|o_proj)|(?:gate|up|down)_proj)\.(?:weight|bias)"
)
_OUTPUTS = ("o_proj.weight", "down_proj.weight")  # units are their columns
_SHARED = re.compile(r"norm|\bln_|\b(?:o|down)_proj\.bias")  # by all units of a layer


class Place(NamedTuple):
    """Of which module's units a parameter holds a part, how many, and along which dimension."""

    module: str
    number: int
    dim: int


def places(layer: nn.Module, config: PreTrainedConfig) -> dict[str, Place]:
    """The parameters of `layer` that hold units; those of the residual stream are left out.

    Args:
        layer: a layer of the base, without weights.
        config: the text config that it was built from.

    Raises:
        SolarError: it has a parameter of another kind (experts, a fused projection, a state).
    """
    queries = getattr(config, "num_attention_heads", 1)
    heads = getattr(config, "num_key_value_heads", None) or queries
    width = getattr(config, "head_dim", None) or config.hidden_size // queries
    found: dict[str, Place] = {}
    for name, parameter in layer.named_parameters():
        shape, match = tuple(parameter.shape), _OF_UNITS.fullmatch(name)
        norm_of_each = match is not None and "_norm." in name and shape != (width,)
        shared = shape in ((width,), (config.hidden_size,)) and _SHARED.search(name)
        if shared and not norm_of_each:
            continue
        if match is not None and len(shape) <= 2:
            dim = 1 if name.endswith(_OUTPUTS) else 0
            place = Place(match[1], heads if match["heads"] else shape[dim], dim)
            alike = {other.number for other in found.values() if other.module == place.module}
            if shape[dim] % place.number == 0 and alike <= {place.number}:
                found[name] = place
                continue
        raise SolarError(
            f"{BLOCK}.init: optimal_transport matches heads (q_proj, k_proj, v_proj, o_proj) and "
            f"neurons (gate_proj, up_proj, down_proj), and layers of {config.model_type} have "
            f"{name} {shape}. Write init: average or identity."
        )
    return found


def order(count: int, parts: Iterable[tuple[torch.Tensor, torch.Tensor, int]]) -> torch.Tensor:
    """The lower layer's unit for each of the `count` units of the upper one.

    Of all permutations p it minimises sum |lower[p[i]] - upper[i]|^2, over all numbers of a unit.
    The squares do not depend on p, so that sum lower[p[i]] * upper[i] is maximised.

    Args:
        count: how many units there are.
        parts: what holds them in the lower and in the upper layer, and along which dimension.
    """
    alike = torch.zeros(count, count)
    for lower, upper, dim in parts:
        a, b = (t.float().movedim(dim, 0).reshape(count, -1) for t in (upper, lower))
        alike += a @ b.T
    return torch.from_numpy(linear_sum_assignment(alike.numpy(), maximize=True)[1])


def reordered(tensor: torch.Tensor, order: torch.Tensor, dim: int) -> torch.Tensor:
    """`tensor` with its units along `dim` in another order.

    >>> reordered(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 0]), 0)
    tensor([3, 4, 1, 2])
    """
    parts = tensor.unflatten(dim, (len(order), -1))
    return parts.index_select(dim, order).flatten(dim, dim + 1)
