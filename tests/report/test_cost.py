"""The report's cost table: planned by the runner, taken by the logs, spent by the record."""

from __future__ import annotations

import json

import pytest
from small_run import write_run

from solar_plugins.report.cost import cost_grid, costs
from solar_plugins.report.run import read_run
from solar_plugins.report.write import write_report


def plan(folder, stage: str, world_size: int = 2, **planned) -> None:
    """What the runner notes of a training beside its plugins' proofs."""
    file = folder / ".solar" / "stages" / f"{stage}.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["facts"]["proofs"] = {"stage": {"steps": 1, "world_size": world_size}}
    record["facts"]["planned"] = planned or None
    file.write_text(json.dumps(record), encoding="utf-8")


def on_device(folder, stage: str, name: str) -> None:
    file = folder / ".solar" / "stages" / f"{stage}.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["facts"]["proofs"]["stage"]["device"] = name
    file.write_text(json.dumps(record), encoding="utf-8")


def log(folder, stage: str, lines: list[dict]) -> None:
    text = "".join(json.dumps({"time_s": 1.0, **line}) + "\n" for line in lines)
    (folder / ".solar" / "metrics" / f"{stage}.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture
def run_folder(tmp_path):
    """base was planned for two GPUs of known speed, cand_1 of sDPO without; cpt not at all."""
    folder = write_run(tmp_path / "run")
    plan(folder, "base", steps=100, tokens=5000, flops=3.9e15, hours=0.5)
    on_device(folder, "base", "NVIDIA H100 80GB HBM3")
    log(folder, "base", [{"step": 50, "tokens/total": 2600}, {"step": 98, "tokens/total": 5200.0}])
    plan(folder, "cpt", world_size=1)
    plan(folder, "cand_1", world_size=1, steps=7, tokens=900, flops=1e12, hours=None)
    first = {"step": 3, "sdpo_step": 1, "num_tokens": 300.0}
    log(folder, "cand_1", [first, {"step": 7, "sdpo_step": 2, "num_tokens": 400.0}])
    return folder


def test_planned_taken_and_spent(run_folder):
    found = {cost["stage"]: cost for cost in costs(read_run(run_folder))}
    assert list(found) == ["base", "cpt", "cand_1"]
    base = found["base"]
    assert (base["planned_steps"], base["steps"]) == (100, 98)
    assert (base["planned_tokens"], base["tokens"]) == (5000, 5200)
    assert base["wall_s"] == 19.5
    assert base["gpu_hours"] == pytest.approx(2 * 19.5 / 3600)
    assert base["flops_per_s"] == pytest.approx(3.9e15 / 19.5 / 2)
    assert base["energy_kwh"] == pytest.approx(2 * 700 * 19.5 / 3.6e6)
    assert found["cpt"]["energy_kwh"] is None
    # The runner's logs count the steps on from one step of sDPO to the next, and not the tokens.
    assert (found["cand_1"]["steps"], found["cand_1"]["tokens"]) == (7, 700)


def test_what_was_not_planned_is_no_number(run_folder):
    (cpt,) = (cost for cost in costs(read_run(run_folder)) if cost["stage"] == "cpt")
    assert (cpt["planned_steps"], cpt["flops_per_s"]) == (None, None)
    rows = {row[0]: row for row in cost_grid(read_run(run_folder)).rows}
    assert rows["cpt"][1] == rows["cpt"][3] == rows["cpt"][5] == rows["cpt"][8] == "-"
    # A sum with an unknown part would look like all of it.
    assert rows["together"][1] == rows["together"][5] == "-"


def test_the_table_in_both_files(run_folder):
    html, markdown = write_report(run_folder)
    (row,) = (
        line
        for line in markdown.read_text(encoding="utf-8").splitlines()
        if line.startswith("| base | 100 |")
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["base", "100", "98", "5,000", "5,200", "0.50", "19.5 s", "0.011", "100.00"]
    page = html.read_text(encoding="utf-8")
    assert '<section id="cost">' in page
    assert "5,200" in page


def test_a_run_without_trainings_has_no_table(tmp_path):
    html, markdown = write_report(write_run(tmp_path / "run"))
    assert 'id="cost"' not in html.read_text(encoding="utf-8")
    assert "planned and spent" not in markdown.read_text(encoding="utf-8")
