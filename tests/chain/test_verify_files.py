"""What is seen in a model folder and in a checkpoint without torch."""

from __future__ import annotations

import json

import pytest
from model_files import write_checkpoint, write_model, write_safetensors

from solar_plugins.chain.verify.files import check_evaluation, check_model_folder, check_run_records
from solar_plugins.errors import SolarError
from solar_plugins.models import safetensors_header, training_checkpoints


def test_a_sound_model_passes(tmp_path):
    write_model(tmp_path, layers=3, config={"layer_types": ["full_attention"] * 3})
    assert check_model_folder(tmp_path) == {
        "num_hidden_layers": 3,
        "parameters": 8 * 4 + 3 * 6 * 4,
    }


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def empty_tensor(folder):
    write_safetensors(folder / "model.safetensors", **{"model.layers.0.mlp.weight": [0]})


def too_many_layers(folder):
    (folder / "config.json").write_text('{"num_hidden_layers": 2}')


def too_few_layers(folder):
    (folder / "config.json").write_text('{"num_hidden_layers": 5}')


def short_list(folder):
    (folder / "config.json").write_text('{"num_hidden_layers": 3, "layer_types": ["a", "a"]}')


def no_tokenizer(folder):
    (folder / "tokenizer_config.json").unlink()


def half_config(folder):
    (folder / "config.json").write_text('{"num_hidden')


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (cut, "model.safetensors: cut short or damaged: its header promises"),
        (no_weights, "no weights (model.safetensors, model.safetensors.index.json or adapter_"),
        (empty_tensor, "model.layers.0.mlp.weight is empty (shape [0]). A save under ZeRO-3"),
        (too_many_layers, "num_hidden_layers: 2, but the weights have layers 0-2: there are more."),
        (too_few_layers, "num_hidden_layers: 5, but the weights have layers 0-2: layers 3-4 have"),
        (short_list, "config.json: layer_types: 2 entries for 3 layers. It needs one per layer."),
        (no_tokenizer, "no tokenizer (tokenizer_config.json, tokenizer.json)."),
        (half_config, "config.json: not JSON; cut short?"),
    ],
)
def test_damage_is_named(tmp_path, damage, line):
    write_model(tmp_path, layers=3)
    damage(tmp_path)
    with pytest.raises(SolarError) as error:
        check_model_folder(tmp_path)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_an_index_must_agree_with_its_files(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", x=[2])
    index = tmp_path / safetensors_header.INDEX
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors"}}))
    assert safetensors_header.read_model(tmp_path)["x"].shape == (2,)
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "a.safetensors"}}))
    with pytest.raises(SolarError, match=r"names y in a.safetensors, where it is not"):
        safetensors_header.read_model(tmp_path)
    index.write_text(json.dumps({"weight_map": {"x": "b.safetensors"}}))
    with pytest.raises(SolarError, match=r"names b.safetensors, which is not there"):
        safetensors_header.read_model(tmp_path)


def test_a_plugin_without_its_proof_did_not_run(tmp_path):
    recipe = {"plugins": ["solar_plugins.DepthUpScalingPlugin", "solar_plugins.StagePlugin"]}
    (tmp_path / "solar").mkdir()
    for name in ("stage", "training"):
        (tmp_path / f"solar/{name}.json").write_text("{}")
    with pytest.raises(SolarError, match=r"solar/depth_up_scaling.json: missing, so the plugin"):
        check_run_records(tmp_path, recipe)
    (tmp_path / "solar/depth_up_scaling.json").write_text('{"num_hidden_layers": 48}')
    assert check_run_records(tmp_path, recipe)["depth_up_scaling"] == {"num_hidden_layers": 48}


@pytest.mark.parametrize("value", ["NaN", "null", "Infinity"])
def test_an_evaluation_without_a_number_is_refused(tmp_path, value):
    file = tmp_path / "base.json"
    file.write_text('{"tasks": {"mini_arc": {"value": 0.25}}, "losses": {}, "h6": null}')
    assert check_evaluation(file) == {"h6": None}
    file.write_text(f'{{"tasks": {{"mini_arc": {{"value": {value}}}}}}}')
    with pytest.raises(SolarError, match="A number is needed"):
        check_evaluation(file)


def test_an_evaluation_of_pairs_alone_is_one(tmp_path):
    file = tmp_path / "base.json"
    pairs = '{"held_out_pairs": {"values": {"acc,none": 0.5}}}'
    file.write_text(f'{{"tasks": {{}}, "losses": {{}}, "other": {pairs}, "h6": null}}')
    assert check_evaluation(file) == {"h6": None}


def half_optimizer(path):
    file = path / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:500])


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (half_optimizer, "optimizer.pt is cut short"),
        (cut, "cut short or damaged"),
        (lambda path: (path / "trainer_state.json").unlink(), "no trainer_state.json"),
        (lambda path: (path / "trainer_state.json").write_text('{"gl'), "is cut short"),
        (lambda path: (path / "rng_state.pth").unlink(), "no rng_state.pth"),
        (lambda path: (path / "scheduler.pt").unlink(), "no scheduler.pt"),
    ],
)
def test_the_newest_whole_checkpoint_is_taken_and_half_ones_set_aside(tmp_path, damage, why):
    older, newer = write_checkpoint(tmp_path, 9), write_checkpoint(tmp_path, 10)
    assert training_checkpoints.newest_whole(tmp_path) == newer, "10 comes after 9"
    damage(newer)
    assert why in training_checkpoints.why_not_whole(newer)
    assert training_checkpoints.newest_whole(tmp_path) == older
    assert (tmp_path / "incomplete-checkpoint-10").is_dir()
    training_checkpoints.remove_incomplete(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-9"]


def test_deepspeed_keeps_its_optimizer_elsewhere(tmp_path):
    path = write_checkpoint(tmp_path, 5)
    (path / "optimizer.pt").unlink()
    (path / "global_step5").mkdir()
    assert training_checkpoints.why_not_whole(path) == "no file 'latest' beside DeepSpeed's shards"
    (path / "latest").write_text("global_step5")
    assert training_checkpoints.why_not_whole(path) == "no optimizer states in global_step5"
    shard = path / "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt"
    (path / "rng_state.pth").replace(shard)
    (path / "scheduler.pt").replace(path / "rng_state_0.pth")
    assert training_checkpoints.why_not_whole(path) is None, "its own scheduler is in the shards"
    (path / "scheduler.pt").write_bytes(b"PK half")
    assert training_checkpoints.why_not_whole(path) == "scheduler.pt is cut short"


def test_fsdp_keeps_model_and_optimizer_in_shards(tmp_path):
    path = write_checkpoint(tmp_path, 5)
    for name in ("model.safetensors", "optimizer.pt"):
        (path / name).unlink()
    for name in ("pytorch_model_fsdp_0", "optimizer_0"):
        (path / name).mkdir()
    assert training_checkpoints.why_not_whole(path) == "FSDP's shards are cut short"
    for name in ("pytorch_model_fsdp_0", "optimizer_0"):
        (path / name / ".metadata").write_bytes(b"written last")
    assert training_checkpoints.why_not_whole(path) is None
