"""`axolotl train` with the plugin: whole runs, in this process, on a tiny base."""

import json
import shutil
import sys

import pytest
import torch
from axolotl.cli.preprocess import do_cli as axolotl_preprocess
from axolotl.cli.train import do_cli as axolotl_train
from dus_runs import Runs
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from solar_plugins import run_record
from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow

MAP = [0, 1, 2, 1, 2, 3]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["axolotl"])  # axolotl parses it for its own options
        yield Runs(tmp_path_factory.mktemp("dus_train"))


@pytest.fixture(scope="module")
def trained(runs):
    return runs.train("trained")


def test_the_saved_model(trained, runs):
    config = AutoConfig.from_pretrained(trained)
    assert config.num_hidden_layers == 6
    assert config.depth_up_scaling == {
        "base_num_hidden_layers": 4,
        "remove_layers": 1,
        "layer_ranges": [[0, 3], [1, 4]],
        "layer_map": MAP,
        "init": "copy",
    }
    tensors = load_file(trained / "model.safetensors")
    layers = {int(name.split(".")[2]) for name in tensors if name.startswith("model.layers.")}
    assert layers == set(range(6))
    up = [tensors[f"model.layers.{i}.mlp.up_proj.weight"] for i in range(6)]
    assert not torch.equal(up[1], up[3])  # copies of one base layer, trained apart
    model = AutoModelForCausalLM.from_pretrained(trained)
    assert torch.isfinite(model(torch.tensor([[1, 5, 9]])).logits).all()
    assert run_record.read(trained, "depth_up_scaling") == {
        "solar_plugins": run_record.__version__,
        "base_model": str(runs.base),
        "base_num_hidden_layers": 4,
        "num_hidden_layers": 6,
        "remove_layers": 1,
        "layer_ranges": [[0, 3], [1, 4]],
        "layer_map": MAP,
        "init": "copy",
        "train": "all",
        "as_llama": False,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def test_the_base_stays_as_it_is(trained, runs):
    assert AutoConfig.from_pretrained(runs.base).num_hidden_layers == 4


def test_without_the_plugin_the_base_is_trained(trained, runs):
    """Also: a plugin that an earlier recipe of this process named does not act on this one."""
    plain = runs.train("plain", plugins=None, depth_up_scaling=None, max_steps=1)
    assert AutoConfig.from_pretrained(plain).num_hidden_layers == 4
    assert run_record.read(plain, "depth_up_scaling") is None


def test_start_is_the_base_layer_by_layer(runs):
    """With the least learning rate the saved model is the base's layers in the map's order."""
    start = load_file(runs.train("start", learning_rate=1e-7, max_steps=1) / "model.safetensors")
    base = load_file(runs.base / "model.safetensors")

    def same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
        return torch.allclose(ours, theirs, rtol=0, atol=1e-6)

    assert same(start["lm_head.weight"], base["lm_head.weight"])
    for i, j in enumerate(MAP):
        ours = {k.split(".", 3)[3]: k for k in start if k.startswith(f"model.layers.{i}.")}
        theirs = {k.split(".", 3)[3]: k for k in base if k.startswith(f"model.layers.{j}.")}
        assert ours.keys() == theirs.keys()
        assert all(same(start[ours[k]], base[theirs[k]]) for k in ours)


def test_resume_goes_on_and_does_not_grow_again(trained, runs):
    resumed = runs.folder / "resumed"
    shutil.copytree(trained / "checkpoint-2", resumed / "checkpoint-2")
    runs.train("resumed", auto_resume_from_checkpoints=True)
    assert json.loads((resumed / "config.json").read_text())["num_hidden_layers"] == 6
    ours, theirs = (load_file(run / "model.safetensors") for run in (resumed, trained))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_grown_model_goes_on_without_the_plugin(trained, runs):
    later = runs.train(
        "later", base_model=str(trained), plugins=None, depth_up_scaling=None, max_steps=1
    )
    config = AutoConfig.from_pretrained(later)
    assert config.num_hidden_layers == 6
    assert config.depth_up_scaling["layer_map"] == MAP


def test_preprocess(runs):
    axolotl_preprocess(runs.recipe("preprocessed", dataset_prepared_path=str(runs.folder / "p")))
    assert any((runs.folder / "p").iterdir())


def test_dpo_reference_is_up_scaled_too(runs):
    """The first DPO loss is ln 2 only if policy and reference are the same model."""
    out = runs.train(
        "dpo",
        rl="dpo",
        datasets=[runs.preferences("pairs")],
        remove_unused_columns=False,
        max_steps=2,
    )
    state = json.loads((out / "checkpoint-2" / "trainer_state.json").read_text())
    assert state["log_history"][0]["loss"] == pytest.approx(0.693147, abs=1e-6)
    assert AutoConfig.from_pretrained(out).num_hidden_layers == 6


def losses(run, step):
    state = json.loads((run / f"checkpoint-{step}" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def test_sample_packing_over_two_seams(runs):
    """Continued pretraining as it is done at full size: several texts in one row."""
    keys = {
        "sample_packing": True,
        "pad_to_sequence_len": True,
        "sequence_len": 192,
        "attn_implementation": "sdpa",
        "max_steps": 2,
    }
    ranges = [[0, 3], [1, 3], [1, 4]]
    packed = runs.train("packed", depth_up_scaling={"layer_ranges": ranges}, **keys)
    config = AutoConfig.from_pretrained(packed)
    assert config.num_hidden_layers == 8
    assert config.depth_up_scaling["layer_map"] == [0, 1, 2, 1, 2, 1, 2, 3]
    assert config.depth_up_scaling["remove_layers"] is None
    assert len(losses(packed, 2)) == 2


def test_identity_starts_with_the_loss_of_the_base(runs):
    keys = {"max_steps": 2, "save_steps": 2}
    identity = {"remove_layers": 1, "init": "identity"}
    deeper = losses(runs.train("identity", depth_up_scaling=identity, **keys), 2)
    shallower = losses(runs.train("shallow", plugins=None, depth_up_scaling=None, **keys), 2)
    assert deeper[0] == shallower[0]
    assert deeper[1] != shallower[1]  # the added layers learn from the first step on


@pytest.mark.parametrize("init", ["identity", "average"])
def test_only_the_added_layers_learn(init, runs):
    """LLaMA Pro: the base's tensors come out bit for bit, and the optimizer knows the new ones."""
    block = {"layout": "interleave", "every": 2, "init": init, "train": "added"}
    out = runs.train(f"added_{init}", depth_up_scaling=block, gradient_checkpointing=True)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (out, runs.base))
    layers = [0, 1, 1, 2, 3, 3]
    for name, tensor in ours.items():
        parts = name.split(".")
        in_layer = parts[1] == "layers"
        i = int(parts[2]) if in_layer else 0
        base = ".".join([*parts[:2], str(layers[i]), *parts[3:]]) if in_layer else name
        assert torch.equal(tensor, theirs[base]) == (i not in (2, 5)), name
    optimizer = torch.load(out / "checkpoint-4" / "optimizer.pt", weights_only=False)
    trained = sum("layers.2." in name or "layers.5." in name for name in ours)
    assert len(optimizer["state"]) == trained
    record = run_record.read(out, "depth_up_scaling")
    assert (record["train"], record["init"]) == ("added", init)
    assert AutoConfig.from_pretrained(out).depth_up_scaling["layer_map"] == layers


def line(runs, **keys):
    with pytest.raises(SolarError) as error:
        axolotl_train(runs.recipe("refused", **keys))
    assert not (runs.folder / "refused").exists()
    return str(error.value)


def test_what_is_refused_before_anything_is_loaded(trained, runs, tmp_path):
    assert line(runs, depth_up_scaling={"remove_layers": 2}) == (
        "depth_up_scaling.remove_layers: 2 of 4 layers leaves 4, no deeper than the base. "
        "Choose 1; a quarter, as in the paper, is 1 (6 layers)."
    )
    assert line(runs, depth_up_scaling={"remove_layer": 1}).endswith(
        "Did you mean 'remove_layers'?"
    )
    assert line(runs, base_model=str(trained)) == (
        f"base_model: {trained} is depth up-scaled already (4 -> 6 layers). Remove "
        "`depth_up_scaling` and its plugin from this recipe, or name the base of 4 layers."
    )
    assert line(runs, reinit_weights=True).startswith("reinit_weights: ")
    assert line(runs, output_dir=str(runs.base)).startswith("output_dir: ")
    assert line(runs, overrides_of_model_config={"num_hidden_layers": 7}) == (
        "overrides_of_model_config.num_hidden_layers: follows from the base's layers under "
        "depth_up_scaling. Remove it."
    )
    shutil.copytree(runs.base, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert "its header promises" in line(runs, base_model=str(tmp_path / "cut"))
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    shutil.copy(runs.base / "model.safetensors", weights)
    (tmp_path / "cut" / "config.json").write_text(
        json.dumps({**config, "model_type": "qwen3", "layer_types": ["full_attention"] * 3})
    )
    assert line(runs, base_model=str(tmp_path / "cut")).endswith(
        "`num_hidden_layers` (4) must be equal to the number of `layer_types` (3)"
    )
    assert "no config of no/such-model" in line(runs, base_model="no/such-model")
    weights.unlink()
    assert "holds no model.safetensors" in line(runs, base_model=str(tmp_path / "cut"))


def test_other_overrides_stay(runs):
    out = runs.train(
        "overrides",
        overrides_of_model_config={"attention_dropout": 0.125},
        depth_up_scaling=None,  # the plugin is named: a quarter of 4 layers
        max_steps=1,
    )
    config = AutoConfig.from_pretrained(out)
    assert config.attention_dropout == 0.125
    assert config.num_hidden_layers == 6
