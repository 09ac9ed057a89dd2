"""The miniature world: the same from the same seed, closed, and without its own test answers."""

from __future__ import annotations

import json
import random
import re

import pytest

from solar_plugins.errors import SolarError
from solar_plugins.miniature import benchmarks as bench
from solar_plugins.miniature import texts, tokens, writer
from solar_plugins.miniature.facts import build_world
from solar_plugins.miniature.vocabulary import BENCHMARK_TASKS, KEPT_TASKS
from solar_plugins.recipes import data_recipe as recipes

SMALL = {
    "generator": "miniature_world",
    "seed": 2312,
    "pretrain_pages": 1500,
    "continued_pages": 500,
    "held_out_pages": 20,
}
TRAINED_ON = [
    "pretrain.jsonl",
    "continued.jsonl",
    "alpaca.jsonl",
    "orca.jsonl",
    "math_instruct.jsonl",
    "orca_pairs.jsonl",
    "ultrafeedback.jsonl",
]


@pytest.fixture(scope="module")
def files() -> dict[str, list[dict]]:
    return writer.rows(recipes.read(SMALL))


@pytest.fixture(scope="module")
def training_text(files) -> str:
    return json.dumps([files[name] for name in TRAINED_ON])


def test_seed_fixes_everything(files):
    assert writer.rows(recipes.read(SMALL)) == files
    other = writer.rows(recipes.read({**SMALL, "seed": 2313}))
    assert {name for name in files if other[name] == files[name]} == set()


def test_drawing_the_world_leaves_the_global_generator_alone():
    state = random.getstate()
    writer.rows(recipes.read({**SMALL, "pretrain_pages": 10, "continued_pages": 10}))
    assert random.getstate() == state


@pytest.mark.parametrize("name", ["mini_arc", "mini_mmlu", "mini_truthfulqa"])
def test_held_out_questions_are_never_asked(files, training_text, name):
    questions = [row["question"] for row in files[f"benchmarks/{name}/test.jsonl"]]
    assert len(questions) >= 100
    assert [question for question in questions if question in training_text] == []
    known = [row["question"] for row in files[f"benchmarks/{name}/train.jsonl"]]
    assert any(question in training_text for question in known)  # the search finds what is there


def test_held_out_properties_of_things_are_never_stated(training_text):
    facts = build_world(2312).things
    stated = {
        fact.held_out: sum(
            fact.state() in training_text for fact in facts if fact.held_out is held_out
        )
        for held_out in (False, True)
        for fact in [next(fact for fact in facts if fact.held_out is held_out)]
    }
    assert stated[True] == 0
    assert stated[False] > 100


def test_held_out_stories_puzzles_and_problems_are_in_no_training_file(files, training_text):
    for row in files["benchmarks/mini_hellaswag/test.jsonl"]:
        assert bench.story_opening(*row["story"]) not in training_text
    for row in files["benchmarks/mini_winogrande/test.jsonl"]:
        opening = row["sentence"].split("_")[0]
        assert opening not in training_text
    for row in files["benchmarks/mini_gsm8k/test.jsonl"]:
        assert row["question"] not in training_text
        assert f"{row['story']} now" not in training_text


def test_train_and_test_items_are_disjoint_and_enough(files):
    for name in ("arc", "hellaswag", "mmlu", "truthfulqa", "winogrande", "gsm8k"):
        train, test = (
            {
                json.dumps(row, sort_keys=True)
                for row in files[f"benchmarks/mini_{name}/{split}.jsonl"]
            }
            for split in ("train", "test")
        )
        assert train.isdisjoint(test)
        assert len(test) >= 100


def test_held_out_text_is_not_in_the_pretraining_text(files):
    seen = {row["text"] for row in files["pretrain.jsonl"] + files["continued.jsonl"]}
    assert seen.isdisjoint(row["text"] for row in files["benchmarks/mini_loss/test.jsonl"])


def test_every_right_answer_is_right():
    world = build_world(2312)
    true = {(fact.subject, fact.value) for fact in [*world.lands, *world.scholars, *world.things]}
    for row in [*bench.mmlu(world).test, *bench.arc(world).test]:
        subject = next(
            subject for subject, _ in true if re.search(rf"\b{subject}\b", row["question"])
        )
        right = row["choices"][row["answer"]]
        assert (subject, right) in true
        assert len(set(row["choices"])) == 4
    for row in bench.gsm8k(world).test:
        *steps, _ = row["answer"].split(" ####")
        for step in re.findall(r"(\d+) ([+-]) (\d+) = (\d+)", steps[0]):
            left, sign, right, result = int(step[0]), step[1], int(step[2]), int(step[3])
            assert result == (left + right if sign == "+" else left - right)
        assert row["answer"].endswith(f"#### {result}")
    for row in bench.truthfulqa(world).test:
        assert sum(row["mc2_targets"]["labels"]) == 1
        assert len(set(row["mc2_targets"]["choices"])) == 4


def test_myths_outnumber_truths_in_the_text(files):
    pages = " ".join(row["text"] for row in files["pretrain.jsonl"])
    myths = truths = 0
    for fact in build_world(2312).wonders:
        myths += pages.count(fact.state(fact.myth))
        truths += pages.count(fact.state())
    assert truths > 300
    assert myths / (myths + truths) == pytest.approx(texts.MYTH_SHARE, abs=0.1)


def test_orca_rows_hold_tasks_of_table_8_and_their_neighbours(files):
    names = [row["_task_name"] for row in files["orca.jsonl"]]
    assert set(names) == set(BENCHMARK_TASKS) | set(KEPT_TASKS)
    share = sum(name in BENCHMARK_TASKS for name in names) / len(names)
    assert share == pytest.approx(0.1, abs=0.03)
    # Rows of Table 8's tasks show the benchmarks' train items, which is why they must go.
    shown = json.dumps([row for row in files["orca.jsonl"] if row["_task_name"] == "cot_gsm8k"])
    assert any(row["question"] in shown for row in files["benchmarks/mini_gsm8k/train.jsonl"])


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("pretrain.jsonl", {"text"}),
        ("alpaca.jsonl", {"instruction", "input", "output"}),
        ("math_instruct.jsonl", {"instruction", "input", "output"}),
        ("orca.jsonl", {"id", "system_prompt", "question", "response", "_task_name"}),
        ("orca_pairs.jsonl", {"system", "question", "chosen", "rejected"}),
        (
            "ultrafeedback.jsonl",
            {"prompt", "chosen", "rejected", "score_chosen", "score_rejected"},
        ),
    ],
)
def test_columns_are_those_of_the_public_datasets(files, name, columns):
    assert all(set(row) == columns for row in files[name])


def test_preferences_differ_in_the_answer_alone(files):
    for row in files["orca_pairs.jsonl"]:
        assert row["chosen"] != row["rejected"]
    for row in files["ultrafeedback.jsonl"]:
        for side in ("chosen", "rejected"):
            assert row[side][0] == {"role": "user", "content": row["prompt"]}
            assert [message["role"] for message in row[side]] == ["user", "assistant"]
        assert row["chosen"][1]["content"] != row["rejected"][1]["content"]


def test_pages_fit_a_training_sequence(files):
    lengths = [len(re.findall(tokens.PIECE, row["text"])) + 2 for row in files["pretrain.jsonl"]]
    assert max(lengths) <= 128  # recipes/tiny: sequence_len, with BOS and EOS
    assert sum(lengths) / len(lengths) > 110


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"generator": "miniature_wold"},
            "generator: 'miniature_wold' is not one of miniature_world, untrained_model, "
            "flan_index, synth_math, contamination_test. Did you mean 'miniature_world'?",
        ),
        (
            {"pretrain_page": 5},
            "pretrain_page: unknown key. Known: seed, words_per_page, pretrain_pages, "
            "continued_pages, held_out_pages, alpaca_rows, orca_rows, benchmark_share, math_rows, "
            "easy_pairs, hard_pairs, math_pairs, hidden_size, intermediate_size, "
            "num_hidden_layers, num_attention_heads. Did you mean 'pretrain_pages'?",
        ),
        (
            {"alpaca_rows": "many"},
            "alpaca_rows: 'many' is not a whole number. Write alpaca_rows: 1800.",
        ),
        (
            {"hard_pairs": 0},
            "hard_pairs: 0. Input should be greater than or equal to 1. Write hard_pairs: 1000.",
        ),
        ({"math_rows": True}, "math_rows: True is not a whole number. Write math_rows: 1500."),
    ],
)
def test_wrong_settings_are_named(change, message):
    with pytest.raises(SolarError) as error:
        recipes.read({**SMALL, **change})
    assert str(error.value) == message


def test_a_world_without_a_seed_is_refused():
    with pytest.raises(SolarError, match=r"^seed: missing\. Write seed: 2312\.$"):
        recipes.read({"generator": "miniature_world"})
