"""`solar dus --measure`: the loss of a stack before training, from the base alone."""

import json
import math
from xml.etree import ElementTree

import pytest
import torch
from click.testing import CliRunner
from in_memory import load_up_scaled
from tiny_recipe import write_base

from solar_plugins.cli import cli
from solar_plugins.depth_up_scaling.args import parse
from solar_plugins.depth_up_scaling.measure import Measurement, usual_blocks
from solar_plugins.errors import SolarError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measure")
    write_base(folder / "base")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40)
    return folder


def of_a_built_model(base, block, windows, nbytes):
    """The same loss with the deeper model in memory."""
    model = load_up_scaled(base, block).eval()
    nats = 0.0
    with torch.no_grad():
        for window in windows:
            scores = model(window[None]).logits[0, :-1].log_softmax(-1)
            nats -= scores[range(len(window) - 1), window[1:]].sum().item()
    return nats / math.log(2) / nbytes, model.num_parameters()


def test_equal_to_building_each_model(world):
    measurement = Measurement(str(world / "base"), world / "text.txt")
    own, alike = measurement.of_base()
    assert len(alike) == own.num_hidden_layers == 4
    assert all(-1 <= value <= 1 for value in alike)
    blocks = [*usual_blocks(4), {"layer_ranges": [[0, 3], [0, 2], [1, 4]]}]
    assert len(blocks) == 1 + 3 + 3 + 1 + 1 + 1
    blocks.append({"layout": "interleave", "every": 2, "init": "optimal_transport"})
    for block in blocks:
        found = measurement.of(parse(block))
        bits, parameters = of_a_built_model(
            world / "base", block, measurement.windows, measurement.nbytes
        )
        assert found.bits_per_byte == pytest.approx(bits, abs=1e-5), block
        assert found.parameters == parameters
        assert found.num_hidden_layers > 4
    assert measurement.of_base()[0] == own  # the base is as it was


def test_a_stack_that_is_not_possible_is_a_row(world):
    measurement = Measurement(str(world / "base"), world / "text.txt")
    found = measurement.of(parse({"layout": "interleave", "every": 3}))
    assert found.bits_per_byte is None
    assert found.why_not.startswith("depth_up_scaling.every: 4 layers are not groups of 3.")


def test_texts_that_are_refused(world, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("a few words")
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    for file, line in (
        (empty, "has 0 tokens, and one sequence is"),
        (short, "has 11 tokens, and one sequence is"),
        (tmp_path / "none.txt", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(SolarError, match=line):
            Measurement(str(world / "base"), file)


def test_the_command(world):
    arguments = ["dus", str(world / "base"), "--measure", str(world / "text.txt")]
    table = CliRunner().invoke(cli, [*arguments, "--layout", "repeat"])
    assert table.exit_code == 0, table.output
    lines = table.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:3]] == ["stack", "base", "repeat"]
    drawn = world / "stacks.svg"
    plotted = CliRunner().invoke(cli, [*arguments, "--json", "--plot", str(drawn)])
    found = json.loads(plotted.stdout)
    picture = ElementTree.parse(drawn).getroot()
    texts = {text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"base (4 layers)", "overlap m 1 (6 layers)", "repeat times 2 (8 layers)"} <= texts
    assert [row["name"] for row in found["stacks"]][:2] == ["base", "overlap m 1"]
    assert len(found["layer_similarity"]) == 4
