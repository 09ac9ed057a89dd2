"""The paper's tables as data. Pure: no torch."""

from __future__ import annotations

from decimal import Decimal

import pytest

from solar_plugins.evaluation.benchmarks import BENCHMARKS, h6, scores_of
from solar_plugins.evaluation.paper import COLUMNS, ROWS, row_of_stage, table


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


def test_scores_of_a_result_file_name_what_was_not_run():
    result = {"tasks": {"mini_arc": {"benchmark": "arc", "value": 0.25}}}
    assert scores_of(result) == dict.fromkeys(COLUMNS) | {"arc": 0.25}
