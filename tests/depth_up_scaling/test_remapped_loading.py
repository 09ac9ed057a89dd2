"""How the base's files become the deeper model: shards, dtypes, stacks, and what is refused."""

import hashlib
import json
import os

import pytest
import torch
from coverage_judge import expected_tensors, up_scaled
from safetensors.torch import load_file, save_file
from tiny_architectures import IDS, LAYERS, model_class_of, tiny_config
from transformers import AutoConfig, AutoModelForCausalLM, RecurrentGemmaConfig
from transformers.models.llama import modeling_llama

from solar_plugins.depth_up_scaling import tensor_plan
from solar_plugins.depth_up_scaling.growth import Growth, base_depth, grow
from solar_plugins.depth_up_scaling.layer_map import (
    added_layers,
    interleave,
    layer_map,
    repeat,
    stacked,
)
from solar_plugins.depth_up_scaling.remap import remapped_state_dict, up_scaled_loading
from solar_plugins.depth_up_scaling.structure import check_structure
from solar_plugins.depth_up_scaling.tensor_plan import blueprint, plan_tensors
from solar_plugins.errors import SolarError
from solar_plugins.models.safetensors_header import read_files
from solar_plugins.seams.transformers import skeleton

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

MAP = layer_map(LAYERS, 3)  # [0, 1, 2, 3, 4, 3, 4, 5, 6, 7]
THREE_COPIES = stacked([(0, 6), (2, 6), (2, 8)])


def plain(folder, **options):
    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def differences(model, base, layers, zeroed=()):
    found = model.state_dict()
    expected = expected_tensors(found, base, ["model.layers"], layers, zeroed)
    return [name for name in found if not torch.equal(found[name], expected[name])]


@pytest.mark.parametrize(
    "layers",
    [
        layer_map(LAYERS, 1),
        MAP,
        THREE_COPIES,
        stacked([(0, 8), (4, 5), (4, 5), (0, 2)]),  # single layers, and the start once more
        stacked([(4, 8), (0, 6)]),  # out of order
    ],
    ids=str,
)
def test_any_stack_of_shards_in_two_dtypes(tiny_base, layers):
    folder = tiny_base("llama", "40KB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    for dtype in (torch.float32, torch.bfloat16):
        model, info, _ = up_scaled(folder, layers, dtype=dtype)
        assert {p.dtype for p in model.parameters()} == {dtype}
        assert not info["missing_keys"]
        assert differences(model, plain(folder, dtype=dtype), layers) == []
        pointers = [p.data_ptr() for p in model.parameters()]
        assert len(set(pointers)) == len(pointers)


@pytest.mark.parametrize("layers", [MAP, THREE_COPIES, stacked([(4, 6), (0, 8)])], ids=str)
def test_identity_of_any_stack(tiny_base, layers):
    folder = tiny_base("llama")
    model, _, report = up_scaled(folder, layers, init="identity")
    base = plain(folder)
    outputs = ("mlp.down_proj.weight", "self_attn.o_proj.weight")
    added = added_layers(layers, LAYERS)
    zeroed = {f"model.layers.{i}.{name}" for i in added for name in outputs}
    assert report.plan.zeroed == zeroed
    assert differences(model, base, layers, zeroed) == []
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, base(IDS).logits)
        copied, _, _ = up_scaled(folder, layers)
        assert not torch.equal(copied(IDS).logits, base(IDS).logits)


@pytest.mark.parametrize("layers", [interleave(LAYERS, 4), repeat(LAYERS, 2)], ids=str)
def test_identity_of_the_other_layouts(tiny_base, layers):
    folder = tiny_base("llama", "40KB")
    model, _, _ = up_scaled(folder, layers, init="identity")
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, plain(folder)(IDS).logits)


def test_average_is_the_mean_of_two_neighbours(tiny_base):
    """Re-stated with the base in memory; the tensors of a layer lie in several shards."""
    folder = tiny_base("llama", "40KB")
    layers = interleave(LAYERS, 4)  # layer 4 between 3 and 4; layer 9 behind the last
    for dtype in (torch.float32, torch.bfloat16):
        model, _, report = up_scaled(folder, layers, init="average", dtype=dtype)
        base = plain(folder, dtype=torch.float32).model.layers
        assert len(report.plan.averaged) == len(base[3].state_dict())
        for name, found in model.model.layers[4].state_dict().items():
            expected = (base[3].state_dict()[name] + base[4].state_dict()[name]) / 2
            assert torch.equal(found, expected.to(dtype))
        averaged = set(report.plan.averaged)
        assert not set(differences(model, plain(folder, dtype=dtype), layers)) - averaged


def test_average_needs_neighbours_that_are_built_alike(tiny_base):
    """Qwen3-Next's layer 3 has full attention, its layer 4 linear."""
    assert refusal(up_scaled, tiny_base("qwen3_next"), interleave(LAYERS, 4), "average") == (
        "depth_up_scaling.init: average needs neighbours that are built alike, and layers 3 and 4 "
        "of this base are not (model.layers.3.self_attn.k_norm.weight). Write init: copy or "
        "identity."
    )


@pytest.mark.parametrize(
    ("layers", "what"),
    [
        (stacked([(0, 7), (0, 6)]), "leave out base layer 7"),
        (stacked([(4, 8), (0, 6)]), "break the base's order"),
    ],
)
def test_identity_needs_the_whole_base_in_its_order(tiny_base, layers, what):
    assert refusal(up_scaled, tiny_base("llama"), layers, "identity") == (
        "depth_up_scaling.init: identity needs every base layer in its order beside the added "
        f"ones, and depth_up_scaling.layer_ranges {what}. Write init: copy, or other ranges."
    )


def test_identity_where_each_expert_is_a_tensor_on_disk(tiny_base):
    folder = tiny_base("mixtral")
    names = load_file(folder / "model.safetensors").keys()
    assert any(".experts.3.w2." in name for name in names)
    _, _, report = up_scaled(folder, MAP, init="identity")
    experts = {name for name in report.plan.zeroed if ".experts." in name}
    assert len(experts) == 2 * 4  # two added layers, four experts, w2 of each
    assert all(name.endswith(".w2.weight") for name in experts)


def test_training_touches_neither_the_twin_nor_the_file(tiny_base):
    folder = tiny_base("mistral")
    file = folder / "model.safetensors"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    model, _, _ = up_scaled(folder, MAP)
    with torch.no_grad():
        model.model.layers[5].mlp.up_proj.weight.fill_(1.0)
        twin, original = (m.model.layers[3].mlp.up_proj.weight for m in (model, plain(folder)))
        assert torch.equal(twin, original)
        for parameter in model.parameters():
            parameter.fill_(7.0)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_every_use_is_a_mapping_of_the_file(tiny_base):
    """Not a copy in memory: this is why repeated layers own no memory until they are trained."""
    file = tiny_base("llama") / "model.safetensors"
    model, _, _ = up_scaled(file.parent, MAP)
    ranges = []
    for line in open(f"/proc/{os.getpid()}/maps"):  # noqa: SIM115
        if line.rstrip().endswith(str(file)):
            start, _, end = line.split()[0].partition("-")
            ranges.append((int(start, 16), int(end, 16)))
    for name, parameter in model.model.layers.named_parameters():
        assert any(start <= parameter.data_ptr() < end for start, end in ranges), name


def test_real_tensors_for_zero3_view_the_file_once_per_use(tiny_base):
    folder = tiny_base("llama")
    file = folder / "model.safetensors"
    base = plain(folder)
    stored = read_files([file])
    for init in ("copy", "identity"):
        plan = plan_tensors(blueprint(type(base), grow(base.config, MAP, init)), stored, ())
        state_dict = remapped_state_dict([str(file)], plan, mapped=True)
        expected = expected_tensors(state_dict, base, ["model.layers"], MAP, plan.zeroed)
        assert len(state_dict) == len(stored) + 2 * 9  # two layers more, nine tensors each
        assert all(torch.equal(state_dict[name], expected[name]) for name in expected)
        pointers = [tensor.data_ptr() for tensor in state_dict.values()]
        assert len(set(pointers)) == len(pointers)


def test_names_behind_the_last_layer_are_dropped(tiny_base, tmp_path):
    """A head for further tokens is stored as layer n, which would be a real layer once grown."""
    folder = tiny_base("llama")
    tensors = load_file(folder / "model.safetensors")
    extra = f"model.layers.{LAYERS}.self_attn.q_proj.weight"
    tensors[extra] = torch.full_like(tensors["model.layers.0.self_attn.q_proj.weight"], 9.0)
    copy_with(folder, tmp_path, tensors)
    model, _, report = up_scaled(tmp_path, MAP)
    assert report.plan.dropped == [extra]
    wanted = plain(folder).state_dict()[f"model.layers.{MAP[LAYERS]}.self_attn.q_proj.weight"]
    assert torch.equal(model.state_dict()[extra], wanted)


def test_a_vision_tower_does_not_grow(tiny_base):
    """gemma3's vision config is as deep as its text config here."""
    folder = tiny_base("gemma3")
    base_config = AutoConfig.from_pretrained(folder)
    before = json.dumps(base_config.to_dict(), default=str)
    grown = grow(base_config, MAP).config
    assert json.dumps(base_config.to_dict(), default=str) == before
    assert grown.get_text_config().num_hidden_layers == len(MAP)
    assert grown.vision_config.num_hidden_layers == LAYERS


def test_the_patch_is_gone_after_the_block(tiny_base):
    folder = tiny_base("llama")
    growth = grow(AutoConfig.from_pretrained(folder), MAP)
    with pytest.raises(RuntimeError), up_scaled_loading(growth):
        raise RuntimeError
    assert plain(folder).config.num_hidden_layers == LAYERS
    with up_scaled_loading(growth) as report:  # another depth is left alone
        assert len(plain(folder).model.layers) == LAYERS
    assert report.model_class is None


def load_with_known(folder, layers, monkeypatch, change=lambda config: None):
    """Load with a blueprint from before; how many skeletons the loading built, and the model."""
    growth = grow(AutoConfig.from_pretrained(folder), layers)
    config = growth.config
    known = blueprint(model_class_of(config), growth)
    change(config)
    built = []
    monkeypatch.setattr(
        tensor_plan, "skeleton", lambda *arguments: built.append(0) or skeleton(*arguments)
    )
    with up_scaled_loading(growth, known):
        model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32)
    return len(built), model


def test_a_blueprint_from_before_is_used_where_it_fits(tiny_base, monkeypatch):
    folder = tiny_base("llama")
    built, model = load_with_known(folder, MAP, monkeypatch)
    assert built == 0
    assert differences(model, plain(folder), MAP) == []


def test_classes_that_were_patched_since_are_compared_anew(tiny_base, monkeypatch):
    """Axolotl puts fused classes in place of a family's own before it loads."""

    class FusedMLP(modeling_llama.LlamaMLP):
        pass

    def patch(config):
        monkeypatch.setattr(modeling_llama, "LlamaMLP", FusedMLP)

    folder = tiny_base("llama")
    built, model = load_with_known(folder, MAP, monkeypatch, patch)
    assert built == 1
    assert type(model.model.layers[5].mlp) is FusedMLP
    assert differences(model, plain(folder), MAP) == []


def test_a_model_that_the_blueprint_does_not_fit_is_refused(tiny_base, monkeypatch):
    def change(config):
        config.layer_types = list(reversed(config.layer_types))

    line = refusal(load_with_known, tiny_base("qwen2_sliding"), MAP, monkeypatch, change)
    assert line.startswith("base_model: qwen2 would not build layer ")


def refusal(function, *arguments):
    with pytest.raises(SolarError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def copy_with(folder, out, tensors):
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text((folder / "config.json").read_text())


@pytest.mark.parametrize(
    ("left_out", "line"),
    [
        ("model.layers.4.mlp.up_proj.weight", "model.layers.4.mlp.up_proj.weight (2 missing"),
        ("model.norm.weight", "model.norm.weight (1 missing"),
    ],
)
def test_missing_tensor(left_out, line, tiny_base, tmp_path):
    tensors = load_file(tiny_base("llama") / "model.safetensors")
    del tensors[left_out]
    copy_with(tiny_base("llama"), tmp_path, tensors)
    assert refusal(up_scaled, tmp_path, MAP) == (
        f"base_model: {tmp_path} has no tensor for {line} in all). Fetch or write the base again."
    )


def test_cut_short_while_loading(tiny_base, tmp_path):
    folder = tiny_base("llama")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    whole = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-100])
    assert "its header promises" in refusal(up_scaled, tmp_path, MAP)


def test_structure_that_the_rules_do_not_know():
    """recurrent_gemma repeats (recurrent, recurrent, attention) with no list in its config."""
    config = RecurrentGemmaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=8, head_dim=8
    )
    model_class = model_class_of(config)
    grown = grow(config, MAP).config
    base, target = skeleton(model_class, config), skeleton(model_class, grown)
    assert refusal(check_structure, base, target, MAP) == (
        "base_model: recurrent_gemma would not build layer 5 like layer 3 of the base, from which "
        "it is copied: temporal_block is RecurrentGemmaAttention, not "
        "RecurrentGemmaRecurrentBlock. Choose another depth_up_scaling.remove_layers or another "
        "base."
    )
    # one layer fewer removed moves the second copy by a whole period
    layers = layer_map(8, 1)
    grown = grow(config, layers).config
    assert check_structure(base, skeleton(model_class, grown), layers) == ["model.layers"]


@pytest.mark.parametrize(
    ("model_type", "words"),
    [
        ("t5", "t5 is an encoder-decoder model"),
        ("whisper", "whisper is an encoder-decoder model"),
        ("bert", "bert is an encoder, which reads text in both directions"),
        ("modernbert", "modernbert is an encoder"),
        ("vit", "vit is not a causal language model that transformers knows"),
        ("blt", "blt has no single stack of layers"),
    ],
)
def test_models_that_are_no_decoders(model_type, words):
    line = refusal(base_depth, AutoConfig.for_model(model_type))
    assert line.startswith(f"base_model: {words}")
    assert line.endswith("Depth up-scaling is for decoder-only language models; choose one.")


def test_quantised_bases():
    quantised = tiny_config("llama")
    quantised.quantization_config = {"quant_method": "gptq", "bits": 4}
    assert refusal(grow, quantised, MAP) == (
        "base_model: its weights are quantised already (gptq). "
        "Name the unquantised model; it can still be loaded in 4 bits."
    )


def test_a_list_too_short_for_the_layers():
    config = tiny_config("smollm3")
    config.no_rope_layers = [1, 1, 0]
    growth = Growth(config, config, MAP, "copy", {}, [])
    assert refusal(blueprint, model_class_of(config), growth) == (
        "base_model: its config builds no smollm3 (IndexError: list index out of range). "
        "Correct the base's config.json."
    )
