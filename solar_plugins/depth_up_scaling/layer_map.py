"""Which base layer each layer of the up-scaled model comes from (SOLAR paper, section 2).

"We take the base model with n layers and duplicate it … remove the final m layers from the
original model and the initial m layers from its duplicate … the two are concatenated to form a
scaled model with s = 2·(n−m) layers." SOLAR 10.7B: n = 32, m = 8, s = 48.
"""

from __future__ import annotations

from solar_plugins.errors import SolarError

YAML_PATH = "depth_up_scaling.remove_layers"


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
    """Base layer of every target layer: base [0, n-m), then base [m, n).

    >>> layer_map(4, 1)
    [0, 1, 2, 1, 2, 3]

    Args:
        num_hidden_layers: depth of the base (n), at least 3.
        remove_layers: layers that each copy loses at the seam (m), 1 <= m < n/2.

    Raises:
        SolarError: no model deeper than the base comes out.
    """
    check(num_hidden_layers, remove_layers)
    n, m = num_hidden_layers, remove_layers
    return [*range(n - m), *range(m, n)]


def layer_ranges(num_hidden_layers: int, remove_layers: int) -> list[tuple[int, int]]:
    """The two slices as half-open ranges, the way MergeKit's ``layer_range`` writes them.

    >>> layer_ranges(32, 8)
    [(0, 24), (8, 32)]
    """
    check(num_hidden_layers, remove_layers)
    return [(0, num_hidden_layers - remove_layers), (remove_layers, num_hidden_layers)]


def check(num_hidden_layers: int, remove_layers: int) -> None:
    """Refuse a depth or an m from which no deeper model comes (m < n/2 is s > n)."""
    n, m = num_hidden_layers, remove_layers
    if n < 3:
        raise SolarError(
            f"base_model: {_layers(n)}. Depth up-scaling needs at least 3 "
            "(3 layers with remove_layers 1 give 4); name a deeper base."
        )
    largest = (n - 1) // 2
    advice = _advice(n, largest)
    if m < 0:
        raise SolarError(f"{YAML_PATH}: {m} is negative. {advice}")
    if m == 0:
        raise SolarError(
            f"{YAML_PATH}: 0 of {n} layers would stack two whole copies ({2 * n} layers), "
            f"with the last layer next to the first at the seam. {advice}"
        )
    if m >= n:
        raise SolarError(f"{YAML_PATH}: {m} of {n} layers leaves none. {advice}")
    if m > largest:
        raise SolarError(
            f"{YAML_PATH}: {m} of {n} layers leaves {scaled_depth(n, m)}, "
            f"no deeper than the base. {advice}"
        )


def _advice(num_hidden_layers: int, largest: int) -> str:
    choice = "Choose 1" if largest == 1 else f"Choose 1 to {largest}"
    if num_hidden_layers == 32:
        return f"{choice}; SOLAR 10.7B uses 8 (48 layers)."
    usual = default_remove_layers(num_hidden_layers)
    depth = scaled_depth(num_hidden_layers, usual)
    return f"{choice}; a quarter, as in the paper, is {usual} ({depth} layers)."


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
