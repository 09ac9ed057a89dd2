"""Where the reference's log-probabilities come from: computed, found again, or a live model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from chained_run import ChainedRun
from safetensors.torch import load_file
from sdpo_world import Run, dataset, probed, recipe, sha256

from solar_plugins import run_record

pytestmark = pytest.mark.slow

PLUGINS = ["solar_plugins.StepwiseDPOPlugin", "sdpo_probe.ProbePlugin"]
NAMES = ("orca", "ultra")
PASS = "Reference log-probabilities (train)"


def sdpo_recipe(world: Path, output: str, block: dict | None = None, **changes) -> dict:
    values = recipe(world, output_dir=str(world / output), plugins=PLUGINS, **changes)
    steps = [{"datasets": [dataset(world / f"{n}.jsonl", "chatml.default")]} for n in NAMES]
    return values | {"sdpo": {"steps": steps, **(block or {})}}


def chained(world: Path, output: str, **changes) -> list[Path]:
    """Plain DPO runs with a live reference model, each from the model of the one before."""
    models = [world / "sft"]
    for name in NAMES:
        values = recipe(world, output_dir=str(world / f"{output}_{name}"), **changes)
        values |= {"base_model": str(models[-1])}
        values["datasets"] = [dataset(world / f"{name}.jsonl", "chatml.default")]
        ChainedRun(values, models[-1]).end()
        models.append(world / f"{output}_{name}")
    return models[1:]


def furthest(a: Path, b: Path) -> float:
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (a, b))
    return max((ours[name] - theirs[name]).abs().max().item() for name in ours)


@pytest.fixture(scope="module")
def three_epochs(small_world) -> list[Path]:
    return chained(small_world, "three", num_epochs=3)


def test_a_live_reference_is_exact_in_every_epoch(small_world, three_epochs):
    output = small_world / "live"
    Run(sdpo_recipe(small_world, "live", {"live_reference": True}, num_epochs=3)).end()

    for number, model in enumerate(three_epochs, 1):
        assert sha256(output / f"step_{number}") == sha256(model)
    assert len([e for e in probed(output) if e["event"] == "load"]) == 3
    assert not list(output.rglob("sdpo_reference*"))


def test_stored_log_probabilities_are_as_good_to_the_last_digits(small_world, three_epochs):
    output = small_world / "stored"
    Run(sdpo_recipe(small_world, "stored", num_epochs=3)).end()

    for number, model in enumerate(three_epochs, 1):
        moved = furthest(output / f"step_{number}", small_world / "sft")
        apart = furthest(output / f"step_{number}", model)
        assert moved > 1e-2
        assert apart < 1e-4, (apart, moved)


@pytest.fixture(scope="module")
def once(small_world) -> Path:
    assert PASS in Run(sdpo_recipe(small_world, "once", seed=5)).end()
    return small_world / "once"


def test_a_repeated_run_finds_its_log_probabilities(small_world, once):
    again = Run(sdpo_recipe(small_world, "twice", seed=5)).end()

    assert PASS not in again
    assert sha256(once) == sha256(small_world / "twice")
    # Another order of the batches is another computation.
    assert PASS in Run(sdpo_recipe(small_world, "otherwise", seed=6)).end()


def test_batches_of_like_length_give_the_same_to_rounding(small_world, once):
    values = sdpo_recipe(small_world, "by_length", {"reference_batches": "by_length"}, seed=5)
    Run(values).end()

    for step in run_record.read(small_world / "by_length", "sdpo")["steps"]:
        assert step["first_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert furthest(small_world / "by_length", once) < 1e-4


def test_ipo_is_that_of_plain_runs(small_world):
    Run(sdpo_recipe(small_world, "ipo", rl="ipo")).end()

    models = chained(small_world, "chained_ipo", rl="ipo")
    steps = run_record.read(small_world / "ipo", "sdpo")["steps"]
    for number, model in enumerate(models, 1):
        assert sha256(small_world / "ipo" / f"step_{number}") == sha256(model)
        assert steps[number - 1]["first_loss"] == pytest.approx(25.0)  # (1 / (2 beta)) squared


def test_a_run_of_few_steps_computes_the_reference_of_the_rows_it_trains(small_world):
    # Data of its own: those that another test has prepared are shuffled by that test's seed.
    own = {"seed": 7, "dataset_prepared_path": str(small_world / "few_prepared")}
    values = sdpo_recipe(small_world, "few", max_steps=2, **own)
    assert f"{PASS}: 100%" in Run(values).end()

    for number, model in enumerate(chained(small_world, "chained_few", max_steps=2, **own), 1):
        step = small_world / "few" / f"step_{number}"
        assert sha256(step) == sha256(model)
        stored = load_file(step / "sdpo_reference.safetensors")["logps"]
        assert stored.isnan().any(dim=1).sum() == 16 - 2 * 4  # 2 updates of 4 rows are trained
    # What the others need is not there for a longer run; for a shorter one it is.
    assert PASS in Run(sdpo_recipe(small_world, "longer", max_steps=4, **own)).end()
    shorter = Run(sdpo_recipe(small_world, "shorter", max_steps=1, **own)).end()
    assert shorter.count(f"{PASS}:   0%") == 1  # step 2, whose reference is another model
