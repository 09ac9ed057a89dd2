"""Which base layer each layer of the up-scaled model comes from (SOLAR paper, section 2).

"We take the base model with n layers and duplicate it … remove the final m layers from the
original model and the initial m layers from its duplicate … the two are concatenated to form a
scaled model with s = 2·(n−m) layers." SOLAR 10.7B: n = 32, m = 8, s = 48.

Three ways to say it, all of which come down to ranges of base layers that are stacked: m, s, or
the ranges themselves (any stack, as MergeKit's passthrough takes them).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from solar_plugins.errors import SolarError

REMOVE_LAYERS = "depth_up_scaling.remove_layers"
TARGET_LAYERS = "depth_up_scaling.target_layers"
LAYER_RANGES = "depth_up_scaling.layer_ranges"

Range = tuple[int, int]
"""Base layers ``start`` to ``end``, the last one not included, as MergeKit's ``layer_range``."""


def default_remove_layers(num_hidden_layers: int) -> int:
    """The paper's m for a base of this depth: a quarter (8 of 32), rounded down, at least 1."""
    return max(1, num_hidden_layers // 4)


def scaled_depth(num_hidden_layers: int, remove_layers: int) -> int:
    """The paper's s = 2(n - m).

    >>> scaled_depth(32, 8)
    48
    """
    return 2 * (num_hidden_layers - remove_layers)


def layer_map(num_hidden_layers: int, remove_layers: int) -> list[int]:
    """Base layer of every target layer in the paper's stack: base [0, n-m), then base [m, n).

    n is at least 3, and 1 <= m < n/2.

    >>> layer_map(4, 1)
    [0, 1, 2, 1, 2, 3]

    Raises:
        SolarError: no model deeper than the base comes out.
    """
    return stacked(layer_ranges(num_hidden_layers, remove_layers))


def layer_ranges(num_hidden_layers: int, remove_layers: int) -> list[Range]:
    """The paper's two slices.

    >>> layer_ranges(32, 8)
    [(0, 24), (8, 32)]

    Raises:
        SolarError: no model deeper than the base comes out.
    """
    _check_remove_layers(num_hidden_layers, remove_layers)
    return [(0, num_hidden_layers - remove_layers), (remove_layers, num_hidden_layers)]


def ranges_for_depth(num_hidden_layers: int, target_layers: int) -> list[Range]:
    """The paper's two slices that give a model of `target_layers`: m = n - s/2.

    >>> ranges_for_depth(32, 48)
    [(0, 24), (8, 32)]

    Raises:
        SolarError: two copies cannot have that many layers.
    """
    n, s = num_hidden_layers, target_layers
    _check_base(n)
    least, most = scaled_depth(n, (n - 1) // 2), scaled_depth(n, 1)
    choice = f"an even number from {least} to {most}" if least < most else str(most)
    if s <= n:
        raise SolarError(
            f"{TARGET_LAYERS}: {s} is no deeper than the base of {n} layers. "
            f"Two copies that lose m each have 2*({n}-m): write {choice}."
        )
    if s > most:
        seam = default_remove_layers(n)
        three = [[0, n - seam], [seam, n - seam], [seam, n]]
        raise SolarError(
            f"{TARGET_LAYERS}: {s} is more than two copies of {n} layers give when each loses one "
            f"at the seam ({most}). Write {choice}, or stack more copies with layer_ranges, "
            f"e.g. {three} for {sum(end - start for start, end in three)}."
        )
    if s % 2:
        raise SolarError(
            f"{TARGET_LAYERS}: {s} is odd, and two copies that lose m of {n} layers each have "
            f"2*({n}-m). Write {s + 1 if s + 1 <= most else s - 1}, or the stack itself as "
            "layer_ranges."
        )
    return layer_ranges(n, n - s // 2)


def check_ranges(num_hidden_layers: int, ranges: Sequence[Sequence[int]]) -> list[Range]:
    """`ranges` as a stack on a base of this depth, once all of them lie in it.

    Raises:
        SolarError: a range is empty, reversed or past an end, or the stack is not deeper.
    """
    n = num_hidden_layers
    if n < 2:
        raise SolarError(
            f"base_model: {_layers(n)}. Depth up-scaling needs at least 2 to have a seam between; "
            "name a deeper base."
        )
    for index, (start, end) in enumerate(ranges):
        where, found = f"{LAYER_RANGES}[{index}]", f"[{start}, {end}]"
        advice = f"Write [start, end] with 0 <= start < end <= {n}; the end is not included."
        if start > end:
            raise SolarError(f"{where}: {found} is reversed. Write [{end}, {start}], {advice[6:]}")
        if start == end:
            raise SolarError(f"{where}: {found} is empty. {advice}")
        if start < 0 or end > n:
            raise SolarError(f"{where}: {found} goes past the base's {n} layers. {advice}")
    depth = sum(end - start for start, end in ranges)
    if depth <= n:
        raise SolarError(
            f"{LAYER_RANGES}: {_sum(ranges)} layers, no deeper than the base of {n}. {_example(n)}"
        )
    return [(start, end) for start, end in ranges]


def stacked(ranges: Sequence[Range]) -> list[int]:
    """Base layer of every target layer, for ranges of base layers put one on the other.

    >>> stacked([(0, 3), (1, 3), (1, 4)])
    [0, 1, 2, 1, 2, 1, 2, 3]
    """
    return [layer for start, end in ranges for layer in range(start, end)]


def seams(layer_map: Sequence[int]) -> list[int]:
    """Target layers that do not follow the layer which they followed in the base.

    >>> seams([0, 1, 2, 1, 2, 3])
    [3]
    """
    return [i for i, (a, b) in enumerate(itertools.pairwise(layer_map), start=1) if b != a + 1]


def added_layers(layer_map: Sequence[int], num_hidden_layers: int) -> list[int] | None:
    """Target layers without which the map is the base again: 0, 1, …, n-1.

    Of several copies of a base layer, the first one after the copy of the layer before it belongs
    to the base; in the paper's stack these are the first occurrences. None where no such choice
    exists because a layer is left out or the order is broken.

    >>> added_layers([0, 1, 2, 1, 2, 3], 4)
    [3, 4]
    """
    added, expected = [], 0
    for i, j in enumerate(layer_map):
        if j == expected:
            expected += 1
        else:
            added.append(i)
    return added if expected == num_hidden_layers else None


def check_keeps_base(layer_map: Sequence[int], num_hidden_layers: int, init: str) -> None:
    """Refuse a stack that does not give the base once the added layers are removed.

    Raises:
        SolarError: a base layer is left out, or their order is broken.
    """
    if added_layers(layer_map, num_hidden_layers) is None:
        left_out = sorted(set(range(num_hidden_layers)) - set(layer_map))
        what = f"leave out base layer {left_out[0]}" if left_out else "break the base's order"
        raise SolarError(
            f"depth_up_scaling.init: {init} needs every base layer in its order beside the added "
            f"ones, and depth_up_scaling.layer_ranges {what}. Write init: copy, or other ranges."
        )


def removed_layers(ranges: Sequence[Range], num_hidden_layers: int) -> int | None:
    """The paper's m of a stack that is the paper's, None of any other.

    >>> removed_layers([(0, 24), (8, 32)], 32)
    8
    """
    if len(ranges) != 2:
        return None
    m = ranges[1][0]
    paper = [(0, num_hidden_layers - m), (m, num_hidden_layers)]
    return m if list(ranges) == paper else None


def _check_base(n: int) -> None:
    if n < 3:
        raise SolarError(
            f"base_model: {_layers(n)}. Depth up-scaling needs at least 3 "
            "(3 layers with remove_layers 1 give 4); name a deeper base."
        )


def _check_remove_layers(n: int, m: int) -> None:
    """Refuse a depth or an m from which no deeper model comes (m < n/2 is s > n)."""
    _check_base(n)
    largest = (n - 1) // 2
    advice = _advice(n, largest)
    if m < 0:
        raise SolarError(f"{REMOVE_LAYERS}: {m} is negative. {advice}")
    if m == 0:
        raise SolarError(
            f"{REMOVE_LAYERS}: 0 of {n} layers would stack two whole copies ({2 * n} layers), "
            f"with the last layer next to the first at the seam. {advice}"
        )
    if m >= n:
        raise SolarError(f"{REMOVE_LAYERS}: {m} of {n} layers leaves none. {advice}")
    if m > largest:
        raise SolarError(
            f"{REMOVE_LAYERS}: {m} of {n} layers leaves {scaled_depth(n, m)}, "
            f"no deeper than the base. {advice}"
        )


def _advice(num_hidden_layers: int, largest: int) -> str:
    choice = "Choose 1" if largest == 1 else f"Choose 1 to {largest}"
    if num_hidden_layers == 32:
        return f"{choice}; SOLAR 10.7B uses 8 (48 layers)."
    usual = default_remove_layers(num_hidden_layers)
    depth = scaled_depth(num_hidden_layers, usual)
    return f"{choice}; a quarter, as in the paper, is {usual} ({depth} layers)."


def _example(n: int) -> str:
    m = default_remove_layers(n) if n > 2 else 0
    return (
        f"The paper's stack is [[0, {n - m}], [{m}, {n}]], which has 2*({n}-{m}) = {2 * (n - m)}."
    )


def _sum(ranges: Sequence[Sequence[int]]) -> str:
    depths = [end - start for start, end in ranges]
    if len(depths) == 1:
        return str(depths[0])
    return f"{' + '.join(map(str, depths))} = {sum(depths)}"


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
