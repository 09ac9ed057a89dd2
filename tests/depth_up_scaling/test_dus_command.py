"""``solar dus BASE``: a MergeKit config, offline for folders."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner

from solar_plugins.cli import cli
from solar_plugins.depth_up_scaling.args import parse
from solar_plugins.depth_up_scaling.published import STACKS


@pytest.fixture
def base(tmp_path):
    def write(**config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return str(tmp_path)

    return write


def run(*arguments):
    return CliRunner().invoke(cli, ["dus", *arguments])


def test_mistral_7b(base):
    folder = base(num_hidden_layers=32, torch_dtype="bfloat16")
    result = run(folder)
    assert result.exit_code == 0
    assert yaml.safe_load(result.output) == {
        "slices": [
            {"sources": [{"model": folder, "layer_range": [0, 24]}]},
            {"sources": [{"model": folder, "layer_range": [8, 32]}]},
        ],
        "merge_method": "passthrough",
        "dtype": "bfloat16",
    }
    assert result.output.splitlines()[0] == (
        "# 32 -> 48 layers: 8 removed from each copy at the seam (SOLAR paper, section 2)"
    )


@pytest.mark.parametrize(
    "config",
    [{"n_layer": 8}, {"num_layers": 8}, {"text_config": {"num_hidden_layers": 8}}],
)
def test_other_places_of_the_depth(base, config):
    result = run(base(**config), "--remove-layers", "3")
    slices = yaml.safe_load(result.output)["slices"]
    assert [s["sources"][0]["layer_range"] for s in slices] == [[0, 5], [3, 8]]
    assert "dtype" not in yaml.safe_load(result.output)


def test_any_stack(base):
    folder = base(num_hidden_layers=32, torch_dtype="bfloat16")
    for arguments, ranges, line in (
        (
            ["--layer-ranges", "0-24, 8-24,8:32"],
            [[0, 24], [8, 24], [8, 32]],
            "# 32 -> 64 layers: 3 ranges, at the seams 23 then 8 (15 back), 23 then 8 (15 back)",
        ),
        (
            ["--target-layers", "40"],
            [[0, 20], [12, 32]],
            "# 32 -> 40 layers: 12 removed from each copy at the seam (SOLAR paper, section 2)",
        ),
    ):
        result = run(folder, *arguments)
        assert result.exit_code == 0, result.output
        slices = yaml.safe_load(result.output)["slices"]
        assert [s["sources"][0]["layer_range"] for s in slices] == ranges
        assert result.output.splitlines()[0] == line


def test_it_says_what_mergekit_would_leave(base):
    folder = base(num_hidden_layers=4, layer_types=["s", "s", "s", "f"], mlp_only_layers=[3])
    lines = run(folder).output.splitlines()
    assert lines[1] == (
        "# MergeKit changes the depth alone, but this config also says per layer: layer_types, "
        "mlp_only_layers."
    )
    assert lines[2] == (f"# Write the model with this instead: solar dus {folder} --out OUT")
    assert "MergeKit changes" not in run(base(num_hidden_layers=4)).output


def test_the_picture(base, tmp_path):
    folder, file = base(num_hidden_layers=32), tmp_path / "pictures" / "map.svg"
    result = CliRunner().invoke(cli, ["dus", folder, "--plot", str(file), "--init", "identity"])
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert result.stderr == f"{file}: layer map, 23 -> 8 (15 back)\n"
    root = ElementTree.parse(file).getroot()
    assert f"32 → 48 layers · {tmp_path.name}" in "".join(root.itertext())
    assert file.read_text().count(' added"') == 16


def test_the_layer_map_as_json(base):
    facts = json.loads(run(base(num_hidden_layers=4), "--json").output)
    assert facts["layer_map"] == [0, 1, 2, 1, 2, 3]
    assert facts["layer_ranges"] == [[0, 3], [1, 4]]
    assert facts["remove_layers"] == 1
    assert facts["seams"] == [[2, 1]]


def test_faults_end_with_one_line(base, tmp_path):
    too_many = run(base(num_hidden_layers=32), "--remove-layers", "16")
    assert too_many.exit_code == 1
    assert too_many.output == (
        "Error: depth_up_scaling.remove_layers: 16 of 32 layers leaves 32, no deeper than the "
        "base. Choose 1 to 15; SOLAR 10.7B uses 8 (48 layers).\n"
    )
    assert "does not say how many layers" in run(base(hidden_size=4)).output
    assert "says it has '4' layers" in run(base(num_hidden_layers="4")).output
    assert (
        "is an encoder-decoder model (t5)"
        in run(base(num_layers=4, is_encoder_decoder=True, model_type="t5")).output
    )
    mark = {"base_num_hidden_layers": 4, "remove_layers": 1, "layer_map": [0, 1, 2, 1, 2, 3]}
    grown = run(base(num_hidden_layers=6, depth_up_scaling=mark))
    assert "is depth up-scaled already (4 -> 6 layers)" in grown.output
    (tmp_path / "config.json").write_text("{")
    assert "not readable as JSON" in run(str(tmp_path)).output
    (tmp_path / "config.json").unlink()
    assert "holds no config.json" in run(str(tmp_path)).output
    assert run("no such folder").exit_code == 1
    assert run(str(tmp_path), "--remove-layers", "eight").exit_code == 2


def test_a_path_that_yaml_would_read_otherwise(tmp_path):
    folder = tmp_path / "a: {b} #c"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 4}))
    model = yaml.safe_load(run(str(folder)).output)["slices"][0]["sources"][0]["model"]
    assert model == str(folder)


def test_no_heavy_import(base):
    code = (
        "import sys; from click.testing import CliRunner; from solar_plugins.cli import cli; "
        f"r = CliRunner().invoke(cli, ['dus', {base(num_hidden_layers=4)!r}]); "
        "assert r.exit_code == 0, r.output; "
        "print(sorted({'torch', 'transformers', 'axolotl', 'mergekit'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_published_stacks(base):
    """The depths that the papers name, each as a block that a recipe takes."""
    depths = {
        "solar": (32, 48),
        "yi-9b": (32, 48),
        "granite-34b": (52, 88),
        "llama-pro": (32, 40),
        "g-stack": (24, 48),
        "avg-deus": (32, 48),
        "opt-deus": (32, 48),
    }
    assert depths.keys() == STACKS.keys()
    for name, (before, after) in depths.items():
        result = run(base(num_hidden_layers=before), "--like", name)
        assert result.exit_code == 0, result.output
        assert result.output.splitlines()[1].startswith("# (arXiv ")
        block = parse(yaml.safe_load(result.output)["depth_up_scaling"])
        assert len(block.layer_map(before)) == after
    layers = parse(STACKS["avg-deus"].block(8)).layer_map(8)
    assert layers == [0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]
    assert parse(STACKS["yi-9b"].block(32)).layer_map(32) == [*range(28), *range(12, 32)]


def test_a_published_stack_that_does_not_fit(base):
    result = run(base(num_hidden_layers=30), "--like", "llama-pro")
    assert result.exit_code == 1
    assert result.output.startswith(
        "Error: --like: llama-pro is for bases whose layers are a multiple of 4, and this one has "
        "30. LLaMA Pro: "
    )
    twice = run(base(num_hidden_layers=32), "--like", "solar", "--every", "4")
    assert twice.exit_code == 2
    assert "--like solar and --every both name the stack. Keep one." in twice.output
