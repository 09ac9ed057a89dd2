"""The paper's arithmetic: n layers, m removed from each copy, s = 2(n - m)."""

import itertools

import pytest

from solar_plugins.depth_up_scaling.layer_map import (
    added_layers,
    check_in_between,
    default_remove_layers,
    for_depth,
    from_ranges,
    interleave,
    layer_map,
    ranges_of,
    removed_layers,
    repeat,
    scaled_depth,
    seams,
    stacked,
)
from solar_plugins.errors import SolarError


def test_solar_10_7b():
    assert layer_map(32, 8) == [*range(24), *range(8, 32)]
    assert len(layer_map(32, 8)) == scaled_depth(32, 8) == 48
    assert ranges_of(layer_map(32, 8)) == [(0, 24), (8, 32)]


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
    ("depth", "remove_layers"),
    [
        (
            32,
            16,
        ),
        (
            32,
            20,
        ),
        (
            24,
            24,
        ),
        (
            24,
            0,
        ),
        (
            4,
            -1,
        ),
        (
            1,
            1,
        ),
        (
            2,
            1,
        ),
    ],
)
def test_no_deeper_model_is_refused_with_the_arithmetic(depth, remove_layers, says):
    with pytest.raises(SolarError) as error:
        layer_map(depth, remove_layers)
    says(str(error.value))


def test_the_papers_depth_by_its_other_letter():
    assert for_depth(32, 48) == layer_map(32, 8)
    for depth in range(3, 41):
        for target in range(depth + 1, 2 * depth - 1):
            if target % 2 == 0:
                layers = for_depth(depth, target)
                assert len(layers) == target
                assert removed_layers(layers, depth) == depth - target // 2


@pytest.mark.parametrize(
    ("depth", "target"),
    [
        (
            32,
            32,
        ),
        (
            32,
            47,
        ),
        (
            32,
            64,
        ),
        (
            3,
            5,
        ),
        (
            2,
            4,
        ),
    ],
)
def test_depths_that_two_copies_cannot_have(depth, target, says):
    with pytest.raises(SolarError) as error:
        for_depth(depth, target)
    says(str(error.value))


def test_any_stack():
    layers = from_ranges(32, [[0, 24], [8, 24], [8, 32]])
    assert layers == [*range(24), *range(8, 24), *range(8, 32)]
    assert seams(layers) == [24, 40]
    assert ranges_of(layers) == [(0, 24), (8, 24), (8, 32)]
    assert removed_layers(layers, 32) is None
    assert removed_layers(layer_map(32, 8), 32) == 8
    assert from_ranges(2, [(0, 2), (0, 2)]) == [0, 1, 0, 1]


def test_new_layers_in_between():
    """LLaMA Pro: the second of two equal layers is the added one."""
    layers = interleave(8, every=4)
    assert layers == [0, 1, 2, 3, 3, 4, 5, 6, 7, 7]
    assert added_layers(layers, 8) == [4, 9]
    assert interleave(3, every=1) == [0, 0, 1, 1, 2, 2]
    assert interleave(4, every=4) == [0, 1, 2, 3, 3]
    for every in (3, 0, -1, 9):
        with pytest.raises(SolarError) as error:
            interleave(8, every)
        assert str(error.value) == (
            f"depth_up_scaling.every: 8 layers are not groups of {every}. Write one of 1, 2, 4, 8."
        )


def test_whole_copies():
    assert repeat(3, 2) == [0, 1, 2, 0, 1, 2]
    assert added_layers(repeat(3, 3), 3) == [3, 4, 5, 6, 7, 8]
    for times in (1, 0):
        with pytest.raises(SolarError, match=f"times: {times} is no deeper than the base"):
            repeat(3, times)


def test_a_layer_between_two_others():
    upper_half = stacked([(0, 3), (2, 4), (3, 4)])  # Avg-DeUS: 0 1 2 2 3 3, here with a last one
    for layers in (interleave(8, 4), interleave(8, 1), upper_half):
        check_in_between(layers, max(layers) + 1, "average")
    for layers, i in ((layer_map(4, 1), 3), (repeat(4, 2), 4), ([0, 0, 0, 1, 2, 3], 1)):
        with pytest.raises(SolarError) as error:
            check_in_between(layers, 4, "average")
        assert str(error.value) == (
            "depth_up_scaling.init: average makes a layer out of two neighbours of the base, and "
            f"added layer {i} is not between two. Write layout: interleave, or init: copy."
        )


@pytest.mark.parametrize(
    ("depth", "ranges"),
    [
        (
            32,
            [[0, 24], [8, 40]],
        ),
        (
            32,
            [[-1, 24], [8, 32]],
        ),
        (
            32,
            [[0, 24], [8, 8]],
        ),
        (
            32,
            [[24, 0], [8, 32]],
        ),
        (
            32,
            [[0, 16], [16, 32]],
        ),
        (
            1,
            [[0, 1], [0, 1]],
        ),
    ],
)
def test_ranges_that_are_no_stack_on_this_base(depth, ranges, says):
    with pytest.raises(SolarError) as error:
        from_ranges(depth, ranges)
    says(str(error.value))


@pytest.mark.parametrize(
    ("layers", "added"),
    [
        ([0, 1, 2, 1, 2, 3], [3, 4]),
        ([1, 2, 0, 1, 2, 3], [0, 1]),  # the base may come last
        ([0, 0, 1, 1, 2, 2, 3, 3], [1, 3, 5, 7]),  # every layer twice
        ([0, 1, 2, 1, 2, 1, 2, 3], [3, 4, 5, 6]),
        ([0, 1, 3, 2, 3, 0], [2, 5]),
        ([0, 1, 2, 0, 1, 2], None),  # 3 is left out
        ([3, 2, 1, 0, 3, 2], None),  # never in order
    ],
)
def test_added_layers(layers, added):
    assert added_layers(layers, 4) == added
    if added is not None:
        rest = [j for i, j in enumerate(layers) if i not in added]
        assert rest == [0, 1, 2, 3]
