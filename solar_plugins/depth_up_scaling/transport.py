"""New layers out of two neighbours whose heads and neurons are matched first (OpT-DeUS).

Cao, Wang and Aletras (arXiv 2508.08011, algorithm 1): two layers may hold the same neurons in
another order, so that their mean mixes what does not belong together; optimal transport brings the
lower layer into the order of the upper one before the mean, and the output projections of the new
layer start at zero.

What may be reordered is what a layer computes the same with: whole neurons of the MLP, and whole
groups of heads that share a key and a value. All tensors of such a unit move together, and the
residual stream, which both layers write to, keeps its order. With equal weights on both sides the
optimal plan is a permutation (Birkhoff), which `scipy.optimize.linear_sum_assignment` finds.

The published code (github.com/voalmciaf/OpT-DeUS, commit 1d2905f, Model/OpT-DeUS.py) differs: each
matrix has a plan of its own, so that a neuron's gate and up rows part, and rows of `o_proj` move in
the residual stream; and its entropic plan sums to one, so that the moved layer is multiplied by 1/n
(n rows, some thousands) and the "mean" is half of the upper layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from transformers import PreTrainedConfig

from solar_plugins.depth_up_scaling.layer_map import BLOCK
from solar_plugins.errors import SolarError

_UNIT = re.compile(
    r"(?P<module>.+)\.(?:(?P<heads>[qkv]_proj|[qk]_norm|o_proj)|(?:gate|up|down)_proj)"
    r"\.(?P<kind>weight|bias)"
)
_COLUMNS = ("o_proj", "down_proj")
"""Their columns belong to the units, and their rows to the residual stream."""


class Place(NamedTuple):
    """Where a parameter of a layer holds its part of each unit.

    Attributes:
        module: the module that the units are of.
        count: how many units it has.
        dim: the dimension that they lie along, one behind the other.
    """

    module: str
    count: int
    dim: int


def places(layer: nn.Module, config: PreTrainedConfig) -> dict[str, Place]:
    """The parameters of `layer` that hold units; those of the residual stream are left out.

    Args:
        layer: a layer of the base, without weights.
        config: the text config that it was built from.

    Raises:
        SolarError: it has a parameter of another kind (experts, a fused projection, a state).
    """
    found = {}
    for name, parameter in layer.named_parameters():
        match = _UNIT.fullmatch(name)
        if match is None:
            if parameter.ndim > 1 or "norm" not in name:
                raise _uncovered(config, name, parameter)
            continue
        projection = name.split(".")[-2]
        if projection in _COLUMNS:
            if match["kind"] == "bias":
                continue
            dim = 1
        else:
            dim = 0
        if match["heads"]:
            count = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
            if projection.endswith("norm") and parameter.shape == (_head_dim(config),):
                continue  # one for all heads
        else:
            count = parameter.shape[dim]
        place = Place(match["module"], count, dim)
        others = {other.count for other in found.values() if other.module == place.module}
        if parameter.ndim > 2 or parameter.shape[dim] % count or others - {count}:
            raise _uncovered(config, name, parameter)
        found[name] = place
    return found


def _head_dim(config: PreTrainedConfig) -> int:
    own = getattr(config, "head_dim", None)
    return own or config.hidden_size // config.num_attention_heads


def _uncovered(config: PreTrainedConfig, name: str, parameter: torch.Tensor) -> SolarError:
    return SolarError(
        f"{BLOCK}.init: optimal_transport matches heads (q_proj, k_proj, v_proj, o_proj) and "
        f"neurons (gate_proj, up_proj, down_proj), and layers of {config.model_type} have {name} "
        f"{tuple(parameter.shape)}. Write init: average or identity."
    )


@dataclass(frozen=True)
class Matching:
    """The units of one module in two layers.

    Attributes:
        count: how many there are.
        pairs: the checkpoint names of each tensor that holds them, in the lower and the upper
            layer, and the dimension.
    """

    count: int
    pairs: tuple[tuple[str, str, int], ...]

    def order(self, read: Callable[[str], torch.Tensor]) -> torch.Tensor:
        """The lower layer's unit for each unit of the upper one: the least squared distance.

        Of all permutations p it minimises sum |lower[p[i]] - upper[i]|^2, over all numbers of a
        unit. The squares do not depend on p, so that sum lower[p[i]] * upper[i] is maximised.
        """
        alike = torch.zeros(self.count, self.count)
        for lower, upper, dim in self.pairs:
            alike += _units(read(upper), self.count, dim) @ _units(read(lower), self.count, dim).T
        return torch.from_numpy(linear_sum_assignment(alike.numpy(), maximize=True)[1])


def _units(tensor: torch.Tensor, count: int, dim: int) -> torch.Tensor:
    """A tensor (…, count * width, …) as (count, width * …)."""
    return tensor.float().movedim(dim, 0).reshape(count, -1)


def reordered(tensor: torch.Tensor, order: torch.Tensor, dim: int) -> torch.Tensor:
    """`tensor` with its units along `dim` in another order.

    >>> reordered(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 0]), 0)
    tensor([3, 4, 1, 2])
    """
    parts = tensor.unflatten(dim, (len(order), -1))
    return parts.index_select(dim, order).flatten(dim, dim + 1)
