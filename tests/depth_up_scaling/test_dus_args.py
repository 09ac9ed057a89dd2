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
        assert parse(block).layer_map(32) == [*range(24), *range(8, 32)]
    assert parse({"layer_ranges": [[0, 24], [8, 32]]}).layer_map(32) == parse({}).layer_map(32)
    three = parse({"layer_ranges": [[0, 3], [1, 3], [1, 4]]})
    assert three.layer_map(4) == [0, 1, 2, 1, 2, 1, 2, 3]
    with pytest.raises(SolarError, match="is not a range of the base's 4 layers"):
        parse({"layer_ranges": [[0, 24], [8, 32]]}).layer_map(4)


def test_the_other_layouts():
    assert parse({"layout": "overlap"}).layer_map(4) == [0, 1, 2, 1, 2, 3]
    assert len(parse({"layout": "interleave"}).layer_map(32)) == 40  # LLaMA Pro, 7B to 8.3B
    assert parse({"layout": "interleave", "every": 2}).layer_map(4) == [0, 1, 1, 2, 3, 3]
    assert parse({"layout": "repeat"}).layer_map(3) == [0, 1, 2, 0, 1, 2]
    assert len(parse({"layout": "repeat", "times": 4}).layer_map(6)) == 24
    assert parse({"train": "added"}).train == "added"
    with pytest.raises(SolarError, match="times: 1 is no deeper than the base"):
        parse({"layout": "repeat", "times": 1}).layer_map(4)


@pytest.mark.parametrize(
    ("block", "line"),
    [
        (
            {"remove_layer": 8},
            "depth_up_scaling.remove_layer: unknown key. Known: layout, remove_layers, "
            "target_layers, every, times, layer_ranges, init, train, as_llama. Did you mean "
            "'remove_layers'?",
        ),
        (
            {"as_llama": "yes"},
            "depth_up_scaling.as_llama: 'yes' is unknown. Write one of: true, false.",
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
            "depth_up_scaling.layer_ranges: '0-24' is not a list. "
            "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
        ),
        (
            {"layer_ranges": []},
            "depth_up_scaling.layer_ranges: []. List should have at least 1 item after validation, "
            "not 0. "
            "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
        ),
        (
            {"layer_ranges": [[0, 24], [8]]},
            "depth_up_scaling.layer_ranges[1][1]: missing. "
            "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
        ),
        (
            {"layer_ranges": [[0, 24], [8, "end"]]},
            "depth_up_scaling.layer_ranges[1][1]: 'end' is not a whole number. "
            "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
        ),
        (
            {"layer_ranges": [0, 24]},
            "depth_up_scaling.layer_ranges[0]: 0 is not a list. "
            "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
        ),
        (
            {"init": "zero"},
            "depth_up_scaling.init: 'zero' is unknown. Write one of: copy, identity, average, "
            "optimal_transport.",
        ),
        (
            {"init": "identiy"},
            "depth_up_scaling.init: 'identiy' is unknown. Write one of: copy, identity, average, "
            "optimal_transport. Did you mean 'identity'?",
        ),
        (
            {"every": 4},
            "depth_up_scaling.every: belongs to layout: interleave, and the layout is overlap. "
            "Write layout: interleave, or remove every.",
        ),
        (
            {"layout": "interleve", "every": 4},
            "depth_up_scaling.layout: 'interleve' is unknown. Write one of: overlap, interleave, "
            "repeat. Did you mean 'interleave'?",
        ),
        (
            {"layout": "repeat", "remove_layers": 8},
            "depth_up_scaling.remove_layers: belongs to layout: overlap, and the layout is repeat. "
            "Write layout: overlap, or remove remove_layers.",
        ),
        (
            {"layout": "interleave", "layer_ranges": [[0, 24], [8, 32]]},
            "depth_up_scaling.layer_ranges: layer_ranges and layout are mutually exclusive: each "
            "of them alone sets the stack. Keep one.",
        ),
        (
            {"layout": "stack"},
            "depth_up_scaling.layout: 'stack' is unknown. Write one of: overlap, interleave, "
            "repeat.",
        ),
        (
            {"init": None},
            "depth_up_scaling.init: None is unknown. Write one of: copy, identity, average, "
            "optimal_transport.",
        ),
        (
            {"train": "new"},
            "depth_up_scaling.train: 'new' is unknown. Write one of: all, added.",
        ),
        (
            {"layout": "interleave", "every": 2.5},
            "depth_up_scaling.every: 2.5 is not a whole number. Write after how many layers of "
            "the base a new one follows, e.g. 4.",
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
