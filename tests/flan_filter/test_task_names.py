"""Table 8, in both prints."""

from __future__ import annotations

import pytest

from solar_plugins.errors import SolarError
from solar_plugins.flan_filter.task_names import SOLAR_TASKS, expand, normalised, stem

AS_PRINTED = [task.replace("/", "").replace("-", "") for task in SOLAR_TASKS]


def test_both_prints_of_table_8_are_the_same_names():
    assert len(SOLAR_TASKS) == 10
    assert [normalised(task) for task in SOLAR_TASKS] == [normalised(task) for task in AS_PRINTED]
    # Otherwise nothing of ARC would be found: the spellings themselves differ.
    assert [task for task in AS_PRINTED if task not in SOLAR_TASKS] == [
        "ai2_arcARCChallenge:1.0.0",
        "ai2_arcARCEasy:1.0.0",
    ]


def test_the_ten_names_stay_apart():
    assert len({normalised(task) for task in SOLAR_TASKS}) == 10
    assert normalised("cot_gsm8k") != normalised("cot_gsm8k_ii")


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("hellaswag:1.1.0", "HellaSwag : 1.1.0"),
        ("drop:2.0.0", "DROP:2.0.0"),
        ("winogrande:1.1.0", "winogrande:1.1.0 "),
    ],
)
def test_case_and_signs_do_not_matter(name, same):
    assert normalised(name) == normalised(same)


@pytest.mark.parametrize("other", ["hellaswag:1.0.0", "hellaswag", "task1389_hellaswag"])
def test_other_versions_and_tasks_are_other_names(other):
    assert normalised(other) not in expand("solar")


def test_stem_forgets_the_version_only():
    assert stem("hellaswag:1.0.0") == stem("hellaswag:1.1.0") == "hellaswag"
    assert stem("ai2_arc/ARC-Easy:1.0.0") == "ai2arcarceasy"
    assert stem("glue/mnli:m") == "gluemnlim"


def test_solar_and_further_names_add_up():
    both = expand(["solar", "task026_drop_question_generation", "cot_gsm8k"])
    assert list(both.values()) == [
        *SOLAR_TASKS,
        "task026_drop_question_generation",
    ]
    assert expand("solar") == expand("Solar") == expand(AS_PRINTED)


@pytest.mark.parametrize("nothing", ["", "  ", "--", [""]])
def test_a_name_without_letters_is_refused(nothing):
    with pytest.raises(SolarError, match="names no task"):
        expand(nothing)


def test_an_empty_list_is_refused():
    with pytest.raises(SolarError, match="the list is empty"):
        expand([])
