"""The paper's arithmetic: n layers, m removed from each copy, s = 2(n - m)."""

import itertools

import pytest

from solar_plugins.depth_up_scaling.layer_map import (
    default_remove_layers,
    layer_map,
    layer_ranges,
    scaled_depth,
)
from solar_plugins.errors import SolarError


def test_solar_10_7b():
    assert layer_map(32, 8) == [*range(24), *range(8, 32)]
    assert len(layer_map(32, 8)) == scaled_depth(32, 8) == 48
    assert layer_ranges(32, 8) == [(0, 24), (8, 32)]


@pytest.mark.parametrize("depth", range(3, 41))
def test_every_allowed_choice_is_deeper_and_keeps_both_ends(depth):
    for remove_layers in range(1, (depth + 1) // 2):
        layers = layer_map(depth, remove_layers)
        assert len(layers) == 2 * (depth - remove_layers) > depth
        assert layers[0] == 0
        assert layers[-1] == depth - 1
        assert set(layers) == set(range(depth))
        # one seam only, where the layer distance is n - 2m, and everywhere else neighbours
        jumps = [b - a for a, b in itertools.pairwise(layers) if b - a != 1]
        assert jumps == [1 - (depth - 2 * remove_layers)]
    with pytest.raises(SolarError):
        layer_map(depth, (depth + 1) // 2)


@pytest.mark.parametrize(("depth", "expected"), [(3, 1), (4, 1), (22, 5), (32, 8), (80, 20)])
def test_default_is_a_quarter(depth, expected):
    assert default_remove_layers(depth) == expected
    assert len(layer_map(depth, expected)) > depth


@pytest.mark.parametrize(
    ("depth", "remove_layers", "line"),
    [
        (
            32,
            16,
            "depth_up_scaling.remove_layers: 16 of 32 layers leaves 32, no deeper than the base. "
            "Choose 1 to 15; SOLAR 10.7B uses 8 (48 layers).",
        ),
        (
            32,
            20,
            "depth_up_scaling.remove_layers: 20 of 32 layers leaves 24, no deeper than the base. "
            "Choose 1 to 15; SOLAR 10.7B uses 8 (48 layers).",
        ),
        (
            24,
            24,
            "depth_up_scaling.remove_layers: 24 of 24 layers leaves none. "
            "Choose 1 to 11; a quarter, as in the paper, is 6 (36 layers).",
        ),
        (
            24,
            0,
            "depth_up_scaling.remove_layers: 0 of 24 layers would stack two whole copies "
            "(48 layers), with the last layer next to the first at the seam. "
            "Choose 1 to 11; a quarter, as in the paper, is 6 (36 layers).",
        ),
        (
            4,
            -1,
            "depth_up_scaling.remove_layers: -1 is negative. "
            "Choose 1; a quarter, as in the paper, is 1 (6 layers).",
        ),
        (
            1,
            1,
            "base_model: 1 layer. Depth up-scaling needs at least 3 "
            "(3 layers with remove_layers 1 give 4); name a deeper base.",
        ),
        (
            2,
            1,
            "base_model: 2 layers. Depth up-scaling needs at least 3 "
            "(3 layers with remove_layers 1 give 4); name a deeper base.",
        ),
    ],
)
def test_no_deeper_model_is_refused_with_the_arithmetic(depth, remove_layers, line):
    with pytest.raises(SolarError) as error:
        layer_map(depth, remove_layers)
    assert str(error.value) == line
