"""Stacks that published models were grown with, as blocks for a base of any depth that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from solar_plugins.depth_up_scaling.layer_map import default_remove_layers

Block = dict[str, Any]


@dataclass(frozen=True)
class Stack:
    """A published way to grow a model.

    Attributes:
        what: the published model or paper, with its depths.
        source: where it is described.
        divides: the base's depth must be a multiple of this.
        block: the depth of a base -> its block ``depth_up_scaling:``.
    """

    what: str
    source: str
    divides: int
    block: Callable[[int], Block]


def _between_upper_half(n: int, init: str) -> Block:
    """A new layer after each of the layers n/2 - 1 to n - 2; only the new ones are trained."""
    ranges = [[0, n // 2], *([j, j + 2] for j in range(n // 2 - 1, n - 1))]
    return {"layer_ranges": ranges, "init": init, "train": "added"}


STACKS = {
    "solar": Stack(
        "SOLAR 10.7B: two copies of 32 layers, each without 8, give 48",
        "arXiv 2312.15166, section 2",
        1,
        lambda n: {"layout": "overlap", "remove_layers": default_remove_layers(n)},
    ),
    "yi-9b": Stack(
        "Yi-9B: Yi-6B's 32 layers with layers 12 to 27 twice give 48",
        "arXiv 2403.04652, section 7.3",
        8,
        lambda n: {"layer_ranges": [[0, 7 * n // 8], [3 * n // 8, n]]},
    ),
    "granite-34b": Stack(
        "Granite 34B Code: two copies of 52 layers, each without 8, give 88",
        "arXiv 2405.04324, section 3",
        13,
        lambda n: {"layout": "overlap", "remove_layers": 2 * n // 13},
    ),
    "llama-pro": Stack(
        "LLaMA Pro: a silent layer after every 4 of 32 gives 40; only the new ones are trained",
        "arXiv 2401.02415, section 3",
        4,
        lambda n: {"layout": "interleave", "every": 4, "init": "identity", "train": "added"},
    ),
    "g-stack": Stack(
        "G_stack: the whole model repeated",
        "arXiv 2405.15319",
        1,
        lambda n: {"layout": "repeat", "times": 2},
    ),
    "avg-deus": Stack(
        "Avg-DeUS: 16 new layers between those of the upper half of 32, each the mean of two; only "
        "the new ones are trained",
        "arXiv 2508.08011",
        2,
        lambda n: _between_upper_half(n, "average"),
    ),
    "opt-deus": Stack(
        "OpT-DeUS: as Avg-DeUS, but the two are matched first, and the new layers start silent",
        "arXiv 2508.08011",
        2,
        lambda n: _between_upper_half(n, "optimal_transport"),
    ),
}
"""Name -> stack. ``train: added`` is the paper's where it trains the new layers alone."""
