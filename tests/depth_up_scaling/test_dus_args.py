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


@pytest.mark.parametrize(
    ("block", "line"),
    [
        (
            {"remove_layer": 8},
            "depth_up_scaling.remove_layer: unknown key. Known: remove_layers. "
            "Did you mean 'remove_layers'?",
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
