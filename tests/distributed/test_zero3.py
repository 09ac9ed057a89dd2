"""Depth up-scaling under DeepSpeed ZeRO-3, with two real processes (gloo, CPU)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "depth_up_scaling"))

from tiny_recipe import write_base, write_text  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from solar_plugins import proof  # noqa: E402

MAP = [0, 1, 2, 1, 2, 3]
STEPS = 4

ZERO3 = {
    "zero_optimization": {
        "stage": 3,
        "contiguous_gradients": True,
        # every parameter is really split, however small it is here
        "stage3_param_persistence_threshold": 0,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
}


def write_recipe(folder, name, **keys):
    recipe = {
        "base_model": str(folder / "base"),
        "plugins": ["solar_plugins.DepthUpScalingPlugin"],
        "depth_up_scaling": {"remove_layers": 1},
        "datasets": [{"path": str(folder / "text.jsonl"), "ds_type": "json", "type": "completion"}],
        "dataset_prepared_path": str(folder / "prepared"),
        "output_dir": str(folder / name),
        "special_tokens": {"pad_token": "<pad>"},
        "sequence_len": 64,
        "gradient_accumulation_steps": 1,
        "max_steps": STEPS,
        "save_strategy": "no",
        "learning_rate": 1e-3,
        "optimizer": "adamw_torch",
        "lr_scheduler": "constant",
        "attn_implementation": "eager",
        "bf16": False,
        "fp16": False,
        "tf32": False,
        "logging_steps": 1,
        "seed": 7,
        **keys,
    }
    file = folder / f"{name}.yml"
    file.write_text(yaml.safe_dump(recipe))
    return file


def on_two_ranks(recipe, log):
    """Run `recipe` as two processes; what they print goes to `log`."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        str(HERE / "train_on_cpu_ranks.py"),
        str(recipe),
    ]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(HERE.parent.parent),
    }
    environment.pop("ACCELERATE_USE_CPU", None)  # it would turn DeepSpeed off
    with log.open("w") as file:
        done = subprocess.run(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT, timeout=1200
        )
    assert done.returncode == 0, log.read_text()[-4000:]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The same global batches: two ranks of one row each, and one process of two rows."""
    from axolotl.cli.train import do_cli

    folder = tmp_path_factory.mktemp("zero3")
    write_base(folder / "base")
    write_text(folder / "text.jsonl")
    (folder / "zero3.json").write_text(json.dumps(ZERO3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["axolotl"])
        do_cli(str(write_recipe(folder, "one", micro_batch_size=2)))
    recipe = write_recipe(folder, "two", micro_batch_size=1, deepspeed=str(folder / "zero3.json"))
    on_two_ranks(recipe, folder / "two.log")
    return folder


def test_the_run_was_zero3_on_two_ranks(models):
    log = (models / "two.log").read_text()
    assert "ZeRO stage 3, rank 0 of 2" in log
    assert "ZeRO stage 3, rank 1 of 2" in log


def test_every_tensor_is_there_and_whole(models):
    config = AutoConfig.from_pretrained(models / "two")
    assert config.num_hidden_layers == len(MAP)
    assert config.depth_up_scaling["layer_map"] == MAP
    with torch.device("meta"):
        wanted = AutoModelForCausalLM.from_config(config).state_dict()
    saved = load_file(models / "two" / "model.safetensors")
    assert {k: v.shape for k, v in saved.items()} == {k: v.shape for k, v in wanted.items()}
    assert all(torch.isfinite(tensor).all() for tensor in saved.values())
    facts = proof.read(models / "two", "depth_up_scaling")
    assert facts["layer_map"] == MAP
    assert facts["parameters"] == sum(tensor.numel() for tensor in saved.values())


def test_same_model_as_in_one_process(models):
    one = load_file(models / "one" / "model.safetensors")
    two = load_file(models / "two" / "model.safetensors")
    base = load_file(models / "base" / "model.safetensors")
    assert one.keys() == two.keys()
    furthest = max((one[name] - two[name]).abs().max().item() for name in one)
    name = "model.layers.5.mlp.up_proj.weight"
    trained = (two[name] - base["model.layers.3.mlp.up_proj.weight"]).abs().max().item()
    assert trained > 1e-3  # 4 AdamW steps of 1e-3 each
    # AdamW divides by the root of the squared gradient: where a gradient is nearly nothing, the
    # rounding of its sum over ranks shows as a share of the step. Seen: 4e-7 to 4e-6.
    assert furthest < 1e-5
