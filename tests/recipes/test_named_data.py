"""The one walk over the data that a recipe names."""

from __future__ import annotations

import pytest

from solar_plugins.recipes.named_data import datasets_of, from_files, places_of


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


def test_a_file_takes_the_place_of_a_data_set_wherever_a_training_names_it():
    recipe = {
        "datasets": [
            {
                "path": "a/b",
                "name": "big",
                "revision": "1",
                "split": "train_prefs[:9]",
                "shards": 3,
            },
            {"path": "other/set", "split": "train"},
        ],
        "sdpo": {"steps": [{"datasets": [{"path": "a/b"}]}]},
        "flan_filter": {"datasets": ["a/b"], "task_column": {"a/b": "type"}},
    }
    assert from_files("train", recipe, {"a/b": "./mine.jsonl"}) == {
        "datasets": [
            {"path": "./mine.jsonl", "split": "train[:9]", "shards": 3},
            {"path": "other/set", "split": "train"},
        ],
        "sdpo": {"steps": [{"datasets": [{"path": "./mine.jsonl", "split": "train"}]}]},
        "flan_filter": {"datasets": ["./mine.jsonl"], "task_column": {"./mine.jsonl": "type"}},
    }


def test_a_folder_keeps_the_split():
    recipe = {"datasets": [{"path": "a/b", "name": "big", "split": "train_prefs"}]}
    assert from_files("train", recipe, {"a/b": "./mine"}) == {
        "datasets": [{"path": "./mine", "split": "train_prefs"}]
    }


@pytest.mark.parametrize("written", ["a/b", {"path": "a/b", "name": "x"}, [{"path": "a/b"}]])
def test_a_stream_is_read_from_a_file_by_the_loader_of_its_ending(written):
    (entry,) = datasets_of(
        from_files("train", {"pretraining_dataset": written}, {"a/b": "./mine.parquet"})
    )
    assert entry == {"path": "parquet", "data_files": "./mine.parquet", "split": "train"}


def test_other_stages_get_the_names_as_they_read_them():
    files = {"benchmarks": "./mine", "held_out_text": "./articles.txt"}
    assert from_files("data", {"sources": ["benchmarks"]}, files) == {"sources": ["./mine"]}
    assert from_files("evaluate", {"metadata": {"x": 1, "data": {"y": "z"}}}, files) == {
        "metadata": {"x": 1, "data": {"y": "z", **files}}
    }
