"""One fixture per benchmark: rows in the public columns, prompts that must go, and neighbours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from find_in import index_of, removed

from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.benchmarks import BENCHMARKS
from solar_plugins.flan_filter.matcher import Matcher

FIXTURES = Path(__file__).parent / "fixtures"


def found(matcher: Matcher, prompts: list[str]) -> list[str | None]:
    """The task as which each prompt goes."""
    gone = removed(matcher, prompts)
    return [gone[row].task if row in gone else None for row in range(len(prompts))]


@pytest.mark.parametrize("name", sorted(file.stem for file in FIXTURES.glob("*.json")))
def test_the_benchmark_is_found_in_flans_forms_and_its_neighbours_stay(name, tmp_path):
    fixture = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    place = tmp_path / "benchmarks" / fixture["folder"]
    place.mkdir(parents=True)
    lines = "".join(json.dumps(row) + "\n" for row in fixture["rows"])
    (place / "train.jsonl").write_text(lines, encoding="utf-8")
    matcher = Matcher(index_of(tmp_path / "benchmarks"))

    tasks, prompts = zip(*fixture["go"], strict=True)
    for prompt, task, gone in zip(prompts, tasks, found(matcher, list(prompts)), strict=True):
        assert gone == task, prompt
    for prompt, gone in zip(fixture["stay"], found(matcher, fixture["stay"]), strict=True):
        assert gone is None, prompt


def test_every_benchmark_that_flan_draws_on_has_a_fixture():
    drawn_on = {benchmark.name for benchmark in BENCHMARKS if benchmark.train}
    assert drawn_on == {file.stem for file in FIXTURES.glob("*.json")}
    listed = {task for benchmark in BENCHMARKS for task in benchmark.templates}
    assert listed == set(task_names.SOLAR_TASKS)
