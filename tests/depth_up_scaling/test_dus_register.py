"""What the plugin tells Axolotl, and what it refuses, before anything is loaded or prepared."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from solar_plugins.depth_up_scaling.plugin import DepthUpScalingPlugin
from solar_plugins.errors import SolarError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def keys_of(base, block, **keys):
    cfg = {
        "base_model": str(base),
        "plugins": ["solar_plugins.DepthUpScalingPlugin"],
        "depth_up_scaling": block,
        **keys,
    }
    DepthUpScalingPlugin().register(cfg)
    return cfg


def registered(base, block, **keys):
    return keys_of(base, block, **keys)["overrides_of_model_config"]


def line(base, block=None, **keys):
    with pytest.raises(SolarError) as error:
        registered(base, block, **keys)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_three_copies(tiny_base):
    ranges = [[0, 6], [2, 6], [2, 8]]
    overrides = registered(tiny_base("gemma3_text"), {"layer_ranges": ranges})
    assert overrides["num_hidden_layers"] == len(overrides["layer_types"]) == 16
    assert overrides["depth_up_scaling"] == {
        "base_num_hidden_layers": 8,
        "remove_layers": None,
        "layer_ranges": ranges,
        "layer_map": [*range(6), *range(2, 6), *range(2, 8)],
        "init": "copy",
    }


def test_only_the_added_layers_are_trained(tiny_base):
    block = {"layout": "interleave", "every": 4, "train": "added"}
    assert keys_of(tiny_base("llama"), block)["unfrozen_parameters"] == ["^model.layers.(4|9)."]
    assert keys_of(tiny_base("gpt2"), block)["unfrozen_parameters"] == ["^transformer.h.(4|9)."]
    base = tiny_base("llama")
    assert line(base, block, unfrozen_parameters=["lm_head"]) == (
        "depth_up_scaling.train: added and unfrozen_parameters each choose what is trained. "
        "Remove one of them."
    )
    assert line(base, block, adapter="lora") == (
        "depth_up_scaling.train: added is for a full fine-tune. For an adapter in the added layers "
        "alone write peft_layers_to_transform: [4, 9], and train: all."
    )
    wrap = {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}
    assert line(base, block, fsdp_config=wrap, fsdp_version=1) == (
        "depth_up_scaling.train: added and FSDP1, which joins trained and frozen parameters in one "
        "tensor. Write fsdp_version: 2."
    )
    keys_of(base, block, fsdp_config=wrap, fsdp_version=2)
    assert line(base, {"train": "added", "layer_ranges": [[0, 7], [0, 6]]}) == (
        "depth_up_scaling.train: added needs a stack that keeps every base layer in its order, and "
        "layer_ranges do not. Write train: all, or other ranges."
    )


def test_registered_twice_says_the_same(tiny_base):
    """`axolotl merge-lora` registers the plugins of a recipe twice."""
    cfg = {
        "base_model": str(tiny_base("qwen2_sliding")),
        "plugins": ["solar_plugins.DepthUpScalingPlugin"],
        "depth_up_scaling": {"target_layers": 12, "init": "identity", "train": "added"},
    }
    plugin = DepthUpScalingPlugin()
    plugin.register(cfg)
    once = json.dumps(cfg)
    plugin.register(cfg)
    assert json.dumps(cfg) == once


def test_refused_by_the_architecture(tiny_base, tmp_path):
    assert line(tiny_base("openai-gpt"), {"init": "identity"}).startswith(
        "depth_up_scaling.init: with all parameters of the added layers at zero, openai-gpt still"
    )
    assert line(tiny_base("recurrent_gemma"), {"remove_layers": 3}).startswith(
        "base_model: recurrent_gemma would not build layer 5 like layer 3 of the base"
    )
    between = {"layout": "interleave", "init": "optimal_transport"}
    assert line(tiny_base("mixtral"), between).startswith(
        "depth_up_scaling.init: optimal_transport matches heads"
    )
    assert line(tiny_base("llama"), {"remove_layers": 3, "init": "optimal_transport"}) == (
        "depth_up_scaling.init: optimal_transport makes a layer out of two neighbours of the base, "
        "and added layer 5 is not between two. Write layout: interleave, or init: copy."
    )
    assert line(tiny_base("llama"), {"init": "identity", "layer_ranges": [[4, 8], [0, 6]]}) == (
        "depth_up_scaling.init: identity needs every base layer in its order beside the added "
        "ones, and depth_up_scaling.layer_ranges break the base's order. "
        "Write init: copy, or other ranges."
    )
    shutil.copytree(tiny_base("smollm3"), tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    config["no_rope_layers"] = [1, 0]
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    assert line(tmp_path / "base").startswith("base_model: its config builds no smollm3")


def test_refused_by_the_files(tiny_base, tmp_path):
    sharded = tmp_path / "sharded"
    shutil.copytree(tiny_base("llama", "40KB"), sharded)
    next(sharded.glob("model-00002-*")).unlink()
    assert "names model-00002-of-" in line(sharded)
    gguf = tmp_path / "base-q4.gguf"
    gguf.write_bytes(b"GGUF")
    assert line(gguf).startswith(f"base_model: {gguf} is a file.")
    pickled = tmp_path / "pickled"
    shutil.copytree(tiny_base("llama"), pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert line(pickled) == (
        f"base_model: {pickled} holds .bin weights only; safetensors are needed. Convert the base "
        "once: load it with transformers' from_pretrained, save_pretrained it to a folder, and "
        "name that folder."
    )


def config_changed(base, folder, **changes):
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"num_hidden_layers": 7},
            "its files hold layer 7, where its config.json counts 7 layers.",
        ),
        (
            {"num_hidden_layers": 9},
            "its files hold nothing of layer 8, where its config.json counts 9 layers.",
        ),
        (
            {"vocab_size": 65},
            "lm_head.weight has the shape (64, 32) in its files, where its config.json wants "
            "(65, 32).",
        ),
        ({"quantization_config": {"quant_method": "fp8"}}, "its weights are quantised already"),
    ],
)
def test_files_that_the_config_does_not_fit(changes, words, tiny_base, tmp_path):
    base = config_changed(tiny_base("llama"), tmp_path / "base", **changes)
    assert line(base).startswith(f"base_model: {words}")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn], ids=str)
def test_weights_that_are_quantised_without_a_word(dtype, tiny_base, tmp_path):
    """transformers would read them as the numbers that they are not."""
    base = tmp_path / "base"
    shutil.copytree(tiny_base("llama"), base)
    tensors = load_file(base / "model.safetensors")
    name = "model.layers.3.mlp.up_proj.weight"
    tensors[name] = tensors[name].to(dtype)
    save_file(tensors, base / "model.safetensors")
    stored = {torch.int8: "I8", torch.float8_e4m3fn: "F8_E4M3"}[dtype]
    assert line(base) == (
        f"base_model: {name} is stored as {stored}, so that its weights are quantised already. "
        "Name the unquantised model; it can still be loaded in 4 bits."
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "cannot be read (list indices must be integers or slices, not str)."),
        ('{"model_type": "llama", "quantization_config": "x"}', "cannot be read ('str' object"),
        ('{"model_type": "nothing"}', "cannot be read (The checkpoint you are trying to load has"),
    ],
)
def test_a_config_that_transformers_cannot_read(content, words, tiny_base, tmp_path):
    base = config_changed(tiny_base("llama"), tmp_path / "base")
    (base / "config.json").write_text(content)
    assert line(base).startswith(f"base_model: the config of {base} {words}")


def test_a_base_that_is_grown_already(tiny_base, tmp_path):
    AutoModelForCausalLM.from_pretrained(tiny_base("llama")).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    mark = registered(tiny_base("llama"), {"remove_layers": 3})["depth_up_scaling"]
    (tmp_path / "config.json").write_text(json.dumps({**config, "depth_up_scaling": mark}))
    assert line(tmp_path) == (
        f"base_model: {tmp_path} is depth up-scaled already (8 -> 10 layers). Remove "
        "`depth_up_scaling` and its plugin from this recipe, or name the base of 8 layers."
    )
