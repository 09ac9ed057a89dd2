"""`evaluate_model` on real lm-eval tasks, with a tiny random model and data made here."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner
from tiny_benchmarks import write_config, write_model, write_tasks

from solar_plugins.errors import SolarError

TASKS = ["tiny_arc", "tiny_truthfulqa", "tiny_gsm8k", "tiny_plain", "tiny_loss"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    write_model(folder / "model")
    write_tasks(folder / "tasks")
    return folder


@pytest.fixture(scope="module")
def measured(world):
    from solar_plugins.evaluation.h6 import evaluate_model

    config = write_config(world / "h6.yml", world / "tasks", TASKS)
    result = evaluate_model(config, world / "model", world / "h6" / "base.json", "base")
    return config, result


def test_scores_are_those_of_lm_eval_itself(world, measured):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    _, result = measured
    manager = TaskManager(include_path=str(world / "tasks"), include_defaults=False)
    names = {
        "tiny_arc": "acc_norm,none",
        "tiny_truthfulqa": "acc,none",
        "tiny_gsm8k": "exact_match,strict-match",
    }
    own = simple_evaluate(  # one call over all tasks, as `lm_eval run` makes it
        model="hf",
        model_args={"pretrained": str(world / "model")},
        tasks=TASKS,
        batch_size=4,
        device="cpu",
        task_manager=manager,
        log_samples=False,
        fewshot_as_multiturn=False,
    )
    for task, key in names.items():
        assert result["tasks"][task]["value"] == pytest.approx(own["results"][task][key], abs=1e-6)
        stderr = own["results"][task][key.replace(",", "_stderr,")]
        assert result["tasks"][task]["stderr"] == pytest.approx(stderr, abs=1e-6)
        assert result["tasks"][task]["num_fewshot"] == own["n-shot"][task]
    single = simple_evaluate(  # the same batches: the same numbers to the last digit
        model="hf",
        model_args={"pretrained": str(world / "model")},
        tasks=["tiny_truthfulqa"],
        batch_size=4,
        device="cpu",
        task_manager=manager,
        log_samples=False,
    )
    assert (
        result["tasks"]["tiny_truthfulqa"]["value"]
        == (single["results"]["tiny_truthfulqa"]["acc,none"])
    )
    assert result["losses"]["tiny_loss"]["value"] == pytest.approx(
        own["results"]["tiny_loss"]["bits_per_byte,none"], abs=1e-9
    )
    plain = own["results"]["tiny_plain"]
    assert result["other"]["tiny_plain"]["values"]["acc,none"] == plain["acc,none"]


def test_the_result_file(world, measured):
    _, result = measured
    assert json.loads((world / "h6" / "base.json").read_text()) == result
    assert not (world / "h6" / "base.partial.json").exists()
    assert result["model"] == "base"
    assert result["h6"] is None  # three of six
    arc = result["tasks"]["tiny_arc"]
    assert (arc["benchmark"], arc["metric"], arc["chance"]) == ("arc", "acc_norm", 0.25)
    assert (arc["num_fewshot"], arc["n"], arc["version"]) == (3, 12, 1.0)
    assert result["harness"]["lm_eval"] == "0.4.11"


def test_a_killed_evaluation_measures_only_what_is_missing(world, measured, monkeypatch):
    from solar_plugins.evaluation import h6, harness

    config, result = measured
    out = world / "killed" / "base.json"
    real, calls = harness.measure, []

    def dies_in_the_third(lm, entry, config, manager):
        calls.append(entry)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(lm, entry, config, manager)

    monkeypatch.setattr(harness, "measure", dies_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        h6.evaluate_model(config, world / "model", out, "base")
    assert not out.exists()
    assert calls == TASKS[:3]
    again = h6.evaluate_model(config, world / "model", out, "base")
    assert calls == TASKS[:3] + TASKS[2:]  # the first two were not measured twice
    assert again["tasks"] == result["tasks"]
    assert again["losses"] == result["losses"]


def test_what_another_model_measured_is_not_taken_over(world, measured, monkeypatch):
    from solar_plugins.evaluation import h6, harness

    config, result = measured
    out = world / "other" / "m.json"
    real, calls = harness.measure, []

    def dies_in_the_second(lm, entry, config, manager):
        calls.append(entry)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(lm, entry, config, manager)

    monkeypatch.setattr(harness, "measure", dies_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        h6.evaluate_model(config, world / "model", out, "m")
    partial = json.loads((out.parent / "m.partial.json").read_text())
    assert list(partial["done"]) == ["tiny_arc"]
    shutil.copytree(world / "model", world / "retrained")
    write_model(world / "retrained", seed=7)
    calls.append("-")
    other = h6.evaluate_model(config, world / "retrained", out, "m")
    assert calls[3:] == TASKS
    assert other["losses"] != result["losses"]


def test_settings_of_the_config_reach_the_tasks(world):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from solar_plugins.evaluation.h6 import evaluate_model

    more = {"num_fewshot": 1, "gen_kwargs": {"max_gen_toks": 3}, "limit": 5, "seed": [1, 2, 3, 4]}
    names = ["tiny_arc", "tiny_truthfulqa", "tiny_gsm8k"]
    config = write_config(world / "few.yml", world / "tasks", names, **more)
    result = evaluate_model(config, world / "model", world / "few.json", "base")
    shots = {name: task["num_fewshot"] for name, task in result["tasks"].items()}
    assert shots == {"tiny_arc": 1, "tiny_truthfulqa": 0, "tiny_gsm8k": 1}  # 0 stays 0, as there
    assert result["limit"] == 5
    manager = TaskManager(include_path=str(world / "tasks"), include_defaults=False)
    own = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(world / "model")},
        tasks=["tiny_arc"],
        num_fewshot=1,
        limit=5,
        batch_size=4,
        device="cpu",
        task_manager=manager,
        random_seed=1,
        numpy_random_seed=2,
        torch_random_seed=3,
        fewshot_random_seed=4,
        log_samples=True,
    )
    assert result["tasks"]["tiny_arc"]["value"] == own["results"]["tiny_arc"]["acc_norm,none"]
    assert own["n-shot"]["tiny_arc"] == 1


def test_the_command(world, measured):
    from solar_plugins.evaluation.commands import evaluate_command

    config, result = measured
    out = world / "command.json"
    arguments = [str(world / "model"), "--config", str(config), "--out", str(out)]
    run = CliRunner().invoke(evaluate_command, arguments)
    assert run.exit_code == 0, run.output
    assert json.loads(out.read_text())["tasks"] == result["tasks"]
    rows = {line.split()[1]: line for line in run.output.splitlines() if line.startswith("│")}
    assert f"{100 * result['tasks']['tiny_arc']['value']:.2f}" in rows["ARC"]
    assert "25.00" in rows["ARC"]  # chance
    assert "not run" in rows["MMLU"]
    assert "not run" in rows["H6"]
    assert "paper" not in run.output  # a miniature is not the paper's benchmark


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tasks: [tiny_arcs]", "tasks: lm-eval has no task 'tiny_arcs'. Did you mean 'tiny_arc'?"),
        ("task: [tiny_arc]", "task: no such key in an lm-eval config. Did you mean 'tasks'?"),
        ("limit: 3", "tasks: none named. Name the tasks to run"),
    ],
)
def test_faults_in_the_config(world, tmp_path, content, message):
    from solar_plugins.evaluation.h6 import evaluate_model

    config = tmp_path / "h6.yml"
    config.write_text(f"{content}\ninclude_path: {world / 'tasks'}\n", encoding="utf-8")
    with pytest.raises(SolarError) as error:
        evaluate_model(config, world / "model", tmp_path / "out.json", "base")
    assert str(error.value) == f"{config}: {message}"


def test_faults_of_paths(world, tmp_path):
    from solar_plugins.evaluation.h6 import evaluate_model

    config = write_config(tmp_path / "h6.yml", tmp_path / "nowhere", ["tiny_arc"])
    with pytest.raises(SolarError) as error:
        evaluate_model(config, world / "model", tmp_path / "out.json", "base")
    assert str(error.value) == (
        f"{config}: include_path: {tmp_path / 'nowhere'} is no folder. "
        "It is taken from where the command runs: start it in the repository's root"
    )
    with pytest.raises(SolarError) as error:
        evaluate_model(config, tmp_path / "no_model", tmp_path / "out.json", "base")
    assert str(error.value) == (
        f"{tmp_path / 'no_model'}: no model here (config.json is missing). Give a model's folder"
    )
    with pytest.raises(SolarError, match=r"nothing\.yml: no such file"):
        evaluate_model(tmp_path / "nothing.yml", world / "model", tmp_path / "out.json", "base")


def test_two_tasks_for_one_benchmark_are_refused(world, tmp_path):
    from solar_plugins.evaluation.h6 import evaluate_model

    tasks = tmp_path / "tasks"
    shutil.copytree(world / "tasks", tasks)
    text = (tasks / "tiny_arc.yaml").read_text().replace("task: tiny_arc", "task: tiny_arc_again")
    (tasks / "again.yaml").write_text(text)
    config = write_config(tmp_path / "h6.yml", tasks, ["tiny_arc", "tiny_arc_again"], limit=2)
    with pytest.raises(SolarError) as error:
        evaluate_model(config, world / "model", tmp_path / "out.json", "base")
    assert str(error.value) == (
        "tasks: tiny_arc and tiny_arc_again both stand for ARC. H6 takes one of them: name one"
    )
