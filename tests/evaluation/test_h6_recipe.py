"""recipes/h6.yml through lm-eval's own code, on twins of the public data sets.

The twins are generated rows with exactly the columns of the data sets on the Hub; only the download
is replaced. So task names, few-shot counts, metric names and the six scores are lm-eval's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tiny_benchmarks import write_model

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


def test_the_recipe_gives_h6(twins, tmp_path, capsys):
    from lm_eval._cli.harness import HarnessCLI

    from solar_plugins.evaluation.benchmarks import BY_KEY, BY_TASK
    from solar_plugins.evaluation.h6 import evaluate_model

    model = write_model(tmp_path / "model", max_position_embeddings=1024)
    result = evaluate_model(RECIPE, model, tmp_path / "out.json", "instruct", limit=2)
    assert set(result["tasks"]) == TASKS
    for task in result["tasks"].values():
        benchmark = BY_KEY[task["benchmark"]]
        assert task["num_fewshot"] == benchmark.num_fewshot
        assert task["metric"] == benchmark.metric
        assert task["chance"] == benchmark.chance
    assert result["tasks"]["mmlu"]["n"] == 57 * 2
    values = [task["value"] for task in result["tasks"].values()]
    assert result["h6"] == pytest.approx(sum(values) / 6)

    # And as `lm_eval run` itself, which knows the same group from the same file.
    command = ["lm_eval", "run", "--config", "recipes/h6.yml", "--limit", "2", "--device", "cpu"]
    command += ["--model_args", f"pretrained={model}", "dtype=bfloat16"]
    command += ["--output_path", str(tmp_path / "plain.json"), "--log_samples"]
    argv, sys.argv = sys.argv, command
    try:
        cli = HarnessCLI()
        cli.execute(cli.parse_args())
    finally:
        sys.argv = argv
    (written,) = tmp_path.glob("plain_*.json")
    plain = json.loads(written.read_text())
    for name, task in result["tasks"].items():
        kept = "strict-match" if name == "gsm8k" else "none"
        own = plain["results"][name][f"{task['metric']},{kept}"]
        assert task["value"] == pytest.approx(own, abs=2e-3)  # bf16, other batches

    # The counts as they are in its prompts: solved examples before the question.
    marks = {"arc_challenge": "Question:", "hellaswag": "bread: ", "gsm8k": "Question:"}
    marks |= {"winogrande": "\n\n", "mmlu_anatomy": "Answer: "}
    for name, mark in marks.items():
        (samples,) = tmp_path.glob(f"samples_{name}_*.jsonl")
        sample = json.loads(samples.read_text().splitlines()[0])
        prompt = sample["arguments"]["gen_args_0"]["arg_0"]
        itself = mark in ("Question:", "bread: ")  # the mark of the question asked counts too
        assert prompt.count(mark) - itself == BY_TASK[name.removesuffix("_anatomy")].num_fewshot
