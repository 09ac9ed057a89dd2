"""What a step may choose for itself: its reference, its start, its training keys."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from chained_run import ChainedRun
from sdpo_world import Run, dataset, probed, recipe, sha256

from solar_plugins import run_record

pytestmark = pytest.mark.slow

PLUGINS = ["solar_plugins.StepwiseDPOPlugin", "sdpo_probe.ProbePlugin"]

WEIGHTED = {"dpo_use_weighting": True, "dpo_label_smoothing": 0.1, "seed": 3}

# The keys of each step's own, the model that it starts from, and its reference.
STEPS = [
    ("orca", {"micro_batch_size": 1, "gradient_accumulation_steps": 3}, "sft", "sft"),
    ("ultra", {"lr_scheduler": "linear", "warmup_steps": 2, "rl_beta": 0.5}, "step_1", "sft"),
    ("math", {"max_steps": 3, "weight_decay": 0.1, "max_grad_norm": 0.3}, "step_2", "other"),
    (
        "orca",
        WEIGHTED | {"val_set_size": 0.0},
        "sft",
        "step_3",
    ),
]
CHOICES = [{}, {"reference": "fixed"}, {"reference": {"path": "other"}}, {"policy": "base"}]


def sdpo_recipe(world: Path, output: str, steps: list[dict], block: dict | None = None, **changes):
    values = recipe(world, output_dir=str(world / output), plugins=PLUGINS, **changes)
    return values | {"sdpo": {"steps": steps, **(block or {})}}


def steps_of(world: Path) -> list[dict]:
    steps = []
    for (name, own, _, _), choice in zip(STEPS, CHOICES, strict=True):
        if isinstance(choice.get("reference"), dict):
            choice = {"reference": {"path": str(world / "other")}}
        steps.append(
            {"datasets": [dataset(world / f"{name}.jsonl", "chatml.default")], **own, **choice}
        )
    return steps


@pytest.fixture(scope="module")
def chosen(small_world) -> Path:
    Run(sdpo_recipe(small_world, "chosen", steps_of(small_world))).end()
    return small_world / "chosen"


def test_each_step_is_the_dpo_run_with_that_start_and_that_reference_model(small_world, chosen):
    world = small_world
    models = {"sft": world / "sft", "other": world / "other"}
    for number, (name, own, start, reference) in enumerate(STEPS, 1):
        output = world / f"chained_{number}"
        values = recipe(world) | own | {"output_dir": str(output)}
        values["datasets"] = [dataset(world / f"{name}.jsonl", "chatml.default")]
        values["base_model"] = str(models[start])
        # Axolotl alone would find step 1's rows for step 4, which shuffles them by another seed
        values["dataset_prepared_path"] = str(world / f"prepared_{number}")
        if own.get("val_set_size") == 0:
            del values["eval_strategy"]
        ChainedRun(values, models[reference]).end()
        assert sha256(output) == sha256(chosen / f"step_{number}"), number
        models[f"step_{number}"] = output


def test_the_digests_tell_which_model_was_which(chosen):
    steps = run_record.read(chosen, "sdpo")["steps"]
    digests = {"sft": steps[0]["start_digest"], "other": steps[2]["reference_digest"]}
    assert digests["other"] not in [step["model_digest"] for step in steps] + [digests["sft"]]
    for number, (_, _, start, reference) in enumerate(STEPS, 1):
        step = steps[number - 1]
        assert step["start_digest"] == digests[start], number
        assert step["reference_digest"] == digests[reference], number
        digests[f"step_{number}"] = step["model_digest"]
    assert [step["reference"] for step in steps[:2]] == ["previous", "fixed"]
    assert steps[2]["reference"].endswith("other")
    assert [step["policy"] for step in steps] == ["previous"] * 3 + ["base"]
    assert [step["beta"] for step in steps] == [0.1, 0.5, 0.1, 0.1]
    assert [step["steps"] for step in steps] == [6, 4, 3, 5]
    assert steps[0]["first_loss"] == pytest.approx(math.log(2), abs=5e-7)
    # The reference is another model there, so nothing begins at ln 2.
    assert abs(steps[2]["first_loss"] - math.log(2)) > 1e-4


def test_only_one_model_at_a_time_is_loaded(small_world, chosen):
    loads = [Path(e["base_model"]).name for e in probed(chosen) if e["event"] == "load"]

    # The references of steps 2 and 3, one after the other and freed again, then the policy.
    assert loads == ["sft", "other", "sft"]
    assert not (chosen / "sdpo_start.safetensors").exists()


def test_a_run_that_is_begun_anew_in_the_middle_ends_the_same(small_world, chosen):
    output = small_world / "cut"
    shutil.copytree(chosen, output)
    for folder in ("solar", "step_2", "step_3", "step_4"):
        shutil.rmtree(output / folder)
    # Without them the references are computed anew, by models that are loaded for it.
    shutil.rmtree(small_world / "prepared" / "sdpo_reference")

    Run(sdpo_recipe(small_world, "cut", steps_of(small_world))).end()

    for number in range(1, 5):
        assert sha256(output / f"step_{number}") == sha256(chosen / f"step_{number}"), number
    kept = ("start_digest", "reference_digest", "model_digest", "first_loss")
    before, after = (run_record.read(place, "sdpo")["steps"] for place in (chosen, output))
    assert [{k: s[k] for k in kept} for s in after] == [{k: s[k] for k in kept} for s in before]
