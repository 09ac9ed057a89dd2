"""`global_batch_size`: the arithmetic, and what `solar check`, `solar plan` and the plugin say."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from good_files import spoil

from solar_plugins.check import check_files
from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.plan.stages import GIB, Machine, plan_chain
from solar_plugins.recipes import global_batch

pytestmark = pytest.mark.slow

DECLARED = "global_batch_size: 32\nmicro_batch_size: 4"
WRITTEN = "micro_batch_size: 1\ngradient_accumulation_steps: 4"


@pytest.fixture
def declared(good_chain) -> Path:
    """sft.yml with a global batch of 32 sequences, four at a time."""
    spoil("sft.yml", WRITTEN, DECLARED)
    spoil("sft.yml", "plugins:\n", "plugins:\n  - solar_plugins.StagePlugin\n")
    return good_chain


@pytest.mark.parametrize(("gpus", "steps"), [(1, 8), (2, 4), (4, 2), (8, 1)])
def test_accumulation_follows_from_the_gpus(gpus, steps):
    recipe = {"global_batch_size": 32, "micro_batch_size": 4}
    assert global_batch.accumulation_steps(recipe, gpus) == steps
    assert global_batch.of(recipe, gpus) == 32


def test_gpus_that_split_one_model_share_a_batch():
    recipe = {"global_batch_size": 32, "micro_batch_size": 4, "context_parallel_size": 2}
    assert global_batch.accumulation_steps({**recipe, "tensor_parallel_size": 2}, 8) == 4
    assert global_batch.accumulation_steps(recipe, 8) == 2


def test_without_the_key_it_is_what_axolotl_makes_of_the_others():
    assert global_batch.of({"micro_batch_size": 4, "gradient_accumulation_steps": 2}, 8) == 64
    # Axolotl's `batch_size` is that of one process.
    assert global_batch.of({"micro_batch_size": 4, "batch_size": 8}, 8) == 64
    assert global_batch.of({"micro_batch_size": 4}, 2) == 8


@pytest.mark.parametrize(
    ("micro", "gpus", "text"),
    [
        (
            4, 6,
            "global_batch_size: 32 is not a multiple of the 24 that 6 GPUs with micro_batch_size 4 "
            "take at a time. Write global_batch_size: 24 or global_batch_size: 48, or train on 4.",
        ),
        (
            4, 16,
            "global_batch_size: 32 is not a multiple of the 64 that 16 GPUs with micro_batch_size "
            "4 take at a time. Write micro_batch_size: 2 or global_batch_size: 64, or train on 8.",
        ),
        (
            5, 1,
            "global_batch_size: 32 is not a multiple of the 5 that 1 GPU with micro_batch_size 5 "
            "take at a time. Write micro_batch_size: 4 or global_batch_size: 30 or "
            "global_batch_size: 35.",
        ),
    ],
)  # fmt: skip
def test_what_does_not_divide_says_what_would(micro, gpus, text):
    recipe = {"global_batch_size": 32, "micro_batch_size": micro}
    with pytest.raises(SolarError) as error:
        global_batch.accumulation_steps(recipe, gpus)
    assert str(error.value) == text


def test_check_reads_it_for_a_number_of_gpus(declared):
    assert list(check_files(["chain.yml"], with_axolotl=False)) == []
    assert list(check_files(["chain.yml"], with_axolotl=False, gpus=8)) == []
    (found,) = check_files(["chain.yml"], with_axolotl=False, gpus=3)
    assert (found.file, found.path) == ("sft.yml", "global_batch_size")
    assert found.message.startswith("32 is not a multiple of the 12 that 3 GPUs")
    run = CliRunner().invoke(cli, ["check", "--quick", "--gpus", "3", "sft.yml"])
    assert run.exit_code == 1
    assert run.output.startswith("sft.yml:15:1: global_batch_size: 32 is not a multiple")


def test_run_starts_nothing_on_gpus_that_cannot_share_it(declared, monkeypatch):
    listing = Path("bin/nvidia-smi")  # what a machine with three of them says
    listing.parent.mkdir()
    listing.write_text("#!/bin/sh\nfor i in 0 1 2; do echo GPU $i: NVIDIA; done\n")
    listing.chmod(0o755)
    monkeypatch.setenv("PATH", str(listing.parent.absolute()), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    run = CliRunner().invoke(cli, ["run", "chain.yml"])
    assert run.exit_code == 1
    assert "global_batch_size: 32 is not a multiple of the 12 that 3 GPUs" in run.output
    assert "nothing was started" in run.output
    assert not Path("outputs").exists()


def test_axolotl_takes_the_key_with_the_plugin(declared):
    assert list(check_files(["sft.yml"])) == []


MISTAKES = {
    "never": (
        "global_batch_size: 32\nmicro_batch_size: 5", "global_batch_size",
        "32 is not a multiple of the 5 that 1 GPU",
    ),
    "twice": (
        f"{DECLARED}\ngradient_accumulation_steps: 8", "gradient_accumulation_steps",
        "8 and global_batch_size: 32 are mutually exclusive",
    ),
    "Axolotl's own": (
        f"{DECLARED}\nbatch_size: 8", "batch_size",
        "8 and global_batch_size: 32 are mutually exclusive",
    ),
    "no number": ("global_batch_size: many\nmicro_batch_size: 4", "global_batch_size", "'many'"),
    "none": ("global_batch_size: 0\nmicro_batch_size: 4", "global_batch_size", "0 found"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_finding(declared, mistake):
    new, path, begins = MISTAKES[mistake]
    spoil("sft.yml", DECLARED, new)
    (found,) = check_files(["sft.yml"], with_axolotl=False)
    assert found.path == path
    assert found.message.startswith(begins)


def test_a_step_of_sdpo_has_no_batch_of_its_own(good_chain):
    spoil("dpo.yml", WRITTEN, DECLARED)
    spoil("dpo.yml", "plugins:\n", "plugins:\n  - solar_plugins.StagePlugin\n")
    spoil("dpo.yml", "    - datasets:", "    - micro_batch_size: 2\n      datasets:")
    found = next(iter(check_files(["dpo.yml"], with_axolotl=False)))
    assert found.text.startswith("dpo.yml:")
    assert "sdpo.steps[0].micro_batch_size: 2 would change the batch of this step" in found.text


def test_the_key_is_read_by_the_plugin(good_chain):
    spoil("sft.yml", WRITTEN, DECLARED)
    (found,) = check_files(["sft.yml"], with_axolotl=False)
    assert found.kind == "unknown-key"
    assert "`plugins: [solar_plugins.StagePlugin]`" in found.message


@pytest.mark.parametrize("gpus", [2, 8])
def test_plan_has_one_batch_on_any_number_of_gpus(declared, gpus):
    plan = plan_chain("chain.yml", Machine(gpus=gpus, gpu_bytes=200 * GIB))
    stages = {stage.stage: stage for stage in plan.stages}
    assert (stages["sft"].global_batch, stages["sft"].steps) == (32, 1627)
    assert stages["dpo"].global_batch == 4 * gpus  # said per GPU


def test_plan_warns_where_it_cannot_be_shared_out(declared):
    plan = plan_chain("chain.yml", Machine(gpus=3, gpu_bytes=200 * GIB))
    (sft,) = (stage for stage in plan.stages if stage.stage == "sft")
    assert [w for w in sft.warnings if w.startswith("global_batch_size: 32 is not a multiple")]
    assert not plan.fits
