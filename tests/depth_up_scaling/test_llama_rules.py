"""Which config.json has a Llama that computes the same, and where it is refused."""

import json

import pytest
from click.testing import CliRunner

from solar_plugins.check import check_files
from solar_plugins.cli import cli
from solar_plugins.depth_up_scaling.as_llama import changes, of_recipe
from solar_plugins.errors import SolarError
from solar_plugins.models.model_config import KNOWN

MISTRAL = KNOWN["mistralai/Mistral-7B-v0.1"]


def test_mistral_7b_becomes_the_released_class():
    """SOLAR-10.7B-v1.0: LlamaForCausalLM, 4,096 positions, no window; the rest is Mistral's."""
    found = {**MISTRAL, **changes(MISTRAL, "base", 4096)}
    apart = {key: found[key] for key in found if found[key] != MISTRAL.get(key)}
    assert apart == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "max_position_embeddings": 4096,
        "sliding_window": None,
        "attention_bias": False,
        "mlp_bias": False,
    }
    assert changes(found, "a Llama", 1 << 20) == {}


def test_what_a_file_leaves_out_is_what_a_mistral_has():
    bare = {"model_type": "mistral", "attention_bias": True, "num_attention_heads": 4}
    assert "layer_types" not in changes(bare, "base")
    assert changes({**bare, "layer_types": ["sliding_attention"]}, "base")["layer_types"] is None
    found = changes(bare, "base")
    assert (found["intermediate_size"], found["num_key_value_heads"]) == (14336, 8)
    assert found["max_position_embeddings"] == 4096  # its window
    assert found["attention_bias"] is False  # a Mistral reads no such key
    assert changes({**bare, "sliding_window": None}, "base")["max_position_embeddings"] == 131072


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            {"model_type": "qwen3"},
            "is of model_type qwen3, and only a Mistral has a Llama that computes the same. Remove",
        ),
        (
            {"rope_scaling": {"type": "yarn", "factor": 4}},
            "scales positions (yarn) that lie beyond its sliding window of 4096. Remove",
        ),
        (
            {"num_attention_heads": 48, "head_dim": 128},
            "has a hidden_size that its heads do not divide, as those of a Llama do. Remove",
        ),
    ],
)
def test_no_such_llama(more, why):
    with pytest.raises(SolarError) as error:
        changes({**MISTRAL, **more}, "base")
    assert str(error.value) == f"depth_up_scaling.as_llama: base {why} as_llama."


def test_scaled_positions_stay_where_no_window_cuts_them():
    free = {**MISTRAL, "sliding_window": None, "rope_scaling": {"type": "yarn", "factor": 4}}
    assert changes(free, "base", 32768)["max_position_embeddings"] == 32768


def test_a_recipe_that_follows_its_base():
    recipe = {"depth_up_scaling": {"as_llama": True}, "plugins": ["solar_plugins.StagePlugin"]}
    assert of_recipe(recipe, {"model_type": "qwen3"}, "base") == {}
    assert of_recipe({**recipe, "depth_up_scaling": {}}, MISTRAL, "base") == {}
    with pytest.raises(SolarError, match="Write sequence_len: 4096, or remove as_llama"):
        of_recipe({**recipe, "sequence_len": 4097}, MISTRAL, "base")


def test_check_says_it_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = "plugins: [solar_plugins.DepthUpScalingPlugin, solar_plugins.StagePlugin]\n"
    head += "datasets: [{path: some/data, type: completion}]\ndepth_up_scaling: {as_llama: true}\n"

    def told(base, length):
        text = f"{head}base_model: {base}\nsequence_len: {length}\n"
        (tmp_path / "cpt.yml").write_text(text)
        found = list(check_files(["cpt.yml"], with_axolotl=False))
        return [(f.is_note, f.message) for f in found if f.path == "depth_up_scaling.as_llama"]

    assert told("mistralai/Mistral-7B-v0.1", 4096) == []
    ((is_note, message),) = told("mistralai/Mistral-7B-v0.1", 8192)
    assert not is_note
    assert message.startswith("mistralai/Mistral-7B-v0.1 has a sliding window of 4096 tokens")
    assert told("HuggingFaceTB/SmolLM2-135M", 8192) == []  # a Llama
    (tmp_path / "qwen").mkdir()
    (tmp_path / "qwen/config.json").write_text(
        json.dumps({**MISTRAL, "model_type": "qwen3", "sliding_window": None})
    )
    assert told("./qwen", 8192) == [(True, "./qwen stays qwen3.")]


def test_the_command(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(MISTRAL))

    def run(*options):
        return CliRunner().invoke(cli, ["dus", str(tmp_path), *options])

    result = run("--as-llama")
    assert result.exit_code == 2
    assert result.output.endswith("--as-llama needs --out: MergeKit copies layers as they are.\n")
    assert json.loads(run("--as-llama", "--json").output)["as_llama"] is True
    assert json.loads(run("--json").output)["as_llama"] is False
    assert "as_llama: true" in run("--like", "llama-pro", "--as-llama").output
    (tmp_path / "config.json").write_text(json.dumps({**MISTRAL, "model_type": "gemma"}))
    assert "is of model_type gemma" in run("--as-llama", "--json").output
