"""The one walk over the data that a recipe names."""

from __future__ import annotations

import pytest

from solar_plugins.recipes.named_data import datasets_of, places_of


def test_every_place_that_axolotl_and_sdpo_read_is_found():
    recipe = {
        "datasets": [{"path": "a"}, {"type": "no path"}],
        "test_datasets": [{"path": "b"}],
        "pretraining_dataset": [{"path": "c"}],
        "sdpo": {
            "steps": [
                {"datasets": [{"path": "d"}], "test_datasets": [{"path": "e"}]},
                {"datasets": None},
                "no step",
            ]
        },
    }
    assert [(where, entry["path"]) for where, entry in places_of(recipe)] == [
        ("datasets[0]", "a"),
        ("test_datasets[0]", "b"),
        ("pretraining_dataset[0]", "c"),
        ("sdpo.steps[0].datasets[0]", "d"),
        ("sdpo.steps[0].test_datasets[0]", "e"),
    ]


@pytest.mark.parametrize("written", ["a", {"path": "a"}, ["a"], [{"path": "a"}]])
def test_pretraining_data_may_be_one_mapping_or_a_path(written):
    assert list(datasets_of({"pretraining_dataset": written})) == [{"path": "a"}]


def test_one_mapping_has_no_number():
    recipe = {"datasets": {"path": "a"}}
    assert list(places_of(recipe)) == [("datasets", {"path": "a"})]


@pytest.mark.parametrize("recipe", [{}, {"datasets": None}, {"sdpo": 3}, {"sdpo": {"steps": {}}}])
def test_recipes_that_name_nothing_yield_nothing(recipe):
    assert list(datasets_of(recipe)) == []
