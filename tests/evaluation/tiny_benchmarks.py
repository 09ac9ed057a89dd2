# ruff: noqa: SIM905 (a list of words reads better as text)
"""A tiny random model and tiny benchmarks on disk, for the tests of this folder."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = (
    "Question Answer answer : . ? , #### A B C D the a cat dog sun moon river stone bread "
    "salt eats sees is was because so it who what how many 0 1 2 3 4 5 6 7 8 9 yes no true "
    "false"
).split()


def write_model(folder: Path, seed: int = 0, max_position_embeddings: int = 2048) -> Path:
    """A two-layer Llama with a word tokenizer that has no pad token."""
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_position_embeddings,
        initializer_range=0.4,  # far enough from uniform that the choices differ
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_tasks(folder: Path) -> Path:
    """A multiple choice, an mc2, a generation, one without a role, a loss, and a group.

    The group has three subjects of 3, 5 and 12 items, as MMLU has subjects of unequal sizes.
    """
    folder.mkdir(parents=True)
    rng = random.Random(2312)
    nouns = ["cat", "dog", "sun", "moon", "river", "stone", "bread", "salt"]
    rows = []
    for i in range(24):
        choices = rng.sample(nouns, 4)
        rows.append(
            {
                "question": f"what eats the {rng.choice(nouns)} ?",
                "choices": choices,
                "gold": i % 4,
                "number": f"so it is {i % 7} #### {i % 7}",
                "mc2_targets": {"choices": choices, "labels": [1, 1, 0, 0]},
                "text": f"the {choices[0]} sees a {choices[1]} because it eats {choices[2]} .",
            }
        )
    parts = {"train": rows[:12], "test": rows[12:], "few": rows[12:15], "some": rows[15:20]}
    for split, part in parts.items():
        lines = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")

    common = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}
        },
        "training_split": "train",
        "test_split": "test",
        "fewshot_split": "train",
        "doc_to_text": "Question : {{question}} Answer :",
    }
    choice = {
        **common,
        "output_type": "multiple_choice",
        "doc_to_target": "gold",
        "doc_to_choice": "choices",
        "num_fewshot": 3,
        "metric_list": [{"metric": "acc_norm"}, {"metric": "acc"}],
    }
    tasks = [
        {**choice, "task": "tiny_arc", "metadata": role("arc", 0.25)},
        {
            **common,
            "task": "tiny_truthfulqa",
            "output_type": "multiple_choice",
            "doc_to_target": 0,
            "doc_to_choice": "{{mc2_targets.choices}}",
            "num_fewshot": 0,
            "process_results": "!function mc2.process_results",
            "metric_list": [{"metric": "acc"}],
            "metadata": role("truthfulqa", 0.5),
        },
        {
            **common,
            "task": "tiny_gsm8k",
            "output_type": "generate_until",
            "doc_to_target": "{{number}}",
            "num_fewshot": 2,
            "generation_kwargs": {"until": ["Question"], "max_gen_toks": 8, "do_sample": False},
            "filter_list": [
                {
                    "name": "strict-match",
                    "filter": [
                        {"function": "regex", "regex_pattern": "#### ([0-9]+)"},
                        {"function": "take_first"},
                    ],
                }
            ],
            "metric_list": [{"metric": "exact_match", "regexes_to_ignore": ["(?s).*#### "]}],
            "metadata": role("gsm8k", 0.0),
        },
        {**choice, "task": "tiny_plain", "metadata": {"version": 1.0}},
        {
            **common,
            "task": "tiny_loss",
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [{"metric": "bits_per_byte"}, {"metric": "word_perplexity"}],
            "metadata": {"version": 1.0},
        },
    ]
    for size in ("few", "some", "test"):
        files = {"train": str(folder / "train.jsonl"), "test": str(folder / f"{size}.jsonl")}
        subject = {
            **choice,
            "dataset_kwargs": {"data_files": files},
            "metadata": role("mmlu", 0.25),
        }
        tasks.append({**subject, "task": f"tiny_mmlu_{size}"})
    group = {
        "group": "tiny_mmlu",
        "task": [task["task"] for task in tasks[-3:]],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
        "metadata": role("mmlu", 0.25),
    }
    (folder / "tiny_mmlu.yaml").write_text(yaml.safe_dump(group, sort_keys=False), encoding="utf-8")
    (folder / "mc2.py").write_text(
        "import numpy as np\n\n\n"
        "def process_results(doc, results):\n"
        "    mass = np.exp([loglikelihood for loglikelihood, _ in results])\n"
        "    true = np.array(doc['mc2_targets']['labels']) == 1\n"
        "    return {'acc': float(mass[true].sum() / mass.sum())}\n",
        encoding="utf-8",
    )
    for task in tasks:
        text = yaml.safe_dump(task, sort_keys=False)
        text = text.replace("'!function mc2.process_results'", "!function mc2.process_results")
        (folder / f"{task['task']}.yaml").write_text(text, encoding="utf-8")
    return folder


def role(benchmark: str, chance: float) -> dict:
    return {"version": 1.0, "benchmark": benchmark, "chance": chance}


def write_config(file: Path, tasks_folder: Path, tasks: list[str], **more) -> Path:
    config = {"tasks": tasks, "include_path": str(tasks_folder), "batch_size": 4, "device": "cpu"}
    file.write_text(yaml.safe_dump({**config, **more}), encoding="utf-8")
    return file
