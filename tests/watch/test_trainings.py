"""`axolotl train` with any plugin of ours: nothing wrong looks done, new rows are trained."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from axolotl_train import DUS, FLAN, SDPO, Trainer, pairs, sums, talks, write_rows
from model_files import write_checkpoint

pytestmark = pytest.mark.slow

ALPACA = {"path": "data.jsonl", "ds_type": "json", "split": "train", "type": "alpaca"}
CHAT = {**ALPACA, "type": "chat_template"}
TEXT = {**ALPACA, "type": "completion"}
STREAM = {"path": "json", "data_files": "data.jsonl", "type": "pretrain", "split": "train"}
LORA = {
    "adapter": "lora",
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_target_modules": ["q_proj"],
    **{f"lora_{part}_kernel": False for part in ("mlp", "qkv", "o")},
}
LONG = "x" * 600
SOLAR = str(Path("recipes/templates/solar.jinja").resolve())
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def sdpo(*files: str) -> dict[str, Any]:
    steps = [{"datasets": [{"path": name, "split": "train"}]} for name in files]
    return {"rl": "dpo", "rl_beta": 0.1, "plugins": [SDPO], "sdpo": {"steps": steps}}


def put(train: Trainer, rows: list[dict[str, Any]], name: str = "data.jsonl") -> None:
    write_rows(train.folder / name, rows)


@pytest.mark.parametrize(
    ("rows", "entry", "keys", "line"),
    [
        (talks(*range(8), role="bot"), CHAT, {}, "the roles user, bot, and assistant is trained"),
        (talks(*range(8)), {**CHAT, "roles_to_train": ["critic"]}, {}, "and critic is trained"),
        (talks(*range(8), answer=""), CHAT, {}, "rows looked at, an answer in messages is empty"),
        (
            sums(*range(8), output=""),
            ALPACA,
            {"plugins": [DUS], "depth_up_scaling": {}},
            "in all 8 rows looked at, output is empty",
        ),
        (
            sums(*range(8), output=""),
            ALPACA,
            {"sample_packing": True},
            "rows looked at, output is empty",
        ),
        (sums(1, 2), ALPACA, {"sample_packing": True, "micro_batch_size": 8}, "steps: 0 of them."),
        (sums(*range(8), output=LONG), ALPACA, {}, "8 longer than sequence_len"),
        (sums(*range(8), output=" \n"), ALPACA, {}, "in all 8 rows looked at, output is empty"),
        ([{"instruction": "q"}] * 8, ALPACA, {}, "no column 'output', the rows have instruction"),
        (sums(*range(8)), ALPACA, {"min_sample_len": 300}, "or shorter than min_sample_len"),
        (
            [{"prompt": "q", "chosen": " a", "rejected": " a"}] * 8,
            {**ALPACA, "type": "chatml.prompt_pairs"},
            {"rl": "dpo", "rl_beta": 0.1},
            "chosen and rejected are the same in 8 of 8 rows of data.jsonl",
        ),
        (sums(*range(8), output=LONG), ALPACA, {"sample_packing": True}, "No row is left"),
        (
            [{"instruction": LONG, "input": "", "output": "y"}] * 8,
            ALPACA,
            {"excess_length_strategy": "truncate"},
            "datasets: none of 8 rows has a token to train on",
        ),
        (sums(*range(8)), ALPACA, {"learning_rate": 1e-30}, "weights: all"),
        (sums(*range(8)), ALPACA, {**LORA, "learning_rate": 0.0}, "weights: all"),
        (
            sums(*range(8)),
            ALPACA,
            {"lr_scheduler": "linear", "warmup_steps": 5, "max_steps": 1},
            "its schedule gave 0 at every step",
        ),
        (
            sums(*range(8)),
            ALPACA,
            {"learning_rate": 1e30, "max_steps": 4, "max_grad_norm": 0},
            "The training diverged",
        ),
        (
            sums(*range(8)),
            ALPACA,
            {"unfrozen_parameters": ["model.nothing"]},
            "unfrozen_parameters: ['model.nothing'] matches no parameter",
        ),
        (
            [{"text": "ab"}],
            None,
            {"pretraining_dataset": [{**STREAM, "skip": 5}], "sample_packing": True},
            "steps: 0 of them.",
        ),
        (pairs(*range(4)), None, {**sdpo("data.jsonl"), "sequence_len": 2}, "No row is left"),
    ],
)
def test_a_training_that_learns_nothing_fails(train, rows, entry, keys, line):
    put(train, rows)
    assert line in train(*([entry] if entry else []), **keys)
    assert not (train.folder / "out/solar/training.json").exists()


def test_a_zero_checkpoint_of_other_processes_is_refused(train):
    put(train, sums(*range(8)))
    write_checkpoint(train.folder / "out", 5, zero_processes=2)
    line = "out/checkpoint-5 was saved by 2 processes under DeepSpeed's ZeRO, and this run would "
    assert line in train(ALPACA, auto_resume_from_checkpoints=True)
    shutil.rmtree(train.folder / "out")
    put(train, pairs(*range(8)))
    write_checkpoint(train.folder / "out/step_1", 5, zero_processes=2)
    assert line.replace("out/", "out/step_1/") in train(**sdpo("data.jsonl"))


@pytest.mark.parametrize(
    ("rows", "entry", "keys", "line"),
    [
        ([*talks(1, 2), {"messages": None}], CHAT, {}, "row 3: column 'messages' is null"),
        (talks(1, 2, answer=None), CHAT, {}, "row 1: column 'messages': [1].content is null"),
        (
            [*sums(1), {"instruction": "x", "input": None, "output": None}],
            {**ALPACA, "type": {"format": "{instruction}", "no_input_format": "{instruction}"}},
            {},
            "row 2: column 'output' is null",
        ),
        ([{"text": "a"}, {"text": None}], TEXT, {"sample_packing": True}, "row 2: column 'text'"),
        ([{"text": "a"}, {"text": None}], None, {"pretraining_dataset": [STREAM]}, "row 2: column"),
        (
            [*sums(1, 2, 3), {"instruction": None, "input": "", "output": "x"}],
            ALPACA,
            {"streaming": True},
            "row 4: column 'instruction' is null",
        ),
        (
            [{"prompt": "q", "completion": a, "label": True} for a in (" a", None)],
            {**ALPACA, "ds_type": None, "type": "chatml.ultra"},
            {"rl": "kto", "rl_beta": 0.1, "remove_unused_columns": False},
            "row 2: column 'completion' is null",
        ),
        (
            [{**row, "task_name": "cot_gsm8k"} for row in sums(*range(20))]
            + [{"instruction": None, "output": "a", "input": "", "task_name": "x"}],
            ALPACA,
            {
                "plugins": [FLAN],
                "flan_filter": {"tasks": ["cot_gsm8k"], "datasets": ["data.jsonl"]},
            },
            "row 21: column 'instruction' is null",
        ),
    ],
)
def test_a_gap_is_refused_with_file_row_and_column(train, rows, entry, keys, line):
    put(train, rows)
    assert f"data.jsonl: {line}" in train(*([entry] if entry else []), **keys)


def test_a_gap_in_a_pair_of_a_step(train):
    """StepwiseDPOPlugin renders each pair itself, and refuses the row with its reason."""
    put(train, [*pairs(1, 2), {"prompt": "p", "chosen": " y", "rejected": ""}])
    assert "row 3 of data.jsonl: rejected: empty." in train(**sdpo("data.jsonl"))


def test_a_gap_in_other_files_and_formats(train):
    from pyarrow import Table, parquet

    put(train, sums(*range(5)), "folder/a.jsonl")
    put(train, [*sums(7), {"instruction": None, "input": "", "output": "x"}], "folder/b.jsonl")
    (train.folder / "rows.csv").write_text("text,n\nhello there,1\n,2\nbye bye,3\n")
    parquet.write_table(
        Table.from_pylist([*sums(1, 2), {"instruction": "x", "input": "", "output": None}]),
        train.folder / "rows.parquet",
    )
    folder = {"path": "folder", "split": "train", "type": "alpaca"}
    assert "folder/b.jsonl: row 2: column 'instruction' is null" in train(folder)
    table = {"path": "rows.parquet", "ds_type": "parquet", "type": "alpaca"}
    assert "rows.parquet: row 3: column 'output' is null" in train(table)
    lines = {"path": "rows.csv", "ds_type": "csv", "type": "completion"}
    assert "rows.csv: row 2: column 'text' is null" in train(lines)
    (train.folder / "data.jsonl").write_text("[]")
    assert "data.jsonl: no rows" in train(ALPACA)


def test_a_call_without_words_is_no_gap(train):
    call = [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        {"role": "user", "content": "a", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": call},
        {"role": "assistant", "content": "ok", "tool_calls": None},
    ]
    put(train, [{"messages": messages}] * 4)
    assert "is null" not in train(CHAT)


@pytest.mark.parametrize(
    ("rows", "entry", "keys", "read", "trained", "dropped"),
    [
        (
            [*sums(*range(8)), *sums(*range(2), output=LONG)],
            ALPACA,
            {},
            10,
            8,
            {"longer than sequence_len, or shorter than min_sample_len": 2},
        ),
        (
            sums(*[1] * 20),
            ALPACA,
            {"dataset_exact_deduplication": True, "micro_batch_size": 1},
            20,
            1,
            {"that occur twice": 19},
        ),
        (
            [*talks(*range(8)), *talks(*range(4), answer="")],
            CHAT,
            {},
            12,
            8,
            {"without a trained token (no answer, or a role that is not trained)": 4},
        ),
        (
            [*sums(*range(8)), *sums(*range(4), output="")],
            {**ALPACA, "type": "solar_plugins.chat"},
            {"chat_template": "jinja", "chat_template_jinja": SOLAR},
            12,
            8,
            {"without a trained token (no answer, or a role that is not trained)": 4},
        ),
        (
            [
                {**row, "task_name": "cot_gsm8k" if number % 2 else "other"}
                for number, row in enumerate(sums(*range(20)))
            ],
            ALPACA,
            {
                "plugins": [FLAN],
                "flan_filter": {"tasks": ["cot_gsm8k"], "datasets": ["data.jsonl"]},
            },
            20,
            10,
            {"left out by flan_filter": 10},
        ),
        (sums(*range(20)), {**ALPACA, "shards": 4}, {"val_set_size": 2}, 5, 5, {}),
        (
            [{"text": ""}] * 30 + [{"text": "hello you there"}] * 10,
            TEXT,
            {},
            40,
            10,
            {"with an empty text": 30},
        ),
    ],
)
def test_rows_are_counted_and_a_loss_is_said(train, rows, entry, keys, read, trained, dropped):
    put(train, rows)
    for _ in range(2):  # the second time from prepared data
        assert train(entry, **keys) == ""
        counted = {"read": read, "trained": trained, "other_texts": 0, "dropped": dropped}
        assert train.rows == counted
        assert ("of the rows are not trained" in train.log) == bool(dropped)
    assert train(entry, **keys, max_dropped_share=0.99) == ""
    assert "of the rows are not trained" not in train.log


@pytest.mark.parametrize(
    ("name", "entry", "keys"),
    [
        ("data.jsonl", ALPACA, {}),
        ("folder/rows.jsonl", {"path": "folder", "split": "train", "type": "alpaca"}, {}),
        (
            "folder/rows.jsonl",
            {**ALPACA, "path": "folder", "data_files": ["folder/rows.jsonl"]},
            {},
        ),
        ("data.jsonl", ALPACA, {"auto_resume_from_checkpoints": True, "save_steps": 2}),
        ("data.jsonl", None, {"pretraining_dataset": [{**STREAM, "text_column": "output"}]}),
        ("data.jsonl", None, sdpo("data.jsonl")),
    ],
)
def test_replaced_rows_are_trained(train, name, entry, keys):
    make = pairs if "sdpo" in keys else sums
    entries, seen = [entry] if entry else [], []
    for numbers in (range(20), range(30, 34), range(33, 29, -1)):
        file = train.folder / name
        put(train, make(*numbers), name)
        os.utime(file, (1e9, 1e9))  # as a copy that keeps the time leaves it
        assert train(*entries, **keys) == ""
        if "pretraining_dataset" not in keys:
            assert train.rows["read"] == len(numbers)
        seen.append(train.weights)
    assert len(set(seen)) == 3
    if "sdpo" not in keys:
        assert train(*entries, **keys) == ""
        assert train.weights == seen[-1], "the same rows, the same model"


def test_replaced_rows_of_the_evaluation_are_measured(train):
    def loss() -> str:
        assert train(ALPACA, eval_steps=1, test_datasets=[{**ALPACA, "path": "t.jsonl"}]) == ""
        return re.findall(r"eval_loss\W+([\d.]+)", train.log)[0]

    put(train, sums(*range(8)))
    put(train, sums(*range(4)), "t.jsonl")
    first = loss()
    put(train, sums(*range(90, 94)), "t.jsonl")
    assert loss() != first


def test_what_else_decides_the_prepared_rows(train):
    def weights(**keys: Any) -> str:
        keys = {"base_model": "mine", **keys}
        assert train({**CHAT, **keys.pop("entry", {})}, **keys) == ""
        return train.weights

    own = train.folder / "mine"
    shutil.copytree(train.folder / "base", own)
    put(train, [*talks(*range(4)), *talks(5, answer=LONG)])
    templates: list[Path] = [train.folder / "t.jinja", own / "chat_template.jinja"]
    uses = [{"chat_template": "jinja", "chat_template_jinja": "t.jinja"}]
    uses.append({"chat_template": "tokenizer_default"})
    for file, keys in zip(templates, uses, strict=True):
        file.write_text(TEMPLATE)
        before = weights(**keys)
        file.write_text(TEMPLATE.replace(": ", "="))
        assert weights(**keys) != before
    assert train.rows["trained"] == 4
    weights(excess_length_strategy="truncate")
    assert train.rows["trained"] == 5
