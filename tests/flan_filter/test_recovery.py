"""What the index finds: FLAN's own chain-of-thought files, and benchmarks of the public shape."""

from __future__ import annotations

import random
from collections import Counter

import benchmark_twins
import flan_renderings
import pyarrow as pa
import pytest
from find_in import FLAN_COT, MUST_STAY, cot_file, index_of, removed
from flan_renderings import COT, INVERTED_ANSWER, INVERTED_QUESTION, INVERTED_REASONING

from solar_plugins.flan_filter import index_file, task_names
from solar_plugins.flan_filter.benchmarks import BENCHMARKS
from solar_plugins.flan_filter.evidence import DECONTAMINATION
from solar_plugins.flan_filter.matcher import Matcher


@pytest.mark.skipif(not FLAN_COT.is_dir(), reason="needs FLAN's own files beside the project")
def test_all_of_flans_own_gsm8k_goes_and_its_six_neighbours_stay(tmp_path):
    gsm8k = cot_file("gsm8k")
    rows = [{"question": row["q"], "answer": f"{row['r']}\n#### {row['a']}"} for row in gsm8k]
    matcher = Matcher(index_of(benchmark_twins.write(tmp_path / "b", {"gsm8k": rows})))
    showing = [*COT, *INVERTED_QUESTION, *INVERTED_REASONING]
    prompts = [form.format(**row) for form in showing for row in gsm8k]
    assert len(removed(matcher, prompts)) >= 0.999 * len(prompts)

    # The ceiling: a number alone is everybody's.
    hidden = [form.format(**row) for form in INVERTED_ANSWER for row in gsm8k]
    assert removed(matcher, hidden) == {}

    others = [
        form.format(**row)
        for task in MUST_STAY
        for row in cot_file(task)
        for form in (*showing, *INVERTED_ANSWER)
    ]
    assert len(others) > 25_000 * 11
    assert len(removed(matcher, others)) <= len(others) / 10_000


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[dict[str, list[dict]], index_file.Index]:
    """A hundredth of all five benchmarks and of H6's test splits, and their index."""
    folder = tmp_path_factory.mktemp("world") / "benchmarks"
    items = benchmark_twins.items(0.01)
    tests = benchmark_twins.items(0.01, 1, benchmark_twins.TEST_SIZES)
    benchmark_twins.write(folder, items)
    return {**items, **tests}, index_of(benchmark_twins.write(folder, tests))


def test_every_form_that_shows_an_item_goes_under_its_task(world):
    items, index = world
    rng = random.Random(5)
    rendered = [
        one
        for place in benchmark_twins.SIZES
        for row in items[place]
        for one in flan_renderings.render(place, row, rng)
    ]
    found = removed(Matcher(index), [one.prompt for one in rendered])
    total, gone = Counter(), Counter()
    for row, one in enumerate(rendered):
        total[one.task, one.shows] += 1
        gone[one.task, one.shows] += row in found
    for (task, shows), rows in total.items():
        if shows:
            assert gone[task, shows] == rows, task
    assert {one.task for one in rendered} == {
        task for task in task_names.SOLAR_TASKS if task != "task1389_hellaswag_completion"
    }
    benchmark_of = {task: one.name for one in BENCHMARKS for task in one.templates}
    for row, finding in found.items():
        assert benchmark_of[finding.task] == benchmark_of[rendered[row].task]


def test_only_the_tasks_that_were_asked_for_go(world):
    items, index = world
    rng = random.Random(5)
    prompts, tasks = [], []
    for place in ("gsm8k", "drop", "winogrande"):
        for row in items[place][:20]:
            for one in flan_renderings.render(place, row, rng):
                prompts.append(one.prompt)
                tasks.append(one.task if one.shows else None)
    found = removed(Matcher(index, "drop:2.0.0"), prompts)
    assert set(found) == {row for row, task in enumerate(tasks) if task == "drop:2.0.0"}


def test_related_tasks_stay_unless_they_are_asked_for(world):
    items, index = world
    passage = items["drop"][0]["passage"]
    related = (
        "Definition: This task involves creating questions from a given passage that involve some "
        f"kind of complex reasoning (including numerical reasoning).\nInput: {passage}\nOutput:"
    )
    by_default = Matcher(index)
    array = pa.array([related.encode()], pa.large_binary())
    (kept,) = by_default.find(array)
    assert not kept.removes
    assert kept.task == "task026_drop_question_generation"
    both = Matcher(index, ["solar", "related"])
    (gone,) = both.find(array)
    assert (gone.removes, gone.reason) == (True, "niv2_definition")


def test_decontamination_is_a_pass_of_its_own(world):
    items, index = world
    rng = random.Random(2)
    prompts = []
    for place in benchmark_twins.TEST_SIZES:
        for row in items[place]:
            key = next(key for key in ("ctx", "sentence", "question") if key in row)
            words = row[key].replace("[header] ", "").split()
            # Twelve words of a test item are allowed, thirteen are not.
            prompts.append((len(words) >= 13, "Look: " + " ".join(words[:13]) + " and so on."))
            prompts.append((False, "Look: " + " ".join(words[:12][:-1]) + " or not."))
    off = removed(Matcher(index), [p for _, p in prompts])
    on = removed(Matcher(index, decontaminate=True), [p for _, p in prompts])
    assert {finding.reason for row, finding in on.items() if row not in off} == {DECONTAMINATION}
    for row, (shared, prompt) in enumerate(prompts):
        if shared and "[" not in prompt:
            assert row in on, prompt
    # A short question goes with its choices, not alone among other text.
    short = next(row for row in items["mmlu/test"] if len(row["question"].split()) < 10)
    around = " ".join(benchmark_twins.sentence(rng, 3) for _ in range(3))
    alone = f"{around}. {short['question']} {around}."
    whole = f"{around}. {short['question']} {' '.join(f'({c})' for c in short['choices'])}"
    found = removed(Matcher(index, decontaminate=True), [alone, whole])
    assert {row: (f.task, f.reason) for row, f in found.items()} == {1: ("mmlu", DECONTAMINATION)}


def test_a_reworded_chain_of_thought_goes_and_a_partly_new_one_is_near(world, tmp_path):
    rationale = " ".join(f"word{i}" for i in range(40))
    rows = [
        {"question": "Unused question of nobody in particular?", "answer": f"{rationale}\n#### 1"}
    ]
    matcher = Matcher(index_of(benchmark_twins.write(tmp_path / "b", {"gsm8k": rows})))
    words = rationale.split()
    one_changed = " ".join([*words[:20], "other", *words[21:]])
    half = " ".join([*words[:24], *(f"new{i}" for i in range(16))])
    array = pa.array([one_changed.encode(), half.encode()], pa.large_binary())
    gone, near = matcher.find(array)
    assert (gone.removes, round(gone.share, 3)) == (True, 0.975)
    assert (near.removes, near.share) == (False, 0.6)
    assert near.why == "60% of its words, 80% are needed"
