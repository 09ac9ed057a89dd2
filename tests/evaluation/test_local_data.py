"""Tasks on files of one's own: our held-out tasks, and lm-eval's own with the public columns."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from tiny_benchmarks import write_config, write_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from solar_plugins.errors import SolarError
from solar_plugins.evaluation import h6, local_data

pytestmark = pytest.mark.slow

OUR_TASKS = "solar_plugins/evaluation/lm_eval_tasks"
ARTICLES = ["the cat eats bread .", "a dog sees the moon because it is so ."]
ANSWERS = [
    {"instruction": "who eats bread ?", "input": "", "output": "the cat ."},
    {"instruction": "what sees a stone ?", "input": "the river", "output": "no dog ."},
]
PAIRS = [
    {
        "question": "who eats salt ?",
        "chosen": [{"role": "assistant", "content": "a cat"}],
        "rejected": [{"role": "assistant", "content": "the moon ."}],
    },
    {
        "prompt": "who sees the sun ?",  # of a whole conversation, its own turns are the prompt
        "chosen": [
            {"role": "user", "content": "who sees a dog ?"},
            {"role": "assistant", "content": "so it is"},
        ],
        "rejected": [{"role": "assistant", "content": "yes"}],
    },
]
QUESTION = {
    "question": "what eats the bread ?",
    "choices": {"text": ["cat", "dog", "sun"], "label": ["A", "B", "C"]},
    "answerKey": "B",
}


def write_rows(file, rows):
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local_data")
    write_model(folder / "model")
    (folder / "articles.txt").write_text("\n\n".join(ARTICLES) + "\n", encoding="utf-8")
    files = {
        "held_out_text": str(folder / "articles.txt"),
        "held_out_answers": write_rows(folder / "answers.jsonl", ANSWERS),
        "held_out_pairs": write_rows(folder / "pairs.jsonl", PAIRS),
        "allenai/ai2_arc": str(folder / "arc"),
    }
    for split in ("train", "test"):
        write_rows(folder / "arc" / f"{split}.jsonl", [QUESTION] * 3)
    tasks = ["held_out_text", "held_out_answers", "held_out_pairs", "arc_challenge"]
    more = {"metadata": {"data": files}, "num_fewshot": 1}
    config = write_config(folder / "config.yml", OUR_TASKS, tasks, **more)
    result = h6.evaluate_model(config, folder / "model", folder / "model.json", "model")
    return folder, result


def log_likelihood(folder, prompt: str, answer: str) -> float:
    """Of the tokens of `answer` after `prompt`, or after the first token, written out."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    before = tokenizer(prompt).input_ids if prompt else [tokenizer.bos_token_id]
    ids = torch.tensor([before + tokenizer(answer).input_ids])
    with torch.no_grad():
        logs = model(ids).logits[0, :-1].log_softmax(-1)
    return sum(float(logs[at - 1, ids[0, at]]) for at in range(len(before), ids.shape[1]))


def test_losses_are_those_of_the_model_on_these_files(measured):
    folder, result = measured
    for task, prompts, texts in (
        ("held_out_text", ["", ""], ARTICLES),
        (
            "held_out_answers",
            [
                "### User:\nwho eats bread ?\n\n### Assistant:\n",
                "### User:\nwhat sees a stone ?\n\nthe river\n\n### Assistant:\n",
            ],
            [row["output"] for row in ANSWERS],
        ),
    ):
        bits = [
            -log_likelihood(folder, prompt, text) / math.log(2)
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        loss = result["losses"][task]
        assert [item[0] for item in loss["items"]] == pytest.approx(bits, abs=1e-3)
        assert [item[1] for item in loss["items"]] == [len(text) for text in texts]
        assert loss["value"] == pytest.approx(sum(bits) / sum(map(len, texts)), abs=1e-5)
        assert loss["stderr"] > 0


def test_a_pair_is_won_by_the_likelier_answer(measured):
    folder, result = measured
    answers = [("a cat", "the moon ."), ("so it is", "yes")]
    prompts = [f"### User:\n{ask}\n\n### Assistant:\n" for ask in
               ("who eats salt ?", "who sees a dog ?")]  # fmt: skip
    found = [
        [log_likelihood(folder, prompt, text) for text in both]
        for prompt, both in zip(prompts, answers, strict=True)
    ]
    pairs = result["other"]["held_out_pairs"]
    assert pairs["items"] == [pytest.approx(both, abs=1e-3) for both in found]
    won = [chosen > rejected for chosen, rejected in found]
    assert pairs["values"]["acc,none"] == sum(won) / 2
    assert "items,none" not in pairs["values"]


def test_a_task_of_lm_eval_has_its_items_and_examples_from_the_folder(measured):
    _, result = measured
    arc = result["tasks"]["arc_challenge"]
    assert (arc["n"], arc["num_fewshot"], arc["benchmark"]) == (3, 1, "arc")


def test_a_split_that_is_not_there_is_one_line(measured):
    folder, _ = measured
    data = {"allenai/ai2_arc": str(folder / "arc" / "test.jsonl")}
    config = write_config(
        folder / "one.yml", OUR_TASKS, ["arc_challenge"], metadata={"data": data}, num_fewshot=1
    )
    with pytest.raises(SolarError, match="no rows for the split train, from which"):
        h6.evaluate_model(config, folder / "model", folder / "one.json", "model")


def test_mmlu_is_one_file_with_all_subjects(tmp_path):
    rows = [{"subject": subject, "answer": 1} for subject in ("law", "logic", "law")]
    file = write_rows(tmp_path / "mmlu.jsonl", rows)
    task = SimpleNamespace(
        task="mmlu_law", dataset_path="cais/mmlu", dataset_name="law",
        test_split="test", validation_split=None,
    )  # fmt: skip
    assert len(local_data.read(task, {"cais/mmlu": file})["test"]) == 2
    assert local_data.read(task, {"held_out_text": file}) is None
