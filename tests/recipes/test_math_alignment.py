"""The join that stands in for Synth. Math-Alignment."""

from __future__ import annotations

import importlib.util

import pytest
from recipe_files import RECIPES


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(
        "make_math_alignment", RECIPES / "make_math_alignment.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rephrased_math_rows_are_joined_and_nothing_else(script):
    math_train = [{"problem": "What is  $1+1$?\n", "solution": "It is $\\boxed{2}$."}]
    row = {"query": "Rephrased?", "original_question": "What is $1+1$?", "response": "2, so: 2"}
    rows = [
        {**row, "type": "MATH_Rephrased"},
        {**row, "type": "MATH_AnsAug"},  # the question is the original one
        {**row, "type": "GSM_Rephrased"},  # a benchmark's training question
        {**row, "type": "MATH_Rephrased", "original_question": "Not in MATH's training split"},
    ]
    assert list(script.pairs(rows, math_train)) == [
        {"prompt": "Rephrased?", "chosen": "2, so: 2", "rejected": "It is $\\boxed{2}$."}
    ]


def test_the_sample_depends_on_the_seed_alone(script):
    rows = [{"prompt": str(i)} for i in range(100)]
    assert script.sample(rows, 200, 1) == rows
    drawn = script.sample(rows, 10, 1)
    assert drawn == script.sample(rows, 10, 1) != script.sample(rows, 10, 2)
    assert len({row["prompt"] for row in drawn}) == 10
