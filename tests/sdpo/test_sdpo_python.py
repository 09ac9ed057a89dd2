"""Stepwise DPO without Axolotl."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow

README = Path(__file__).parents[2] / "solar_plugins" / "sdpo" / "README.md"


@pytest.fixture
def model_and_tokenizer(small_world):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return (
        AutoModelForCausalLM.from_pretrained(small_world / "sft"),
        AutoTokenizer.from_pretrained(small_world / "sft"),
    )


@pytest.fixture(scope="module")
def rows(small_world):
    from datasets import Dataset

    return [Dataset.from_json(str(small_world / f"{n}.jsonl")) for n in ("orca", "ultra", "math")]


def arguments(folder, **changes):
    from trl import DPOConfig

    fixed = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "learning_rate": 2e-3,
        "max_length": 64,
        "logging_steps": 1,
        "save_steps": 2,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "seed": 11,
    }
    return DPOConfig(str(folder), **fixed | {"num_train_epochs": 1} | changes)


def weights_of(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same(a, b) -> bool:
    import torch

    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_steps_are_trls_own_runs_with_a_reference_model(
    small_world, model_and_tokenizer, rows, tmp_path
):
    from transformers import AutoModelForCausalLM
    from trl import DPOTrainer

    from solar_plugins.sdpo import StepwiseDPO, TrainingStep

    model, tokenizer = model_and_tokenizer
    steps = [TrainingStep(rows[0]), TrainingStep(rows[1], learning_rate=1e-3, beta=0.3)]
    run = StepwiseDPO(model, tokenizer, arguments(tmp_path / "ours"), steps)
    assert run.train() is model

    start = small_world / "sft"
    for number, changes in enumerate([{}, {"learning_rate": 1e-3, "beta": 0.3}]):
        trainer = DPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(start),
            ref_model=AutoModelForCausalLM.from_pretrained(start),
            args=arguments(tmp_path / f"trl_{number}", **changes),
            train_dataset=rows[number],
            processing_class=tokenizer,
        )
        trainer.train()
        start = tmp_path / f"trl_{number}" / "model"
        trainer.save_model(str(start))
    assert same(weights_of(model), weights_of(trainer.model))
    assert [facts["first_loss"] for facts in run.facts] == pytest.approx([math.log(2)] * 2)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert same(weights_of(saved), weights_of(model))


def test_a_run_goes_on_where_it_was(small_world, model_and_tokenizer, rows, tmp_path):
    from transformers import AutoModelForCausalLM

    from solar_plugins.sdpo import StepwiseDPO, TrainingStep

    model, tokenizer = model_and_tokenizer

    def steps():
        return [TrainingStep(of) for of in rows]

    StepwiseDPO(model, tokenizer, arguments(tmp_path / "a"), steps()).train()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "step_3")
    (tmp_path / "b" / "step_2" / "sdpo_step.json").unlink()

    fresh = AutoModelForCausalLM.from_pretrained(small_world / "sft")
    again = StepwiseDPO(fresh, tokenizer, arguments(tmp_path / "b"), steps())
    again.train()
    assert same(weights_of(fresh), weights_of(model))
    assert [facts["step"] for facts in again.facts] == [1, 2, 3]

    with pytest.raises(SolarError, match=r"learning_rate: 0\.5 now, 0\.002 when"):
        StepwiseDPO(fresh, tokenizer, arguments(tmp_path / "b", learning_rate=0.5), steps()).train()


def test_an_adapter_is_carried_from_step_to_step(model_and_tokenizer, rows, tmp_path):
    from peft import LoraConfig

    from solar_plugins.sdpo import StepwiseDPO, TrainingStep

    model, tokenizer = model_and_tokenizer
    run = StepwiseDPO(
        model,
        tokenizer,
        arguments(tmp_path, learning_rate=0.02),
        [TrainingStep(rows[0]), TrainingStep(rows[1]), TrainingStep(rows[2], policy="base")],
        peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    run.train()

    first, second, third = run.facts
    assert second["reference_digest"] == first["model_digest"]
    assert third["start_digest"] == first["start_digest"]
    assert third["reference_digest"] == second["model_digest"]
    assert second["first_loss"] == pytest.approx(math.log(2), abs=5e-7)
    assert abs(third["first_loss"] - math.log(2)) > 1e-3
    assert (tmp_path / "step_2" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "step_2" / "ref").exists()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"learning_rat": 1e-3},
            "TrainingStep.learning_rat: no field of DPOConfig that a step may set. "
            "Did you mean 'learning_rate'?",
        ),
        (
            {"output_dir": "elsewhere"},
            "TrainingStep.output_dir: no field of DPOConfig that a step may set.",
        ),
        ({"policy": "fixed"}, "TrainingStep.policy: 'fixed'. Write 'previous' or 'base'."),
    ],
)
def test_a_step_that_cannot_be_is_refused(rows, step, message):
    from solar_plugins.sdpo import TrainingStep

    with pytest.raises(SolarError) as error:
        TrainingStep(rows[0], **step)
    assert str(error.value) == message


def test_a_stream_is_refused(rows):
    from solar_plugins.sdpo import TrainingStep

    with pytest.raises(SolarError, match="IterableDataset"):
        TrainingStep(rows[0].to_iterable_dataset())


def test_the_example_of_the_readme_runs(small_world, tmp_path, monkeypatch):
    example = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL).group(1)
    places = {"./sft": "sft", "easy.jsonl": "orca.jsonl", "hard.jsonl": "math.jsonl"}
    for theirs, ours in places.items():
        assert theirs in example
        example = example.replace(theirs, str(small_world / ours))
    monkeypatch.chdir(tmp_path)

    exec(compile(example, str(README), "exec"), {})

    assert (tmp_path / "sdpo" / "model.safetensors").is_file()


def test_the_package_is_light_until_it_is_used():
    code = "import sys, solar_plugins.sdpo; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
