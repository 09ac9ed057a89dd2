"""Stepwise DPO as users run it: `axolotl train` of a recipe, undisturbed, killed and changed."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from sdpo_world import Run, dataset, make_model, make_preferences, probed, recipe, sha256

from solar_plugins import run_record

pytestmark = pytest.mark.slow

PLUGINS = ["solar_plugins.StepwiseDPOPlugin", "sdpo_probe.ProbePlugin"]
STEPS = 3


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    for heavy in ("axolotl.cli.config", "axolotl.core.builders.rl", "axolotl.train"):
        import_module(heavy)  # once here; each run is a fork of this process
    folder = tmp_path_factory.mktemp("sdpo")
    make_model(folder / "sft")
    make_preferences(folder / "orca.jsonl", 25, seed=1, intel=True)
    make_preferences(folder / "ultra.jsonl", 20, seed=2)
    make_preferences(folder / "math.jsonl", 20, seed=3)
    return folder


def steps_of(world: Path) -> list[dict]:
    return [
        {"datasets": [dataset(world / "orca.jsonl", "chatml.intel")]},
        {
            "datasets": [dataset(world / "ultra.jsonl", "chatml.default")],
            "learning_rate": 0.004,
            "rl_beta": 0.3,
        },
        {"datasets": [dataset(world / "math.jsonl", "chatml.default")]},
    ]


def sdpo_recipe(world: Path, output: str, **changes) -> dict:
    return recipe(
        world,
        output_dir=str(world / output),
        plugins=PLUGINS,
        sdpo={"steps": steps_of(world)},
        **changes,
    )


@pytest.fixture(scope="module")
def undisturbed(world) -> Path:
    """A run of all three steps that nothing interrupted."""
    Run(sdpo_recipe(world, "undisturbed")).end()
    return world / "undisturbed"


def hashes(output: Path) -> list[str]:
    return [sha256(output / f"step_{n}") for n in range(1, STEPS + 1)] + [sha256(output)]


def test_every_step_starts_at_ln_2_and_hands_its_model_to_the_next(undisturbed):
    steps = run_record.read(undisturbed, "sdpo")["steps"]

    assert [step["step"] for step in steps] == [1, 2, 3]
    for step in steps:
        assert step["first_loss"] == pytest.approx(math.log(2), abs=5e-7)
        assert step["train_loss"] < math.log(2)
    assert [step["rows"] for step in steps] == [20, 16, 16]  # a fifth is held out for evaluation
    assert [step["steps"] for step in steps] == [5, 4, 4]
    assert steps[0]["datasets"][0]["path"].endswith("orca.jsonl")
    for before, after in itertools.pairwise(steps):
        assert after["reference_digest"] == before["model_digest"] != before["reference_digest"]
    assert sha256(undisturbed) == sha256(undisturbed / "step_3") != sha256(undisturbed / "step_2")


def test_each_step_is_a_complete_model(undisturbed):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for folder in (undisturbed / "step_1", undisturbed / "step_2", undisturbed):
        model = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert model.config.vocab_size == len(tokenizer)
        assert tokenizer.chat_template


def test_the_step_models_are_those_of_chained_runs_with_a_reference_model(world, undisturbed):
    base = world / "sft"
    for number, step in enumerate(steps_of(world), 1):
        output = world / f"chained_{number}"
        values = recipe(world) | step | {"base_model": str(base), "output_dir": str(output)}
        Run(values).end()
        # What the comparison is about: this run did load a reference model.
        assert len([e for e in probed(output) if e["event"] == "load"]) == 2
        assert sha256(output) == sha256(undisturbed / f"step_{number}")
        base = output


def test_no_reference_model_is_loaded(world, undisturbed):
    loads = [event for event in probed(undisturbed) if event["event"] == "load"]

    assert loads == [{"event": "load", "base_model": str(world / "sft")}]


def test_logs_name_the_step_and_count_on(undisturbed):
    events = probed(undisturbed)
    for added in ("pre", "post"):  # callbacks of other plugins see every step's trainer
        losses = [e for e in events if e["event"] == added and "loss" in e["logs"]]
        assert [e["step"] for e in losses] == list(range(1, 14))
        assert {e["max_steps"] for e in losses} == {13}
        assert [e["logs"]["sdpo_step"] for e in losses] == [1] * 5 + [2] * 4 + [3] * 4
    # The second step's own learning rate, at its first update and nowhere else.
    peaks = [e["step"] for e in events if e["event"] == "pre" and e["logs"].get("learning_rate")]
    rates = [
        e["logs"]["learning_rate"] for e in events if e["event"] == "pre" and "loss" in e["logs"]
    ]
    assert len(peaks) == 13
    assert [rates[0], rates[5], rates[9]] == [0.002, 0.004, 0.002]
    evaluations = [e for e in events if e["event"] == "pre" and "eval_loss" in e["logs"]]
    assert [e["logs"]["sdpo_step"] for e in evaluations] == [1, 1, 2, 2, 3, 3]
    for before_training in evaluations[::2]:
        assert before_training["logs"]["eval_loss"] == pytest.approx(math.log(2), abs=5e-7)


def test_killed_at_any_moment_the_same_command_ends_with_the_same_weights(world, undisturbed):
    output = world / "killed"
    values = sdpo_recipe(world, "killed")
    moments = [
        output / "step_1" / "sdpo_reference.safetensors",
        output / "step_1" / "checkpoint-2" / "model.safetensors",  # being written
        output / "step_1" / "checkpoint-4" / "sdpo_checkpoint.json",
        output / "step_1" / "model.safetensors",
        output / "step_1" / "sdpo_step.json",
        output / "step_2" / "checkpoint-2" / "optimizer.pt",
        output / "step_2" / "checkpoint-4" / "trainer_state.json",
        output / "step_3" / "sdpo_step.json",
        output / "model.safetensors",
    ]
    for number, moment in enumerate(moments):
        Run(values, f"killed_{number}").kill_when(moment)
        if moment != moments[-1]:
            assert run_record.read(output, "sdpo") is None
    updates = [e for e in probed(output) if e["event"] == "pre"]
    Run(values, "last").end()

    assert [e for e in probed(output) if e["event"] == "pre"] == updates, "all was done already"
    assert hashes(output) == hashes(undisturbed)
    ended = run_record.read(output, "sdpo")["steps"]
    for step, expected in zip(ended, run_record.read(undisturbed, "sdpo")["steps"], strict=True):
        assert {k: v for k, v in step.items() if k not in ("wall_s", "train_loss")} == {
            k: v for k, v in expected.items() if k not in ("wall_s", "train_loss")
        }
    # No step went on after the next one had begun: what is finished is not repeated.
    order = [e["logs"]["sdpo_step"] for e in probed(output) if e["event"] == "pre"]
    assert order == sorted(order)


def cut_back(undisturbed: Path, output: Path) -> None:
    """The undisturbed run as it stood when step 2 was four updates old."""
    shutil.copytree(undisturbed, output)
    for path in ("model.safetensors", "solar", "step_3"):
        target = output / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    for name in ("model.safetensors", "sdpo_step.json"):
        (output / "step_2" / name).unlink()


def test_axolotl_train_skips_a_truncated_checkpoint_and_goes_on_from_the_one_before(
    world, undisturbed
):
    output = world / "truncated"
    cut_back(undisturbed, output)
    victim = output / "step_2" / "checkpoint-4" / "optimizer.pt"
    victim.write_bytes(victim.read_bytes()[:-100])
    file = world / "truncated.yml"
    file.write_text(yaml.safe_dump(sdpo_recipe(world, "truncated")))

    # The command as users type it: its launcher, its own processes, nothing imported before.
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    tools = Path(sys.executable).parent
    search = os.pathsep.join([str(tools), os.environ["PATH"]])
    command = [tools / "axolotl", "train", file]
    environment = os.environ | {"PYTHONPATH": paths, "PATH": search, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr[-4000:]
    steps_run = [e["step"] for e in probed(output) if e["event"] == "pre" and "loss" in e["logs"]]
    assert steps_run == [8, 9, 10, 11, 12, 13]  # step 1 had 5 updates; on from step 2's second
    assert hashes(output) == hashes(undisturbed)
    losses = [step["first_loss"] for step in run_record.read(output, "sdpo")["steps"]]
    assert losses == pytest.approx([math.log(2)] * 3, abs=5e-7)


def test_a_lost_reference_starts_the_step_anew(world, undisturbed):
    output = world / "lost_reference"
    cut_back(undisturbed, output)
    stored = output / "step_2" / "sdpo_reference.safetensors"
    stored.write_bytes(stored.read_bytes()[:-4])
    shutil.rmtree(world / "prepared" / "sdpo_reference")  # what later runs would find

    Run(sdpo_recipe(world, "lost_reference")).end()

    steps_run = [e["step"] for e in probed(output) if e["event"] == "pre" and "loss" in e["logs"]]
    assert steps_run == list(range(6, 14))
    assert hashes(output) == hashes(undisturbed)


def test_changes_between_run_and_resume_are_refused(world, undisturbed):
    output = world / "changed"
    cut_back(undisturbed, output)
    before = sha256(output / "step_1")
    anew = f"delete {output}/step_* (or choose another output_dir) to start anew."

    values = sdpo_recipe(world, "changed")
    values["sdpo"]["steps"].pop()
    assert Run(values).error() == (
        f"solar_plugins.errors.SolarError: sdpo.steps: 2 now, but {output}/step_1 was trained as "
        f"step 1 of 3. Put the steps back to go on, or {anew}"
    )
    values = sdpo_recipe(world, "changed")
    values["sdpo"]["steps"][1]["rl_beta"] = 0.2  # the step that is half done
    assert Run(values).error() == (
        f"solar_plugins.errors.SolarError: rl_beta: 0.2 now, 0.3 when {output}/step_2 was trained. "
        f"Put it back to go on, or {anew}"
    )
    values = sdpo_recipe(world, "changed", auto_resume_from_checkpoints=False)
    assert "auto_resume_from_checkpoints: false, but" in Run(values).error()
    assert sha256(output / "step_1") == before
    assert json.loads((output / "step_1" / "sdpo_step.json").read_text())["of"] == 3


def test_a_replaced_step_model_is_refused(world, undisturbed):
    output = world / "replaced"
    cut_back(undisturbed, output)
    shutil.copy(world / "sft" / "model.safetensors", output / "step_1" / "model.safetensors")

    assert Run(sdpo_recipe(world, "replaced")).error() == (
        f"solar_plugins.errors.SolarError: {output}/step_1: other weights than were saved there "
        f"when the step ended. Delete {output}/step_1 to train that step again."
    )


def test_bad_data_and_a_missing_block_are_told_by_their_yaml_path(world):
    values = recipe(world, output_dir=str(world / "no_block"), plugins=PLUGINS)
    assert (
        Run(values)
        .error()
        .startswith("solar_plugins.errors.SolarError: sdpo: missing, though StepwiseDPOPlugin is")
    )

    values = sdpo_recipe(world, "no_column")
    values["sdpo"]["steps"][2]["datasets"][0]["type"] = "chatml.intel"  # wants system, question
    assert Run(values).error() == (
        f"solar_plugins.errors.SolarError: sdpo.steps[2]: row 1 of {world}/math.jsonl: no column "
        "(or role) 'question'. Choose the `type` that fits the columns; it is chatml.intel."
    )

    values = sdpo_recipe(world, "no_rows", sequence_len=4)
    assert Run(values).error() == (
        "solar_plugins.errors.SolarError: sdpo.steps[0]: rows: 25 read, 0 trained; 25 longer than "
        "sequence_len. No row is left to train. Raise sequence_len (now 4), shorten them, or write "
        "excess_length_strategy: truncate."
    )
    assert not (world / "no_column" / "step_1").exists()
