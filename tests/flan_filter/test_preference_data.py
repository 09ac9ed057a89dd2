"""Table 8's tasks planted into preference data of the public shapes: found before, none after."""

from __future__ import annotations

import json
import random
from pathlib import Path

import benchmark_twins
import flan_renderings
import pyarrow as pa
import pytest
from click.testing import CliRunner
from find_in import index_of
from pyarrow import parquet

from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.args import parse

TASK_1389 = (
    "Definition: A context and four options follow. Each option is a suggested ending for the "
    "context. Name the best one.\nInput: {context} <sep> {options}\nOutput:"
)
"""The stem of the task's definition in a wording of our own around it."""

RELATED = {
    "task029_winogrande_full_object": "From the given word, create a pair of sentences each "
    "containing a blank (_) and their corresponding answer. The sentence pair should look similar, "
    'and should be about two related but different objects; such as "cup" and "jug".',
    "task031_winogrande_question_generation_object": "Write a question containing a blank (_), "
    "based on the given context word. Your question must contain two related but different objects",
    "task1391_winogrande_easy_answer_generation": "You are given a question containing a blank (_) "
    "and two options. You should pick the best option.",
}


def intel(prompt: str, number: int) -> dict:
    """A row of Intel/orca_dpo_pairs."""
    answers = {"chosen": f"Better {number}.", "rejected": f"Worse {number}."}
    return {"system": "You are an AI assistant.", "question": prompt, **answers}


def cleaned(prompt: str, number: int) -> dict:
    """A row of allenai/ultrafeedback_binarized_cleaned."""
    asked = {"content": prompt, "role": "user"}
    chosen, rejected = (
        [asked, {"content": f"{word} {number}.", "role": "assistant"}] for word in ("Good", "Bad")
    )
    texts = {"prompt": prompt, "prompt_id": f"{number:064x}", "source": "flan_v2_niv2"}
    return {**texts, "chosen": chosen, "rejected": rejected, "messages": chosen, "score_chosen": 8}


def conversations(prompt: str, number: int) -> dict:
    """A row of trl-lib/ultrafeedback_binarized: the prompt is the first message of both."""
    row = cleaned(prompt, number)
    return {key: row[key] for key in ("chosen", "rejected", "score_chosen")}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[list[tuple[str | None, str]], str]:
    """(task or None, prompt) of all ten tasks among neighbours, and the index's path."""
    folder = tmp_path_factory.mktemp("world") / "benchmarks"
    items = benchmark_twins.items(0.003, 4)
    index = index_of(benchmark_twins.write(folder, items))
    rng = random.Random(4)
    prompts: list[tuple[str | None, str]] = [
        (one.task, one.prompt)
        for place, rows in items.items()
        for row in rows[:6]
        for one in flan_renderings.render(place, row, rng)
        if one.shows
    ]
    held_out = benchmark_twins.items(0.003, 9, {"hellaswag/validation": 10_042})
    for row in held_out["hellaswag/validation"][:6]:
        text = TASK_1389.format(context=row["ctx"], options=" ".join(row["endings"]))
        prompts.append(("task1389_hellaswag_completion", text))
    assert {task for task, _ in prompts} == set(task_names.SOLAR_TASKS)
    prompts += [(None, f"{text}\nContext word: jug.") for text in RELATED.values()]
    prompts += [(None, f"Explain why {benchmark_twins.clause(rng)}.") for _ in range(300)]
    rng.shuffle(prompts)
    return prompts, index.path


def filtered(source: Path, target: Path, index: str, *more: str) -> dict:
    command = ["filter", str(source), str(target), "--index", index, "--json", *more]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["datasets"][0]


@pytest.mark.parametrize("shape", [intel, cleaned, conversations])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_planted_rows_go_and_nothing_else(world, tmp_path, shape, kind):
    prompts, index = world
    rows = [shape(prompt, number) for number, (_, prompt) in enumerate(prompts)]
    stay = [row for row, (task, _) in zip(rows, prompts, strict=True) if task is None]
    source, target = tmp_path / f"pairs.{kind}", tmp_path / f"filtered.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), source)
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    before = filtered(source, target, index)
    after = filtered(target, tmp_path / f"again.{kind}", index, "--allow-empty")

    assert before["share_removed"] == round(1 - len(stay) / len(rows), 6) > 0.25
    assert after["share_removed"] == 0
    assert before["removed"]["task1389_hellaswag_completion"] == {"niv2_definition": 6}
    assert before["near"] == {"niv2_definition, related task": len(RELATED)}
    left = (
        parquet.read_table(target).to_pylist()
        if kind == "parquet"
        else [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    )
    assert left == stay


def test_related_tasks_go_under_their_own_names_where_they_are_asked_for(world, tmp_path):
    _, index = world
    source = tmp_path / "pairs.jsonl"
    rows = [intel(text, number) for number, text in enumerate(RELATED.values())]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = filtered(source, tmp_path / "out.jsonl", index, "--tasks", "related")
    assert found["removed"] == {task: {"niv2_definition": 1} for task in RELATED}


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        (
            {"sdpo": {"steps": [{"datasets": [{"path": "pairs"}]}]}, "test_datasets": []},
            "flan_filter.datasets[0]: no entry of datasets, test_datasets or sdpo.steps has the "
            "path 'pair'. Did you mean 'pairs'? Paths: pairs.",
        ),
        (
            {"sdpo": {"steps": [{"datasets": [], "test_datasets": [{"path": "pair"}]}]}},
            "flan_filter.datasets[0]: 'pair' is sdpo.steps[0].test_datasets[0], which is not "
            "filtered. Filter the file with solar filter IN OUT, and name OUT there.",
        ),
        (
            {"pretraining_dataset": "./pair"},
            "flan_filter.datasets[0]: 'pair' is pretraining_dataset, which is not filtered. Filter "
            "the file with solar filter IN OUT, and name OUT there.",
        ),
    ],
)
def test_a_path_that_the_filter_does_not_reach_is_an_error(recipe, line):
    with pytest.raises(SolarError) as error:
        parse({"datasets": ["pair"]}).refuse_unreached(recipe)
    assert str(error.value) == line


def test_the_paths_of_steps_and_of_held_out_data_are_known():
    steps = [{"datasets": [{"path": "a"}, {"path": "./b"}]}]
    recipe = {"sdpo": {"steps": steps}, "test_datasets": [{"path": "c"}]}
    parse({"datasets": ["a", "b", "c"]}).refuse_unreached(recipe)
