"""recipes/h6.yml through lm-eval's own code, on twins of the public data sets.

The twins are generated rows with exactly the columns of the data sets on the Hub; only the download
is replaced. So task names, few-shot counts, metric names and the six scores are lm-eval's.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import yaml
from tiny_benchmarks import write_model

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = REPOSITORY / "recipes" / "h6.yml"
TASKS = {"arc_challenge", "hellaswag", "mmlu", "truthfulqa_mc2", "winogrande", "gsm8k"}


def twin(path: str, name: str | None, i: int) -> dict:
    question = f"what eats the cat {i % 7} ?"
    options = ["cat", "dog", "sun", "moon"]
    targets = {"choices": ["yes", "no", "salt"], "labels": [1, 0, 0]}
    return {
        "allenai/ai2_arc": {
            "id": f"row_{i}",
            "question": question,
            "choices": {"text": options, "label": ["A", "B", "C", "D"]},
            "answerKey": "ABCD"[i % 4],
        },
        "Rowan/hellaswag": {
            "ind": i,
            "activity_label": "bread",
            "ctx_a": question,
            "ctx_b": "the dog",
            "ctx": f"{question} the dog",
            "endings": options,
            "source_id": str(i),
            "split": "train",
            "split_type": "indomain",
            "label": str(i % 4),
        },
        "cais/mmlu": {
            "question": question,
            "subject": name,
            "choices": options,
            "answer": i % 4,
        },
        "truthfulqa/truthful_qa": {
            "question": question,
            "mc1_targets": targets,
            "mc2_targets": targets,
        },
        "allenai/winogrande": {
            "sentence": f"the cat {i} sees the dog because the _ is bread",
            "option1": "cat",
            "option2": "dog",
            "answer": str(1 + i % 2),
        },
        "openai/gsm8k": {"question": question, "answer": f"so it is {i % 7}\n#### {i % 7}"},
    }[path]


@pytest.fixture
def twins(monkeypatch):
    import datasets

    def load_dataset(path, name=None, **_):
        rows = [twin(path, name, i) for i in range(40)]
        data = datasets.Dataset.from_list(rows)
        return datasets.DatasetDict(
            {"train": data, "validation": data, "test": data, "dev": data.select(range(5))}
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.chdir(REPOSITORY)  # the recipe's include_path is taken from there


def lm_eval_command(*arguments: str) -> None:
    """`lm_eval …`, in this process: its own entry point with its own arguments."""
    from lm_eval.__main__ import cli_evaluate

    argv, sys.argv = sys.argv, ["lm_eval", *arguments]
    try:
        cli_evaluate()
    finally:
        sys.argv = argv


def test_the_same_six_numbers_as_the_lm_eval_command(twins, tmp_path):
    """To the last digit, errors too: float32, and one sequence a batch, since lm-eval puts the
    requests of all tasks into common batches and rounding depends on who is padded with whom."""
    from solar_plugins.evaluation.benchmarks import BENCHMARKS, BY_KEY, BY_TASK
    from solar_plugins.evaluation.h6 import evaluate_model

    model = write_model(tmp_path / "model", max_position_embeddings=1024)
    keys = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    keys |= {"model_args": {"dtype": "float32"}, "batch_size": 1, "device": "cpu", "limit": 2}
    config = tmp_path / "h6.yml"
    config.write_text(yaml.safe_dump(keys), encoding="utf-8")
    result = evaluate_model(config, model, tmp_path / "ours.json", "instruct")

    place = ["--model_args", f"pretrained={model}", "dtype=float32"]
    out = ["--output_path", str(tmp_path / "theirs.json"), "--log_samples"]
    lm_eval_command("run", "--config", str(config), *place, *out)
    (written,) = tmp_path.glob("theirs_*.json")
    theirs = json.loads(written.read_text())
    assert set(result["tasks"]) == TASKS
    for name, task in result["tasks"].items():
        benchmark = BY_KEY[task["benchmark"]]
        assert task["num_fewshot"] == benchmark.num_fewshot
        assert task["metric"] == benchmark.metric
        assert task["chance"] == benchmark.chance
        kept = "strict-match" if name == "gsm8k" else "none"
        found = task.get("lm_eval", task)
        assert found["value"] == theirs["results"][name][f"{task['metric']},{kept}"], name
        assert found["stderr"] == theirs["results"][name][f"{task['metric']}_stderr,{kept}"], name
        assert task["version"] == theirs["versions"][name]
    mmlu = result["tasks"]["mmlu"]
    subjects = [one for name, one in theirs["results"].items() if name in theirs["n-samples"]]
    scores = [one["acc,none"] for one in subjects if one["alias"].startswith("   - ")]
    assert (mmlu["n"], mmlu["averaging"], len(scores)) == (57 * 2, "plain mean of 57 tasks", 57)
    assert mmlu["value"] == math.fsum(scores) / 57
    values = [result["tasks"][benchmark.task]["value"] for benchmark in BENCHMARKS]
    assert len(set(values)) > 2  # not all of them chance or nothing
    assert result["h6"] == math.fsum(values) / 6
    errors = [result["tasks"][benchmark.task]["stderr"] for benchmark in BENCHMARKS]
    assert result["h6_stderr"] == math.hypot(*errors) / 6

    # The counts as they are in its prompts: solved examples before the question.
    marks = {"arc_challenge": "Question:", "hellaswag": "bread: ", "gsm8k": "Question:"}
    marks |= {"winogrande": "\n\n", "mmlu_anatomy": "Answer: "}
    for name, mark in marks.items():
        (samples,) = tmp_path.glob(f"samples_{name}_*.jsonl")
        sample = json.loads(samples.read_text().splitlines()[0])
        prompt = sample["arguments"]["gen_args_0"]["arg_0"]
        itself = mark in ("Question:", "bread: ")  # the mark of the question asked counts too
        assert prompt.count(mark) - itself == BY_TASK[name.removesuffix("_anatomy")].num_fewshot


def test_gsm8k_with_the_leaderboards_stops_is_lm_evals_but_for_them(twins, tmp_path):
    import lm_eval
    from lm_eval.utils import load_yaml_config

    from solar_plugins.evaluation import harness
    from solar_plugins.evaluation.h6 import evaluate_model

    ours = RECIPE.parents[1] / "solar_plugins" / "evaluation" / "lm_eval_tasks"
    task = load_yaml_config(ours / "gsm8k_leaderboard_v1.yaml", mode="full")
    shipped = Path(lm_eval.__file__).parent / "tasks" / "gsm8k" / "gsm8k.yaml"
    theirs = load_yaml_config(shipped, mode="full")
    stops = [":", "Question:", "Question"]
    assert theirs["generation_kwargs"]["until"] == ["Question:", "</s>", "<|im_end|>"]
    theirs["generation_kwargs"]["until"] = stops
    del theirs["filter_list"][1], theirs["tag"]  # H6 reads strict-match
    own = {"task": "gsm8k_leaderboard_v1", "metadata": {"version": 1.0}}
    assert task == {**theirs, **own}
    groups = [ours / f"solar_h6{name}.yaml" for name in ("", "_leaderboard_v1")]
    as_ours, as_then = (yaml.safe_load(file.read_text())["task"] for file in groups)
    assert as_then[:-1] == as_ours[:-1]
    assert as_then[-1] == {**as_ours[-1], "task": "gsm8k_leaderboard_v1"}

    recipe = RECIPE.with_name("h6_leaderboard_v1.yml")
    config = harness.read_config(recipe, "org/model")
    manager = harness.task_manager(config, recipe)
    names = {name for name, _ in harness.single_tasks(config.tasks, manager)}
    assert names == (TASKS - {"gsm8k"}) | {"gsm8k_leaderboard_v1"}
    keys = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    keys |= {"model_args": {"dtype": "float32"}, "batch_size": 1, "device": "cpu", "limit": 1}
    config = tmp_path / "h6.yml"
    config.write_text(yaml.safe_dump({**keys, "tasks": ["gsm8k_leaderboard_v1"]}), encoding="utf-8")
    model = write_model(tmp_path / "model", max_position_embeddings=1024)
    result = evaluate_model(config, model, tmp_path / "ours.json", "instruct")
    entry = result["tasks"]["gsm8k_leaderboard_v1"]
    assert (entry["benchmark"], entry["num_fewshot"], entry["stops"]) == ("gsm8k", 5, stops)
