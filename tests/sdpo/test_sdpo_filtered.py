"""The FLAN filter and stepwise DPO in one recipe: the steps train what the filter has left."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner
from datasets import load_from_disk
from sdpo_world import Run, dataset, make_preferences, recipe

from solar_plugins import run_record
from solar_plugins.cli import cli

pytestmark = pytest.mark.slow

# sDPO stands first: it loads its data in the hook in which the filter's copies are made.
PLUGINS = ["solar_plugins.StepwiseDPOPlugin", "solar_plugins.FlanFilterPlugin"]
PLANTED = "green green green bird"


@pytest.fixture(scope="module")
def values(small_world):
    """Two steps of 20 pairs, of which 5 and 3 are of a listed task, and 6 held out, of which 1."""
    entries = {}
    for name, rows, planted, kind in (
        ("orca_flan", 20, 5, "chatml.intel"),
        ("ultra_flan", 20, 3, "chatml.default"),
        ("held_out", 6, 1, "chatml.default"),
    ):
        intel = kind == "chatml.intel"
        file = make_preferences(small_world / f"{name}.jsonl", rows, seed=5, intel=intel)
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for number, row in enumerate(lines):
            row["task_name"] = "cot_gsm8k" if number < planted else "cot_esnli"
            if number < planted:
                row["question" if intel else "prompt"] = PLANTED
        file.write_text("".join(json.dumps(row) + "\n" for row in lines))
        entries[name] = dataset(file, kind)
    return recipe(
        small_world,
        plugins=PLUGINS,
        flan_filter={"datasets": [entry["path"] for entry in entries.values()]},
        sdpo={
            "steps": [{"datasets": [entries["orca_flan"]]}, {"datasets": [entries["ultra_flan"]]}]
        },
        test_datasets=[entries["held_out"]],
        val_set_size=None,
        dataset_prepared_path=str(small_world / "prepared_filtered"),
        output_dir=str(small_world / "filtered"),
    )


@pytest.fixture(scope="module")
def trained(values, small_world):
    Run(values).end()
    return small_world / "filtered"


def test_the_steps_train_what_the_filter_has_left(trained, small_world):
    assert [step["rows"] for step in run_record.read(trained, "sdpo")["steps"]] == [15, 17]
    prepared = (small_world / "prepared_filtered").glob("*/dataset_info.json")
    sets = [load_from_disk(str(file.parent)) for file in prepared]
    assert sorted(map(len, sets)) == [5, 15, 17]
    assert not any(PLANTED in prompt for rows in sets for prompt in rows["prompt"])


def test_audit_and_records_name_step_and_entry(trained):
    found = run_record.read(trained, "flan_filter")
    removed = {place: one["rows_removed"] for place, one in found["datasets"].items()}
    assert removed == {
        "sdpo.steps[0].datasets[0]": 5,
        "sdpo.steps[1].datasets[0]": 3,
        "test_datasets[0]": 1,
    }
    page = (trained / "solar" / "flan_filter_audit.md").read_text(encoding="utf-8")
    assert "ultra_flan.jsonl (sdpo.steps[1].datasets[0])\n" in page
    # Each step's own rows are counted, and not those of the held-out set.
    counts = run_record.read(trained, "training")["rows"]
    assert [(one["read"], one["trained"]) for one in counts] == [(20, 15), (20, 17)]


def test_a_finished_step_is_not_gone_on_from_under_another_filter(trained, values):
    block = {**values["flan_filter"], "tasks": ["cot_gsm8k", "cot_esnli"], "allow_empty": True}
    assert "flan_filter: " in Run({**values, "flan_filter": block}, "other").error()


def test_difficulty_measures_what_the_filter_has_left(values, small_world):
    file = small_world / "difficulty_filtered.yml"
    changes = {"plugins": PLUGINS[::-1], "output_dir": str(small_world / "measured")}
    file.write_text(yaml.safe_dump(values | changes))
    result = CliRunner().invoke(cli, ["difficulty", str(file), "--json"])
    assert result.exit_code == 0, result.output
    assert sorted(one["rows"] for one in json.loads(result.stdout)["measured"]) == [15, 17]
