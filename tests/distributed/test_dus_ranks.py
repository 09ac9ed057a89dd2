"""Depth up-scaling on two processes (gloo, CPU) under ZeRO-2, ZeRO-3 and FSDP2."""

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from axolotl.cli.train import do_cli as axolotl_train
from forked_ranks import RankedRun
from safetensors.torch import load_file
from sharding import TOLD, sharded

sys.path.append(str(Path(__file__).parent.parent / "depth_up_scaling"))

from tiny_recipe import LORA, recipe, write_base, write_text
from transformers import AutoConfig, AutoModelForCausalLM

from solar_plugins import run_record

pytestmark = pytest.mark.slow

MAP = [0, 1, 2, 1, 2, 3]
STEPS = 4


def values_of(folder, name, **keys):
    up_scaled = {
        "plugins": ["solar_plugins.DepthUpScalingPlugin"],
        "depth_up_scaling": {"remove_layers": 1},
        "gradient_accumulation_steps": 1,
        "max_steps": STEPS,
    }
    return recipe(folder, name, **{**up_scaled, **keys})


def run_here(world, name, **keys):
    """The output of a run in this process."""
    file = world / f"{name}.yml"
    file.write_text(yaml.safe_dump(values_of(world, name, micro_batch_size=2, **keys)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["axolotl"])
        axolotl_train(str(file))
    return world / name


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    for heavy in ("axolotl.cli.config", "axolotl.core.builders.causal", "axolotl.train"):
        import_module(heavy)  # once here; every rank is a fork of this process
    import_module("deepspeed")
    folder = tmp_path_factory.mktemp("dus_ranks")
    write_base(folder / "base")
    shutil.copytree(folder / "base", folder / "mistral")  # the same tensors in its config
    file = folder / "mistral" / "config.json"
    config = json.loads(file.read_text()) | {"model_type": "mistral", "sliding_window": 64}
    file.write_text(json.dumps(config | {"architectures": ["MistralForCausalLM"]}))
    write_text(folder / "text.jsonl")
    return folder


@pytest.fixture(scope="module")
def one(world):
    """A function: how the added layers start -> weights from the same batches in one process."""
    done = {}

    def train(init):
        if init not in done:
            block = {"remove_layers": 1, "init": init}
            out = run_here(world, f"one_{init}", depth_up_scaling=block)
            done[init] = load_file(out / "model.safetensors")
        return done[init]

    return train


@pytest.fixture(scope="module", params=[*TOLD, "zero3, identity"])
def two(request, world):
    """Two ranks of one row each: output folder, and how the added layers started.

    With identity, they train the Mistral as a Llama.
    """
    kind = request.param.removesuffix(", identity")
    init = "copy" if kind == request.param else "identity"
    sharding = sharded(kind, world)
    keys = {"depth_up_scaling": {"remove_layers": 1, "init": init}, **sharding}
    if init == "identity":
        keys["base_model"] = str(world / "mistral")
        keys["depth_up_scaling"]["as_llama"] = True
    out = request.param.replace(", ", "_").replace(" ", "_")
    log = RankedRun(values_of(world, out, micro_batch_size=1, **keys)).end()
    for rank in (0, 1):
        assert f"{TOLD[kind]}, rank {rank} of 2" in log
    return world / out, init


def test_every_tensor_is_there_and_whole(two):
    two, init = two
    config = AutoConfig.from_pretrained(two)
    assert (config.model_type, config.num_hidden_layers) == ("llama", len(MAP))
    assert config.depth_up_scaling["layer_map"] == MAP
    assert config.depth_up_scaling["init"] == init
    with torch.device("meta"):
        wanted = AutoModelForCausalLM.from_config(config).state_dict()
    saved = load_file(two / "model.safetensors")
    assert {k: v.shape for k, v in saved.items()} == {k: v.shape for k, v in wanted.items()}
    assert all(torch.isfinite(tensor).all() for tensor in saved.values())
    facts = run_record.read(two, "depth_up_scaling")
    assert facts["layer_map"] == MAP
    assert facts["parameters"] == sum(tensor.numel() for tensor in saved.values())


def test_same_model_as_in_one_process(two, one, world):
    two, init = two
    one = one(init)
    saved = load_file(two / "model.safetensors")
    base = load_file(world / "base" / "model.safetensors")
    assert one.keys() == saved.keys()
    furthest = max((one[name] - saved[name]).abs().max().item() for name in one)
    name = "model.layers.5.mlp.up_proj.weight"
    trained = (saved[name] - base["model.layers.3.mlp.up_proj.weight"]).abs().max().item()
    assert trained > 1e-3  # 4 AdamW steps of 1e-3 each
    # AdamW divides by the root of the squared gradient: where a gradient is nearly nothing, the
    # rounding of its sum over ranks shows as a share of the step. Seen: 4e-7 to 4e-6.
    assert furthest < 1e-5


@pytest.fixture(scope="module")
def one_adapter(world):
    """The adapter that a run starts with, and what the same batches in one process make of it."""
    start = run_here(world, "lora_start", **LORA, max_steps=1, learning_rate=1e-7)
    return start, run_here(world, "lora_one", **LORA, lora_model_dir=str(start))


@pytest.mark.parametrize("kind", ["zero2", "zero3"])
def test_same_adapter_as_in_one_process(kind, one_adapter, world):
    start, one = one_adapter
    keys = {**LORA, **sharded(kind, world), "lora_model_dir": str(start), "micro_batch_size": 1}
    log = RankedRun(values_of(world, f"lora_{kind}", **keys)).end()
    for rank in (0, 1):
        assert f"{TOLD[kind]}, rank {rank} of 2" in log
    out = world / f"lora_{kind}"
    started, alone, together = (
        load_file(folder / "adapter_model.safetensors") for folder in (start, one, out)
    )
    assert {name.split(".layers.")[1][0] for name in together} == set("012345")
    assert together.keys() == alone.keys()
    for name, tensor in together.items():
        assert (tensor - started[name]).abs().max() > 1e-3  # 4 AdamW steps of 1e-3 each
        torch.testing.assert_close(tensor, alone[name], rtol=0, atol=1e-5)
    assert run_record.read(out, "depth_up_scaling")["layer_map"] == MAP
