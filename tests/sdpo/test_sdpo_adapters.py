"""LoRA: every step's model is an adapter, and the reference has the adapter of the step before."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from chained_run import ChainedRun
from safetensors.torch import load_file
from sdpo_world import Run, dataset, make_model, recipe

from solar_plugins import run_record

pytestmark = pytest.mark.slow

LORA = {
    "adapter": "lora",
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_target_linear": True,
    "lora_mlp_kernel": False,
    "lora_qkv_kernel": False,
    "lora_o_kernel": False,
    "learning_rate": 0.02,
}
NAMES = ["orca", "ultra", "math"]


def adapter_recipe(world: Path, output: str, **changes) -> dict:
    steps = [{"datasets": [dataset(world / f"{name}.jsonl", "chatml.default")]} for name in NAMES]
    values = recipe(world, output_dir=str(world / output), **LORA | changes)
    return values | {"plugins": ["solar_plugins.StepwiseDPOPlugin"], "sdpo": {"steps": steps}}


def weights_of(folder: Path) -> dict:
    return load_file(folder / "adapter_model.safetensors")


def furthest(a: dict, b: dict) -> float:
    assert a.keys() == b.keys()
    return max((a[name].float() - b[name].float()).abs().max().item() for name in a)


@pytest.fixture(scope="module")
def lora(small_world) -> Path:
    Run(adapter_recipe(small_world, "lora")).end()
    return small_world / "lora"


def test_each_step_is_an_adapter_and_starts_at_ln_2(lora):
    steps = run_record.read(lora, "sdpo")["steps"]
    assert not list(lora.glob("model*.safetensors"))
    for number, step in enumerate(steps, 1):
        assert step["first_loss"] == pytest.approx(math.log(2), abs=5e-7)
        folder = lora / f"step_{number}"
        assert (folder / "adapter_config.json").is_file()
        assert not list(folder.glob("model*.safetensors"))
        assert not (folder / "ref").exists()  # TRL's own copy of the adapter
    assert steps[1]["reference_digest"] == steps[0]["model_digest"]
    assert furthest(weights_of(lora), weights_of(lora / "step_3")) == 0
    assert furthest(weights_of(lora), weights_of(lora / "step_2")) > 1e-3


def test_the_adapters_are_those_of_chained_runs_with_a_merged_reference_model(small_world, lora):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    # The first step needs the adapter's first weights, which Axolotl leaves to chance.
    for number in (2, 3):
        before = lora / f"step_{number - 1}"
        base = AutoModelForCausalLM.from_pretrained(small_world / "sft")
        merged = small_world / f"merged_{number - 1}"
        PeftModel.from_pretrained(base, before).merge_and_unload().save_pretrained(merged)
        output = small_world / f"chained_lora_{number}"
        values = recipe(small_world, output_dir=str(output), **LORA)
        values["datasets"] = [dataset(small_world / f"{NAMES[number - 1]}.jsonl", "chatml.default")]
        ChainedRun(values | {"rl_adapter_ref_model": True}, merged, before).end()

        moved = furthest(weights_of(lora / f"step_{number}"), weights_of(before))
        apart = furthest(weights_of(lora / f"step_{number}"), weights_of(output))
        assert moved > 1e-2
        # Merged and beside each other the same weights round differently.
        assert apart < 1e-4, (apart, moved)


def test_the_same_recipe_gives_the_same_adapter(small_world, lora):
    values = adapter_recipe(small_world, "lora_again")
    values["sdpo"]["steps"] = values["sdpo"]["steps"][:1]
    Run(values).end()

    assert furthest(weights_of(small_world / "lora_again"), weights_of(lora / "step_1")) == 0


def test_a_killed_run_goes_on_from_the_last_adapter(small_world, lora):
    output = small_world / "lora_cut"
    shutil.copytree(lora, output)
    shutil.rmtree(output / "step_3")
    (output / "step_2" / "sdpo_step.json").unlink()
    (output / "step_2" / "adapter_model.safetensors").unlink()

    Run(adapter_recipe(small_world, "lora_cut")).end()

    for number in (1, 2, 3):
        there, here = weights_of(lora / f"step_{number}"), weights_of(output / f"step_{number}")
        assert furthest(there, here) == 0


def test_qlora_starts_every_step_at_its_reference_and_goes_on(small_world):
    base = make_model(small_world / "blocks_of_64", intermediate_size=128)  # as 4 bits come
    values = adapter_recipe(small_world, "qlora", adapter="qlora", load_in_4bit=True)
    values["base_model"] = str(base)
    Run(values).end()

    steps = run_record.read(small_world / "qlora", "sdpo")["steps"]
    for step in steps:
        assert step["first_loss"] == pytest.approx(math.log(2), abs=2e-2)
    assert steps[1]["reference_digest"] == steps[0]["model_digest"]
    before = weights_of(small_world / "qlora" / "step_3")
    assert furthest(before, weights_of(small_world / "qlora" / "step_2")) > 1e-3
    shutil.rmtree(small_world / "qlora" / "step_3")
    Run(values).end()
    again = run_record.read(small_world / "qlora", "sdpo")["steps"]
    kept = ("start_digest", "reference_digest", "rows", "steps")
    assert [[s[key] for key in kept] for s in again] == [[s[key] for key in kept] for s in steps]
    assert again[2]["first_loss"] == pytest.approx(math.log(2), abs=2e-2)
