"""`evaluate_model` on real lm-eval tasks, with a tiny random model and data made here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from forked_process import own_progress_lock
from tiny_benchmarks import write_config, write_model, write_tasks

from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow

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


def test_a_group_is_the_plain_mean_of_its_subjects(world):
    """As leaderboard v1 measured MMLU; lm-eval's own mean, weighted by size, is kept beside it."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from solar_plugins.evaluation.h6 import evaluate_model

    config = write_config(world / "group.yml", world / "tasks", ["tiny_mmlu"])
    result = evaluate_model(config, world / "model", world / "group.json", "base")
    own = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(world / "model")},
        tasks=["tiny_mmlu"],
        batch_size=4,
        device="cpu",
        task_manager=TaskManager(include_path=str(world / "tasks"), include_defaults=False),
        log_samples=False,
    )["results"]
    subjects = [own[f"tiny_mmlu_{size}"] for size in ("few", "some", "test")]
    entry = result["tasks"]["tiny_mmlu"]
    assert (entry["benchmark"], entry["n"]) == ("mmlu", 3 + 5 + 12)
    assert entry["averaging"] == "plain mean of 3 tasks"
    assert entry["value"] == pytest.approx(sum(one["acc,none"] for one in subjects) / 3)
    errors = [one["acc_stderr,none"] for one in subjects]
    assert entry["stderr"] == pytest.approx(sum(error**2 for error in errors) ** 0.5 / 3)
    assert entry["lm_eval"] == {
        "value": own["tiny_mmlu"]["acc,none"],
        "stderr": own["tiny_mmlu"]["acc_stderr,none"],
        "averaging": "weighted by number of items",
    }
    assert abs(entry["value"] - entry["lm_eval"]["value"]) > 0.01  # the two are told apart


def test_the_result_file(world, measured):
    _, result = measured
    assert json.loads((world / "h6" / "base.json").read_text()) == result
    assert not (world / "h6" / "base.partial.jsonl").exists()
    assert result["model"] == "base"
    assert result["h6"] is None  # three of six
    arc = result["tasks"]["tiny_arc"]
    assert (arc["benchmark"], arc["metric"], arc["chance"]) == ("arc", "acc_norm", 0.25)
    assert (arc["num_fewshot"], arc["n"], arc["version"]) == (3, 12, 1.0)
    assert arc["averaging"] == "all items"
    assert result["tasks"]["tiny_gsm8k"]["stops"] == ["Question"]
    assert result["harness"]["lm_eval"] == "0.4.11"


def test_a_killed_evaluation_measures_only_what_is_missing(world, measured, monkeypatch):
    from solar_plugins.evaluation import h6, harness

    config, result = measured
    out = world / "killed" / "base.json"
    real, calls = harness.measure, []

    def dies_in_the_third(lm, tasks, config):
        calls.extend(tasks)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(lm, tasks, config)

    monkeypatch.setattr(harness, "measure", dies_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        h6.evaluate_model(config, world / "model", out, "base")
    assert not out.exists()
    assert calls == TASKS[:3]
    again = h6.evaluate_model(config, world / "model", out, "base")
    assert calls == TASKS[:3] + TASKS[2:]  # the first two were not measured twice
    assert again["tasks"] == result["tasks"]
    assert again["losses"] == result["losses"]


def test_an_evaluation_that_is_killed_outright_loses_one_task_at_most(world, measured, monkeypatch):
    """SIGKILL in the middle of a task: nothing of the process gets to clean up."""
    from solar_plugins.evaluation import h6, harness

    config, result = measured
    out = world / "killed_outright" / "base.json"
    real, calls = harness.measure, []

    def stops_in_the_third(lm, tasks, config):
        calls.extend(tasks)
        if len(calls) == 3:
            (out.parent / "here").touch()
            time.sleep(600)
        return real(lm, tasks, config)

    child = os.fork()
    if child == 0:
        own_progress_lock()
        torch.set_num_threads(1)  # threads of the parent did not come along
        harness.measure = stops_in_the_third
        h6.evaluate_model(config, world / "model", out, "base")
        os._exit(1)  # not reached
    while not (out.parent / "here").exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not out.exists()

    def counting(lm, tasks, config):
        calls.extend(tasks)
        return real(lm, tasks, config)

    monkeypatch.setattr(harness, "measure", counting)
    again = h6.evaluate_model(config, world / "model", out, "base")
    assert calls == TASKS[2:]
    assert list(again["tasks"]) == list(result["tasks"])
    for name, task in again["tasks"].items():  # the child had one thread, which rounds otherwise
        assert task["value"] == pytest.approx(result["tasks"][name]["value"], abs=1e-6)


def test_what_another_model_measured_is_not_taken_over(world, measured, monkeypatch):
    from solar_plugins.evaluation import h6, harness

    config, result = measured
    out = world / "other" / "m.json"
    real, calls = harness.measure, []

    def dies_in_the_second(lm, tasks, config):
        calls.extend(tasks)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(lm, tasks, config)

    monkeypatch.setattr(harness, "measure", dies_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        h6.evaluate_model(config, world / "model", out, "m")
    _, *kept = (out.parent / "m.partial.jsonl").read_text().splitlines()
    assert [json.loads(line)["item"] for line in kept] == ["tiny_arc"]
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
    from solar_plugins.cli.evaluate import evaluate_command

    config, result = measured
    out = world / "command.json"
    arguments = [str(world / "model"), "--config", str(config), "--out", str(out)]
    run = CliRunner().invoke(evaluate_command, arguments)
    assert run.exit_code == 0, run.output
    assert json.loads(out.read_text())["tasks"] == result["tasks"]
    rows = {line.split()[1]: line for line in run.output.splitlines() if line.startswith("│")}
    assert f"{100 * result['tasks']['tiny_arc']['value']:.2f}" in rows["ARC"]
    assert "25.00" in rows["ARC"]  # chance
    assert not {"MMLU", "H6"} & set(rows)  # nobody asked for them
    plain = result["other"]["tiny_plain"]["values"]
    for shown in ("tiny_plain acc ", f"{plain['acc,none']:.4f}", f"{plain['acc_stderr,none']:.4f}"):
        assert shown in run.output
    assert "paper" not in run.output  # a miniature is not the paper's benchmark
    assert "GSM8K: all items; an answer ends at 'Question'" in run.output


@pytest.mark.parametrize(
    ("output_path", "file"), [("results", "results/model.h6.json"), ("one.json", "one.json")]
)
def test_results_go_where_the_config_says(world, tmp_path, output_path, file):
    from solar_plugins.cli.evaluate import evaluate_command

    more = {"limit": 1, "output_path": str(tmp_path / output_path)}
    config = write_config(tmp_path / "h6.yml", world / "tasks", ["tiny_arc"], **more)
    run = CliRunner().invoke(evaluate_command, [str(world / "model"), "--config", str(config)])
    assert run.exit_code == 0, run.output
    assert list(json.loads((tmp_path / file).read_text())["tasks"]) == ["tiny_arc"]
    assert not (world / "model.h6.json").exists()


def test_a_task_that_cannot_be_loaded_is_not_run(world, measured, tmp_path, monkeypatch):
    from solar_plugins.cli.evaluate import evaluate_command
    from solar_plugins.evaluation import harness
    from solar_plugins.evaluation.h6 import evaluate_model

    _, result = measured
    tasks = tmp_path / "tasks"
    shutil.copytree(world / "tasks", tasks)
    away = tmp_path / "away.jsonl"
    away.write_bytes((world / "tasks" / "test.jsonl").read_bytes())
    text = (tasks / "tiny_gsm8k.yaml").read_text()
    text = text.replace(str(world / "tasks" / "test.jsonl"), str(tmp_path / "here.jsonl"))
    (tasks / "tiny_gsm8k.yaml").write_text(text)
    config = write_config(tmp_path / "h6.yml", tasks, TASKS)
    out = tmp_path / "base.json"

    with pytest.raises(SolarError) as error:  # in a chain: the stage fails, and with its cause
        evaluate_model(config, world / "model", out, "base")
    assert str(error.value).startswith(
        f"{config}: tasks: could not be loaded: tiny_gsm8k (FileNotFoundError: Unable to find"
    )
    assert not out.exists()
    arguments = [str(world / "model"), "--config", str(config), "--out", str(out)]
    run = CliRunner().invoke(evaluate_command, arguments)
    assert run.exit_code == 1, run.output
    written = json.loads(out.read_text())
    assert list(written["not_run"]) == ["tiny_gsm8k"]
    assert "tiny_gsm8k" not in written["tasks"]
    assert written["h6"] is written["h6_stderr"] is None
    assert written["tasks"]["tiny_arc"] == result["tasks"]["tiny_arc"]
    rows = {line.split()[1]: line for line in run.output.splitlines() if line.startswith("│")}
    assert "not run" in rows["tiny_gsm8k"]
    assert "tiny_gsm8k is not run: FileNotFoundError" in run.output

    measured_again = []
    real = harness.measure
    monkeypatch.setattr(
        harness,
        "measure",
        lambda lm, tasks, config: measured_again.extend(tasks) or real(lm, tasks, config),
    )
    away.rename(tmp_path / "here.jsonl")  # the data is there now: only this task is measured
    run = CliRunner().invoke(evaluate_command, arguments)
    assert run.exit_code == 0, run.output
    assert measured_again == ["tiny_gsm8k"]
    assert json.loads(out.read_text())["tasks"] == result["tasks"]
    assert not (tmp_path / "base.partial.jsonl").exists()


def test_standard_errors_and_settings(measured):
    from solar_plugins.evaluation.benchmarks import BENCHMARKS, h6_stderr

    _, result = measured
    assert result["h6_stderr"] is None  # as long as H6 is
    assert result["settings"]["seed"] == [0, 1234, 1234, 1234]
    assert result["settings"]["model"] == "hf"
    errors = {benchmark.key: 0.03 for benchmark in BENCHMARKS}
    assert h6_stderr(errors) == pytest.approx(0.03 / 6**0.5)
    assert h6_stderr(errors | {"arc": None}) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--backend", "vllm"],
            "--backend vllm: vllm is not installed here. pip install 'lm-eval[vllm]', or take "
            "--backend hf",
        ),
        (
            ["--data-parallel", "8"],
            "--data-parallel 8 x --tensor-parallel 1 needs 8 GPUs. This machine has 0",
        ),
        (
            ["--data-parallel", "2", "--tensor-parallel", "2"],
            "--tensor-parallel: with --backend hf it takes all GPUs for one copy of the model. "
            "Leave out --data-parallel, or take --backend vllm",
        ),
    ],
)
def test_backends_that_cannot_run_here(world, measured, tmp_path, options, message):
    from solar_plugins.cli import cli

    config, _ = measured
    arguments = ["evaluate", str(world / "model"), "--config", str(config), *options]
    run = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "out.json")])
    assert run.exit_code == 1
    assert run.output.strip() == f"Error: {message}"


def test_backends_reach_lm_eval_and_its_launcher(world, measured, monkeypatch):
    import ast
    import importlib.util

    import torch
    from accelerate.commands.launch import launch_command_parser

    from solar_plugins.evaluation.backend import Backend
    from solar_plugins.evaluation.harness import read_config

    config, _ = measured
    found = importlib.util.find_spec
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: found("json" if name == "vllm" else name)
    )
    spread = read_config(config, world / "model", backend=Backend("vllm", 4, 2))
    assert spread.model == "vllm"
    extra = {"data_parallel_size": 4, "tensor_parallel_size": 2}
    assert spread.model_args == {"pretrained": str(world / "model"), **extra}
    source = found("lm_eval.models.vllm_causallms").origin  # cannot be imported without vLLM
    (taken,) = (
        {argument.arg for argument in node.args.args}
        for part in ast.walk(ast.parse(Path(source).read_text(encoding="utf-8")))
        if isinstance(part, ast.ClassDef) and part.name == "VLLM"
        for node in part.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    assert set(spread.model_args) <= taken
    layers = read_config(config, world / "model", backend=Backend(None, 1, 8))
    assert layers.model_args == {"pretrained": str(world / "model"), "parallelize": True}

    copies = Backend(None, 8)
    assert copies.needs_launch("hf")
    assert not Backend("vllm", 8).needs_launch("vllm")  # starts its own processes
    command = copies.launch_command("solar_plugins.evaluation.h6", ["CONFIG", "MODEL"])
    parsed = launch_command_parser().parse_args(command[3:])
    assert (parsed.num_processes, parsed.multi_gpu, parsed.module) == (8, True, True)
    assert parsed.training_script == "solar_plugins.evaluation.h6"
    assert parsed.training_script_args == ["CONFIG", "MODEL"]
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert not copies.needs_launch("hf")  # this is one of them


def test_the_command_starts_a_process_per_copy_and_prints_their_result(
    world, measured, tmp_path, monkeypatch
):
    from solar_plugins.cli import evaluate

    config, result = measured
    commands = []

    def run(command, stdout):
        commands.append(command[command.index("--module") :])
        Path(command[-3]).write_text(json.dumps(result))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(evaluate.subprocess, "run", run)
    place = [str(config), str(world / "model"), str(tmp_path / "out.json"), "model"]
    arguments = [place[1], "--config", place[0], "--out", place[2], "--limit", "2", "--json"]
    shown = CliRunner().invoke(evaluate.evaluate_command, [*arguments, "--data-parallel", "8"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout) == result
    options = json.dumps({"limit": 2.0, "all_or_nothing": False})
    assert commands == [["--module", "solar_plugins.evaluation.h6", *place, options]]


def test_a_chain_puts_a_copy_on_every_gpu(world, measured, tmp_path, monkeypatch):
    """But not where the config file says where its model goes."""
    from solar_plugins.chain.run import stages
    from solar_plugins.evaluation import backend
    from solar_plugins.evaluation.harness import read_config

    def chosen(gpus: int = 8, **changes) -> backend.Backend:
        config = write_config(tmp_path / "h6.yml", world, ["tiny_arc"], model="hf", **changes)
        return backend.on_all_gpus(read_config(config, world / "model"), gpus)

    shipped = Path(__file__).parents[2] / "recipes" / "h6.yml"
    assert backend.on_all_gpus(read_config(shipped, "org/model"), 8) == backend.Backend(None, 8)
    assert chosen(device="cuda") == backend.Backend(None, 8)
    assert chosen(device="cuda", gpus=1) == backend.AS_CONFIGURED
    assert chosen(device="cpu") == backend.AS_CONFIGURED
    assert chosen(device="cuda", model_args={"parallelize": True}) == backend.AS_CONFIGURED

    started = []
    monkeypatch.setattr(stages, "launch", lambda command, log: started.append(command))
    config = write_config(tmp_path / "h6.yml", world, ["tiny_arc"], model="hf", device="cuda")
    models = {"base_model": str(world / "model")}
    metrics, log = tmp_path / "metrics.jsonl", tmp_path / "log"
    stages.evaluate(config, models, tmp_path / "h6", metrics, 8, log)
    (command,) = started
    assert command[-6:-4] == ["--module", "solar_plugins.evaluation.h6"]
    result = tmp_path / "h6" / "base_model.json"
    assert command[-4:] == [str(config), models["base_model"], str(result), "base_model"]


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
        f"{config}: include_path: {tmp_path / 'nowhere'} is not a folder. "
        "Relative paths start at the working directory: run the command in the repository's root"
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
        "tasks: tiny_arc and tiny_arc_again both measure ARC. H6 needs exactly one of them: remove "
        "the other"
    )
