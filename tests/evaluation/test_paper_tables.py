"""The paper's tables as data. Pure: no torch."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pytest
from rich.console import Console

from solar_plugins.evaluation.benchmarks import BENCHMARKS, h6
from solar_plugins.evaluation.paper import (
    COLUMNS,
    CONTAMINATION_THRESHOLD,
    ROWS,
    TABLE_9,
    harness_row,
    row_of_model,
    row_of_stage,
    stages_of_row,
    table,
)
from solar_plugins.evaluation.scores import scores_table


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"table{row.table}-{row.model}")
def test_h6_is_the_mean_of_the_six(row):
    mean = sum(Decimal(str(score)) for score in row.scores) / 6
    if (row.table, row.model) == (6, "Cand. 2"):  # the paper prints 73.28
        assert row.h6 == 73.28
        assert round(mean, 2) == Decimal("73.29")
    else:
        assert abs(mean - Decimal(str(row.h6))) <= Decimal("0.005")


def test_rows_as_the_paper_prints_them():
    assert [len(table(number)) for number in range(2, 8)] == [13, 5, 3, 2, 2, 4]
    # "SFT v3+v4 O O O 71.11 67.32 85.96 65.95 58.80 82.08 66.57"
    merged = row_of_stage("sft_v3_v4")
    assert (merged.table, merged.model, merged.h6) == (3, "SFT v3+v4", 71.11)
    assert dict(zip(COLUMNS, merged.scores, strict=True)) == {
        "arc": 67.32,
        "hellaswag": 85.96,
        "mmlu": 65.95,
        "truthfulqa": 58.80,
        "winogrande": 82.08,
        "gsm8k": 66.57,
    }
    # "Thus, we chose 'Merge v1' as our SOLAR 10.7B-Instruct model."
    assert row_of_stage("instruct").model == "Merge v1"
    assert row_of_stage("cpt").model == "SOLAR 10.7B"
    assert row_of_stage("dus") is None  # the paper prints no scores of the untrained model
    assert row_of_stage("cand_1").score("gsm8k") == 66.57


def test_rows_are_found_by_their_names():
    assert stages_of_row("SFT v3+v4") == ("sft_v3_v4",)
    assert stages_of_row("dpo V2") == ("dpo_v2",)
    assert stages_of_row("SOLAR 10.7B-Instruct") == stages_of_row("Merge v1")
    assert stages_of_row("Qwen 72B") == stages_of_row("SFT v9") == ()


def test_a_row_that_two_tables_print_is_the_same_in_both():
    first, second = (row for row in ROWS if row.model == "DPO v2")
    assert (first.h6, first.scores) == (second.h6, second.scores)


def test_every_stage_belongs_to_one_row():
    stages = [stage for row in ROWS for stage in row.stages]
    assert len(stages) == len(set(stages))


def test_six_benchmarks_in_the_papers_order_with_the_leaderboards_shots():
    assert tuple(benchmark.key for benchmark in BENCHMARKS) == COLUMNS
    assert [benchmark.num_fewshot for benchmark in BENCHMARKS] == [25, 10, 5, 0, 5, 5]


def test_h6_of_five_is_no_number():
    scores = dict.fromkeys(COLUMNS, 0.5) | {"gsm8k": 0.2}
    assert h6(scores) == pytest.approx(0.45)
    assert h6(scores | {"mmlu": None}) is None
    assert h6({key: value for key, value in scores.items() if key != "arc"}) is None
    assert h6(dict.fromkeys(COLUMNS, 0.0)) == 0.0


@pytest.mark.parametrize(
    ("name", "shape", "model"),
    [
        ("instruct", (4096, 48), "Merge v1"),
        ("base", (4096, 32), "Mistral 7B"),
        ("base", (576, 30), None),  # a small model in a folder of that name
        ("base", (4096, 48), None),
        ("sft_v3", (4096, 32), None),
        ("mine", (4096, 48), None),
        ("cpt", None, None),
    ],
)
def test_a_stage_has_its_row_if_its_model_has_the_papers_shape(tmp_path, name, shape, model):
    if shape is not None:
        config = dict(zip(("hidden_size", "num_hidden_layers"), shape, strict=True))
        (tmp_path / "config.json").write_text(json.dumps(config))
    row = row_of_model(name, str(tmp_path))
    assert (row.model if row else None) == model


def test_released_models_have_their_rows():
    name = "SOLAR-10.7B-Instruct-v1.0"
    assert row_of_model(name, f"upstage/{name}").h6 == 74.20
    assert row_of_model(name, f"/models/{name}/").h6 == 74.20
    assert row_of_model("base", "mistralai/Mistral-7B-v0.1").h6 == 60.97
    assert row_of_model("mine", "./mine") is None
    today = harness_row(f"upstage/{name}")
    assert round(sum(today.scores) / 6, 2) == today.h6 == 74.62
    assert harness_row("./outputs/solar-10.7b/instruct") is None


def test_the_table_of_the_released_model_shows_what_the_harness_does():
    tasks = {
        benchmark.task: {
            "benchmark": benchmark.key,
            "value": 0.7,
            "stderr": 0.012,
            "chance": benchmark.chance,
            "num_fewshot": benchmark.num_fewshot,
            "n": 100,
        }
        for benchmark in BENCHMARKS
    }
    weighted = {"value": 0.685, "stderr": 0.004, "averaging": "weighted by number of items"}
    tasks["mmlu"] |= {"averaging": "plain mean of 57 tasks", "lm_eval": weighted}
    tasks["gsm8k"] |= {"averaging": "all items", "stops": [":", "Question:"]}
    result = {
        "model": "SOLAR-10.7B-Instruct-v1.0",
        "model_path": "upstage/SOLAR-10.7B-Instruct-v1.0",
        "tasks": tasks,
        "h6": 0.7,
        "h6_stderr": 0.0049,
        "losses": {},
        "other": {},
        "not_run": {},
        "limit": None,
        "harness": {"lm_eval": "0.4.11"},
    }
    console = Console(width=200, file=io.StringIO())
    console.print(scores_table(result))
    printed = console.file.getvalue()
    assert "lm-eval 0.4.11" in printed
    assert "MMLU: plain mean of 57 tasks" in printed
    theirs = "MMLU as lm-eval averages it, weighted by number of items: 68.50 ± 0.40"
    assert theirs in " ".join(printed.split())
    assert "GSM8K: all items; an answer ends at ':', 'Question:'" in printed
    lines = [line for line in printed.splitlines() if line.startswith("│")]
    cells = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in lines}
    values = {name: [cell.strip() for cell in row] for name, row in cells.items()}
    assert values["GSM8K"] == ["70.00", "1.20", "0.00", "5", "100", "64.75", "67.78"]
    assert values["H6"] == ["70.00", "0.49", "", "", "", "74.20", "74.62"]


def test_the_table_shows_what_was_asked_for():
    entry = {"benchmark": "arc", "value": 0.5, "stderr": None, "chance": 0.25, "num_fewshot": 0}
    values = {"f1,none": 0.25, "f1_stderr,none": 0.125, "em,strict": None}
    result = {
        "model": "mine",
        "model_path": "./mine",
        "tasks": {"arc_challenge": {**entry, "n": 4}},
        "h6": None,
        "h6_stderr": None,
        "losses": {},
        "other": {"own": {"values": values, "n": 8}},
        "not_run": {"gsm8k_leaderboard_v1": "no network", "new_task": "no file"},
        "limit": None,
        "harness": {"lm_eval": "0.4.11"},
    }
    console = Console(width=200, file=io.StringIO())
    console.print(scores_table(result))
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines] == [
        ["ARC", "50.00", "", "25.00", "0", "4"],
        ["GSM8K", "not run", "", "", "", ""],
        ["new_task", "not run", "", "", "", ""],
        ["own f1", "0.2500", "0.1250", "", "", "8"],
        ["own em", "not a number", "", "", "", "8"],
    ]


def test_table_9():
    assert TABLE_9 == {"arc": 0.06, "mmlu": 0.15, "truthfulqa": 0.28, "gsm8k": 0.70}
    assert max(TABLE_9.values()) < CONTAMINATION_THRESHOLD == 0.9
