"""The YAML block: what it takes, and the line for everything else."""

import pytest

from solar_plugins.depth_up_scaling.args import DepthUpScalingArgs, parse
from solar_plugins.errors import SolarError


def test_block():
    assert parse({"remove_layers": 8}).remove_layers == 8
    assert parse({}).remove_layers is None
    assert parse(None).remove_layers is None
    args = DepthUpScalingArgs(depth_up_scaling={"remove_layers": 8})
    assert args.depth_up_scaling.remove_layers == 8
    assert DepthUpScalingArgs().depth_up_scaling is None
    assert parse({}).init == "copy"
    assert parse({"init": "identity"}).init == "identity"


def test_three_ways_to_say_the_same():
    for block in ({}, {"remove_layers": 8}, {"target_layers": 48}):
        assert parse(block).ranges(32) == [(0, 24), (8, 32)]
    assert parse({"layer_ranges": [[0, 24], [8, 32]]}).ranges(32) == [(0, 24), (8, 32)]
    three = parse({"layer_ranges": [[0, 3], [1, 3], [1, 4]]})
    assert three.layer_map(4) == [0, 1, 2, 1, 2, 1, 2, 3]
    with pytest.raises(SolarError, match="goes past the base's 4 layers"):
        parse({"layer_ranges": [[0, 24], [8, 32]]}).layer_map(4)


@pytest.mark.parametrize(
    ("block", "line"),
    [
        (
            {"remove_layer": 8},
            "depth_up_scaling.remove_layer: unknown key. Known: remove_layers, target_layers, "
            "layer_ranges, init. Did you mean 'remove_layers'?",
        ),
        (
            8,
            "depth_up_scaling: 8 is not a block of keys. "
            "Write `depth_up_scaling: {remove_layers: 8}`, or `depth_up_scaling: {}` "
            "for a quarter.",
        ),
        (
            {"remove_layers": "eight"},
            "depth_up_scaling.remove_layers: 'eight' is not a whole number. "
            "Write how many layers each copy loses, e.g. 8 of 32.",
        ),
        (
            {"remove_layers": 8.5},
            "depth_up_scaling.remove_layers: 8.5 is not a whole number. "
            "Write how many layers each copy loses, e.g. 8 of 32.",
        ),
        (
            {"remove_layers": [8]},
            "depth_up_scaling.remove_layers: [8] is not a whole number. "
            "Write how many layers each copy loses, e.g. 8 of 32.",
        ),
        (
            {"target_layers": "48"},
            "depth_up_scaling.target_layers: '48' is not a whole number. "
            "Write the number of layers of the model, e.g. 48 out of 32.",
        ),
        (
            {"target_layers": 48, "remove_layers": 8},
            "depth_up_scaling.target_layers: target_layers and remove_layers are mutually "
            "exclusive: each of them alone sets the depth. Keep one.",
        ),
        (
            {"remove_layers": 8, "layer_ranges": [[0, 24], [8, 32]]},
            "depth_up_scaling.layer_ranges: layer_ranges and remove_layers are mutually exclusive: "
            "each of them alone sets the depth. Keep one.",
        ),
        (
            {"layer_ranges": "0-24"},
            "depth_up_scaling.layer_ranges: '0-24' is not a list of ranges. "
            "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
        ),
        (
            {"layer_ranges": []},
            "depth_up_scaling.layer_ranges: [] is not a list of ranges. "
            "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
        ),
        (
            {"layer_ranges": [[0, 24], [8]]},
            "depth_up_scaling.layer_ranges[1]: [8] is not a pair of whole numbers. "
            "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
        ),
        (
            {"layer_ranges": [[0, 24], [8, "end"]]},
            "depth_up_scaling.layer_ranges[1]: [8, 'end'] is not a pair of whole numbers. "
            "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
        ),
        (
            {"layer_ranges": [0, 24]},
            "depth_up_scaling.layer_ranges[0]: 0 is not a pair of whole numbers. "
            "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
        ),
        (
            {"init": "zero"},
            "depth_up_scaling.init: 'zero' is neither `copy` (the paper) nor `identity` (the added "
            "layers start as no-ops).",
        ),
        (
            {"init": "identiy"},
            "depth_up_scaling.init: 'identiy' is neither `copy` (the paper) nor `identity` (the "
            "added layers start as no-ops). Did you mean 'identity'?",
        ),
        (
            {"remove_layers": True},
            "depth_up_scaling.remove_layers: True is not a whole number. "
            "Write how many layers each copy loses, e.g. 8 of 32.",
        ),
    ],
)
def test_one_line_for_each_fault(block, line):
    with pytest.raises(SolarError) as error:
        parse(block)
    assert str(error.value) == line
