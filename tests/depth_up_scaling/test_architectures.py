"""The loaded model is the base's layers, in the order of the layer map, and nothing is shared."""

import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_families import FAMILIES, LAYERS
from transformers import AutoConfig, AutoModelForCausalLM, RecurrentGemmaConfig, T5Config

from solar_plugins.depth_up_scaling.layer_map import layer_map
from solar_plugins.depth_up_scaling.remap import (
    grow_config,
    key_layers,
    remapped_state_dict,
    up_scaled_loading,
)
from solar_plugins.depth_up_scaling.structure import layer_lists, skeleton
from solar_plugins.errors import SolarError

MAP = layer_map(LAYERS, 3)


def up_scaled(folder, layers=MAP, **options):
    base_config = AutoConfig.from_pretrained(folder)
    config, _ = grow_config(base_config, layers)
    with up_scaled_loading(base_config, layers) as report:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, config=config, output_loading_info=True, **options
        )
    assert report.model_class is type(model)
    assert not info["missing_keys"]
    return model.eval(), info, report


def plain(folder, **options):
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def expected_tensors(base, lists, layers):
    """The state dict that the up-scaled model must have, from the base's own."""
    expected = {}
    for name, tensor in base.state_dict().items():
        inside = [prefix for prefix in lists if name.startswith(f"{prefix}.")]
        if not inside:
            expected[name] = tensor
            continue
        index, rest = name[len(inside[0]) + 1 :].split(".", 1)
        for i, j in enumerate(layers):
            if j == int(index):
                expected[f"{inside[0]}.{i}.{rest}"] = tensor
    return expected


def config_has_experts(model):
    """Experts that no token chose get no gradient."""
    return "experts" in " ".join(name for name, _ in model.named_modules())


IDS = torch.tensor([[5, 9, 13, 2, 40, 41, 8, 30, 3, 17, 22, 60]])


@pytest.mark.parametrize("family", FAMILIES)
def test_right_on(family, tiny_base, tmp_path):
    folder = tiny_base(family)
    model, info, _ = up_scaled(folder)
    base = plain(folder)
    lists = layer_lists(base, model)
    assert len(lists) == 1

    expected = expected_tensors(base, lists, MAP)
    found = model.state_dict()
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]

    pointers = [parameter.data_ptr() for parameter in model.parameters()]
    assert len(set(pointers)) == len(pointers)
    for i, layer in enumerate(model.get_submodule(lists[0])):
        indices = {vars(module).get("layer_idx", i) for module in layer.modules()}
        assert indices == {i}

    logits = model(IDS).logits
    logits.sum().backward()
    gradients = [p.grad is not None for p in model.get_submodule(lists[0])[5].parameters()]
    assert all(gradients) or (config_has_experts(model) and any(gradients))
    model.save_pretrained(tmp_path)
    again = plain(tmp_path)
    assert torch.equal(again(IDS).logits, logits)
    assert not torch.equal(base(IDS).logits, logits)


def test_oracle_the_added_layers_switched_off_give_the_base(tiny_base):
    """Base layers 3 and 4 come a second time at 5 and 6; without their output they do nothing."""
    folder = tiny_base("llama")
    model, _, _ = up_scaled(folder)
    assert MAP[5:7] == [3, 4]
    with torch.no_grad():
        for layer in model.model.layers[5:7]:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        assert torch.equal(model(IDS).logits, plain(folder)(IDS).logits)


def test_training_touches_neither_the_twin_nor_the_file(tiny_base):
    folder = tiny_base("mistral")
    file = folder / "model.safetensors"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    model, _, _ = up_scaled(folder)
    with torch.no_grad():
        model.model.layers[5].mlp.up_proj.weight.fill_(1.0)
        base = plain(folder)
        twin, original = (m.model.layers[3].mlp.up_proj.weight for m in (model, base))
        assert torch.equal(twin, original)
        for parameter in model.parameters():
            parameter.fill_(7.0)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


@pytest.mark.parametrize("remove_layers", [1, 2, 3])
def test_shards_and_dtypes(tiny_base, remove_layers):
    layers = layer_map(LAYERS, remove_layers)
    folder = tiny_base("llama", max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    for dtype in (torch.float32, torch.bfloat16):
        model, _, _ = up_scaled(folder, layers, dtype=dtype)
        assert {p.dtype for p in model.parameters()} == {dtype}
        expected = expected_tensors(plain(folder, dtype=dtype), ["model.layers"], layers)
        found = model.state_dict()
        assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_real_tensors_for_zero3_view_the_file_once_per_use(tiny_base):
    folder = tiny_base("llama")
    file = folder / "model.safetensors"
    base = plain(folder)
    places = key_layers(load_file(file), base, ["model.layers"], ())
    state_dict = remapped_state_dict([str(file)], places, MAP, mapped=True)
    expected = expected_tensors(base, ["model.layers"], MAP)
    assert state_dict.keys() == expected.keys()
    assert all(torch.equal(state_dict[name], expected[name]) for name in expected)
    pointers = [tensor.data_ptr() for tensor in state_dict.values()]
    assert len(set(pointers)) == len(pointers)


def test_names_behind_the_last_layer_are_dropped(tiny_base, tmp_path):
    """A head for further tokens is stored as layer n, which would be a real layer once grown."""
    folder = tiny_base("llama")
    tensors = load_file(folder / "model.safetensors")
    extra = f"model.layers.{LAYERS}.self_attn.q_proj.weight"
    tensors[extra] = torch.full_like(tensors["model.layers.0.self_attn.q_proj.weight"], 9.0)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    model, _, report = up_scaled(tmp_path)
    assert report.dropped == [extra]
    wanted = plain(folder).state_dict()[f"model.layers.{MAP[LAYERS]}.self_attn.q_proj.weight"]
    assert torch.equal(model.state_dict()[extra], wanted)


def test_the_patch_is_gone_after_the_block(tiny_base):
    folder = tiny_base("llama")
    base_config = AutoConfig.from_pretrained(folder)
    with pytest.raises(RuntimeError), up_scaled_loading(base_config, MAP):
        raise RuntimeError
    assert plain(folder).config.num_hidden_layers == LAYERS
    with up_scaled_loading(base_config, MAP) as report:  # another depth is left alone
        assert len(plain(folder).model.layers) == LAYERS
    assert report.model_class is None


def refusal(function, *arguments):
    with pytest.raises(SolarError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_tensor(tiny_base, tmp_path):
    folder = tiny_base("llama")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.4.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    assert refusal(up_scaled, tmp_path) == (
        f"base_model: {tmp_path} has no tensor for model.layers.4.mlp.up_proj.weight "
        "(2 missing in all). Fetch or write the base again."
    )


def test_cut_short_while_loading(tiny_base, tmp_path):
    folder = tiny_base("llama")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    whole = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-100])
    assert "where its header promises" in refusal(up_scaled, tmp_path, MAP)


def test_structure_that_the_rules_do_not_know():
    """recurrent_gemma repeats (recurrent, recurrent, attention) with no list in its config."""
    config = RecurrentGemmaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=8, head_dim=8
    )
    from solar_plugins.depth_up_scaling.structure import check_structure

    model_class = AutoModelForCausalLM._model_mapping[type(config)]
    grown, _ = grow_config(config, MAP)
    base, target = skeleton(model_class, config), skeleton(model_class, grown)
    assert refusal(check_structure, base, target, MAP) == (
        "base_model: recurrent_gemma would not build layer 5 like layer 3 of the base, from which "
        "it is copied: temporal_block is RecurrentGemmaAttention, not "
        "RecurrentGemmaRecurrentBlock. Choose another depth_up_scaling.remove_layers or another "
        "base."
    )
    # one layer fewer removed moves the second copy by a whole period
    layers = layer_map(8, 1)
    grown, _ = grow_config(config, layers)
    assert check_structure(base, skeleton(model_class, grown), layers) == ["model.layers"]


def test_bases_that_cannot_be_grown():
    assert "t5 is an encoder-decoder model" in refusal(grow_config, T5Config(), MAP)
    quantised = AutoConfig.for_model("llama", num_hidden_layers=LAYERS)
    quantised.quantization_config = {"quant_method": "gptq", "bits": 4}
    assert "quantised already (gptq)" in refusal(grow_config, quantised, MAP)
    dense = AutoConfig.for_model("deepseek_v3", num_hidden_layers=LAYERS, first_k_dense_replace=4)
    assert "(first_k_dense_replace)" in refusal(grow_config, dense, MAP)


def test_base_config_is_left_as_it_was(tiny_base):
    base_config = AutoConfig.from_pretrained(tiny_base("gemma3"))
    before = json.dumps(base_config.to_dict(), default=str)
    grown, _ = grow_config(base_config, MAP)
    assert json.dumps(base_config.to_dict(), default=str) == before
    assert grown.get_text_config().num_hidden_layers == len(MAP)
    assert grown.vision_config.num_hidden_layers == LAYERS


def test_the_base_has_these_names(tiny_base):
    """What `expected_tensors` relies on: the file holds every layer's tensors by number."""
    with safe_open(tiny_base("llama") / "model.safetensors", framework="pt") as file:
        assert sum(".mlp.up_proj." in key for key in file.keys()) == LAYERS  # noqa: SIM118
