"""Which base layer each layer of the up-scaled model comes from (SOLAR paper, section 2).

"We take the base model with n layers and duplicate it … remove the final m layers from the
original model and the initial m layers from its duplicate … the two are concatenated to form a
scaled model with s = 2·(n−m) layers." SOLAR 10.7B: n = 32, m = 8, s = 48.

Other ways to grow are other maps: new layers in between (`interleave`), whole copies (`repeat`), or
any stack of ranges of base layers, as MergeKit's passthrough takes them (`from_ranges`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from solar_plugins.errors import SolarError

BLOCK = "depth_up_scaling"


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
    """The paper's stack: base [0, n-m), then base [m, n). n is at least 3, and 1 <= m < n/2.

    >>> layer_map(4, 1)
    [0, 1, 2, 1, 2, 3]

    Raises:
        SolarError: no model deeper than the base comes out.
    """
    n, m = num_hidden_layers, remove_layers
    _check_remove_layers(n, m)
    return stacked([(0, n - m), (m, n)])


def for_depth(num_hidden_layers: int, target_layers: int) -> list[int]:
    """The paper's stack with `target_layers` layers: m = n - s/2.

    >>> for_depth(32, 48) == layer_map(32, 8)
    True

    Raises:
        SolarError: two copies cannot have that many layers.
    """
    n, s = num_hidden_layers, target_layers
    _check_base(n)
    least, most = scaled_depth(n, (n - 1) // 2), scaled_depth(n, 1)
    if s % 2 or not least <= s <= most:
        seam = default_remove_layers(n)
        three = [[0, n - seam], [seam, n - seam], [seam, n]]
        raise SolarError(
            f"{BLOCK}.target_layers: two copies of {n} layers that lose m each have 2*({n}-m), not "
            f"{s}. Write {f'an even number from {least} to ' * (least < most)}{most}, or another "
            f"stack as layer_ranges, e.g. {three} for {len(stacked(three))}."
        )
    return layer_map(n, n - s // 2)


def interleave(num_hidden_layers: int, every: int) -> list[int]:
    """After every `every` base layers a copy of the last of them; the copy is the added layer.

    LLaMA Pro (arXiv 2401.02415, section 3.2): 32 layers in groups of P = 4 give 40.

    >>> interleave(8, every=4)
    [0, 1, 2, 3, 3, 4, 5, 6, 7, 7]

    Raises:
        SolarError: the layers are not whole groups.
    """
    n = num_hidden_layers
    if every < 1 or n % every:
        groups = ", ".join(str(size) for size in range(1, n + 1) if n % size == 0)
        raise SolarError(
            f"{BLOCK}.every: {n} layers are not groups of {every}. Write one of {groups}."
        )
    starts = range(0, n, every)
    return stacked([r for s in starts for r in ((s, s + every), (s + every - 1, s + every))])


def repeat(num_hidden_layers: int, times: int) -> list[int]:
    """The whole base `times` over, its first copy the base (G_stack, arXiv 2405.15319).

    >>> repeat(3, 2)
    [0, 1, 2, 0, 1, 2]

    Raises:
        SolarError: fewer than two copies.
    """
    if times < 2:
        raise SolarError(
            f"{BLOCK}.times: {times} is no deeper than the base. Write 2 for twice its layers."
        )
    return stacked([(0, num_hidden_layers)] * times)


def from_ranges(num_hidden_layers: int, ranges: Sequence[Sequence[int]]) -> list[int]:
    """The stack of `ranges` on a base of this depth, once all of them lie in it.

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
        if not 0 <= start < end <= n:
            raise SolarError(
                f"{BLOCK}.layer_ranges[{index}]: [{start}, {end}] is not a range of the base's {n} "
                f"layers. Write [start, end] with 0 <= start < end <= {n}; the end is not included."
            )
    layers = stacked(ranges)
    if len(layers) <= n:
        m = default_remove_layers(n) if n > 2 else 0
        raise SolarError(
            f"{BLOCK}.layer_ranges: {len(layers)} layers, no deeper than the base of {n}. The "
            f"paper's stack is [[0, {n - m}], [{m}, {n}]], which has {2 * (n - m)}."
        )
    return layers


def stacked(ranges: Iterable[Sequence[int]]) -> list[int]:
    """Base layer of every target layer, for ranges of base layers put one on the other.

    >>> stacked([(0, 3), (1, 3), (1, 4)])
    [0, 1, 2, 1, 2, 1, 2, 3]
    """
    return [layer for start, end in ranges for layer in range(start, end)]


def ranges_of(layer_map: Sequence[int]) -> list[tuple[int, int]]:
    """The inverse of `stacked`: the fewest ranges, the end not included, as MergeKit takes them.

    >>> ranges_of([0, 1, 2, 1, 2, 3])
    [(0, 3), (1, 4)]
    """
    edges = [0, *seams(layer_map), len(layer_map)]
    return [
        (layer_map[start], layer_map[start] + stop - start)
        for start, stop in itertools.pairwise(edges)
    ]


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
            f"{BLOCK}.init: {init} needs every base layer in its order beside the added "
            f"ones, and {BLOCK}.layer_ranges {what}. Write init: copy, or other ranges."
        )


def check_in_between(layer_map: Sequence[int], num_hidden_layers: int, init: str) -> None:
    """Refuse a stack whose added layers are not each between a base layer and the next one.

    Raises:
        SolarError: an added layer does not follow its base layer, or not before the next.
    """
    check_keeps_base(layer_map, num_hidden_layers, init)
    for i in added_layers(layer_map, num_hidden_layers) or ():
        before, after = layer_map[i - 1], layer_map[i + 1 : i + 2]
        if before != layer_map[i] or after not in ([], [before + 1]):
            raise SolarError(
                f"{BLOCK}.init: {init} makes a layer out of two neighbours of the base, and added "
                f"layer {i} is not between two. Write layout: interleave, or init: copy."
            )


def removed_layers(layer_map: Sequence[int], num_hidden_layers: int) -> int | None:
    """The paper's m of a stack that is the paper's, None of any other.

    >>> removed_layers([0, 1, 2, 1, 2, 3], 4)
    1
    """
    m = num_hidden_layers - len(layer_map) // 2
    paper = stacked([(0, num_hidden_layers - m), (m, num_hidden_layers)])
    return m if m > 0 and list(layer_map) == paper else None


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
    if not 1 <= m <= largest:
        usual = default_remove_layers(n)
        why = "no deeper than the base" if m > 0 else "and no copy loses a layer at the seam"
        choice = f"{'1 to ' * (largest > 1)}{largest}"
        whose = "SOLAR 10.7B uses" if n == 32 else "a quarter, as in the paper, is"
        raise SolarError(
            f"{BLOCK}.remove_layers: {m} of {n} layers leaves {scaled_depth(n, m)}, {why}. "
            f"Choose {choice}; {whose} {usual} ({scaled_depth(n, usual)} layers)."
        )


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
