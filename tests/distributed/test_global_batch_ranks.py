"""One recipe with `global_batch_size` on one, two and three processes (gloo, CPU)."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
from forked_ranks import RankedRun
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).parent.parent / "depth_up_scaling"))
sys.path.append(str(Path(__file__).parent.parent / "sdpo"))

import sdpo_world
import tiny_recipe

from solar_plugins import run_record

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    builders = ("axolotl.core.builders.causal", "axolotl.core.builders.rl")
    for heavy in ("axolotl.cli.config", *builders, "axolotl.train"):
        import_module(heavy)  # once here; every rank is a fork of this process
    import_module("deepspeed")
    folder = tmp_path_factory.mktemp("batch_ranks")
    tiny_recipe.write_base(folder / "base")
    tiny_recipe.write_text(folder / "text.jsonl")
    return folder


def values_of(world: Path, name: str) -> dict:
    return tiny_recipe.recipe(
        world,
        name,
        plugins=["solar_plugins.StagePlugin"],
        global_batch_size=4,
        micro_batch_size=1,
        num_epochs=1,
    )


@pytest.fixture(scope="module", params=[1, 2])
def trained(request, world) -> tuple[Path, int, str]:
    """Output folder, number of processes, log."""
    ranks = request.param
    name = f"on_{ranks}"
    return world / name, ranks, RankedRun(values_of(world, name), ranks=ranks).end()


def test_accumulation_follows_from_the_processes(trained):
    _, ranks, log = trained
    assert f"global_batch_size: 4, gradient_accumulation_steps: {4 // ranks}" in log


def test_the_optimizer_steps_are_those_of_one_process(trained, world):
    folder, ranks, _ = trained
    rows = (world / "text.jsonl").read_text().count("\n")
    facts = run_record.read(folder, "stage")
    assert (facts["steps"], facts["world_size"]) == (-(-rows // 4), ranks)


def test_the_model_is_that_of_one_process(trained, world):
    folder, _, _ = trained
    one, found = (load_file(f / "model.safetensors") for f in (world / "on_1", folder))
    base = load_file(world / "base" / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    assert (found[name] - base[name]).abs().max() > 1e-3  # AdamW, steps of up to 1e-3
    # What the rounding of gradients summed over ranks leaves, see test_dus_ranks; other batches
    # are off by the length of a step.
    assert max((one[name] - found[name]).abs().max().item() for name in one) < 1e-4


def test_each_step_of_sdpo_has_the_same_batch(world):
    sdpo_world.make_model(world / "sft")
    pairs = sdpo_world.make_preferences(world / "pairs.jsonl", 8, seed=1)
    step = {"datasets": [sdpo_world.dataset(pairs, "chatml.default")]}
    for ranks in (1, 2):
        values = sdpo_world.recipe(
            world,
            output_dir=str(world / f"sdpo_on_{ranks}"),
            plugins=["solar_plugins.StepwiseDPOPlugin", "solar_plugins.StagePlugin"],
            sdpo={"steps": [step, step]},
            global_batch_size=4,
            micro_batch_size=1,
            val_set_size=0,
            eval_strategy="no",
        )
        del values["gradient_accumulation_steps"]
        log = RankedRun(values, ranks=ranks).end()
        assert f"global_batch_size: 4, gradient_accumulation_steps: {4 // ranks}" in log
    one, two = (load_file(world / f"sdpo_on_{n}" / "model.safetensors") for n in (1, 2))
    # Another batch would be another number of updates of up to 2e-3 each.
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4


def test_a_batch_that_three_cannot_share_stops_before_the_model_is_loaded(world):
    with pytest.raises(AssertionError) as error:
        RankedRun(values_of(world, "on_3"), ranks=3).end()
    assert (
        "global_batch_size: 4 is not a multiple of the 3 that 3 GPUs with micro_batch_size 1 take "
        "at a time. Write global_batch_size: 3 or global_batch_size: 6, or train on 2."
    ) in str(error.value)
    assert not (world / "on_3").exists()
