"""The run's scores in the paper's tables. No torch."""

from __future__ import annotations

import json

import pytest
from small_run import linear, write_run

from solar_plugins.evaluation import paper
from solar_plugins.report.paper_tables import paper_tables
from solar_plugins.report.results import model_rows
from solar_plugins.report.run import read_run


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "run")


def grids(folder):
    return {
        grid.title.partition(":")[0]: grid for grid in paper_tables(read_run(folder, paper=True))
    }


def test_a_table_is_there_when_the_run_evaluates_one_of_its_models(run_folder):
    found = grids(run_folder)
    assert list(found) == ["Table 2", "Table 3", "Table 6", "Table 7"]  # no DPO stage in the run
    for title, grid in found.items():
        rows = paper.table(int(title.split()[1]))
        printed = [cells for cells in grid.rows if cells[1] == "paper"]
        assert [(cells[0], cells[-1]) for cells in printed] == [
            (row.model, f"{row.h6:.2f}") for row in rows
        ]


def test_other_peoples_models_of_table_2_are_printed_and_not_called_not_run(run_folder):
    below, model = {}, ""
    for cells in grids(run_folder)["Table 2"].rows:
        model = cells[0] or model
        below.setdefault(model, []).append(cells[1])
    measured = {
        "SOLAR 10.7B-Instruct": ["paper", "instruct"],
        "SOLAR 10.7B": ["paper", "cpt"],
        "Mistral 7B": ["paper", "base"],
    }
    assert below == {row.model: measured.get(row.model, ["paper"]) for row in paper.table(2)}


def test_scores_stand_below_their_row_and_missing_models_say_so(run_folder):
    rows = grids(run_folder)["Table 3"].rows
    names = [cells[0] for cells in rows]
    at = names.index("SFT v3")
    measured = json.loads((run_folder / "h6" / "sft_v3.json").read_text())
    assert rows[at + 1][1] == "sft_v3"
    assert rows[at + 1][2] == f"{100 * measured['tasks']['mini_arc']['value']:.2f} ±3.00"
    # the standard error of a mean of six: sqrt(6) * 3 / 6
    assert rows[at + 1][-1] == f"{100 * measured['h6']:.2f} ±1.22"
    assert rows[names.index("SFT v1") + 1][1] == "not run"
    assert not any(cells[1] == "difference" for cells in rows)  # another kind of benchmark


def test_the_papers_own_benchmarks_are_compared(run_folder):
    real = {
        "arc": "arc_challenge",
        "hellaswag": "hellaswag",
        "mmlu": "mmlu",
        "truthfulqa": "truthfulqa_mc2",
        "winogrande": "winogrande",
        "gsm8k": "gsm8k",
    }
    for file in (run_folder / "h6").glob("*.json"):
        result = json.loads(file.read_text())
        result["tasks"] = {real[task["benchmark"]]: task for task in result["tasks"].values()}
        result["losses"] = {}
        file.write_text(json.dumps(result))
    row = grids(run_folder)["Table 7"].rows[2]
    measured = json.loads((run_folder / "h6" / "instruct.json").read_text())
    assert row[1] == "difference"
    assert row[-1] == f"{100 * measured['h6'] - 74.00:+.2f}"


def test_a_failed_evaluation_is_not_a_number(run_folder):
    (run_folder / "h6" / "cand_2.json").unlink()
    rows = grids(run_folder)["Table 6"].rows
    assert rows[-1][1:] == ["cand_2", *["not run"] * 7]


def told(folder, **options) -> dict[str, str]:
    """The paper's row beside each model."""
    rows = model_rows(read_run(folder, **options))
    return {row.model: row.paper.model for row in rows if row.paper}


def test_another_base_is_not_the_papers_unless_asked_for(run_folder):
    assert told(run_folder) == {}
    assert paper_tables(read_run(run_folder)) == []
    assert told(run_folder, paper=True)["base"] == "Mistral 7B"
    chain = run_folder / ".solar" / "chain.yml"
    text = chain.read_text()
    cached = "/hub/models--mistralai--Mistral-7B-v0.1/snapshots/26bca36"
    for base in ("mistralai/Mistral-7B-v0.1", "/models/Mistral-7B-v0.1/", cached):
        chain.write_text(text.replace("unused/base", base))
        assert told(run_folder)["cand_1"] == "Cand. 1"
    for base in ("me/Not-Mistral-7B-v0.1", "mistralai/Mistral-7B-v0.1-135M"):
        chain.write_text(text.replace("unused/base", base))
        assert told(run_folder) == {}


@pytest.mark.parametrize(
    ("merge", "row"),
    [
        (linear({"cand_1": 0.5, "cand_2": 0.5}), "Merge v1"),
        (linear({"cand_1": 2, "cand_2": 3}), "Merge v2"),
        (linear({"cand_1": 0.6, "cand_2": 0.4}), "Merge v3"),
        (
            "merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: 0.5}\n",
            "Merge v4",
        ),
        (linear({"cand_1": 0.3, "cand_2": 0.7}), None),
        (linear({"cand_1": 0.5, "cand_2": 0.5}).replace("linear", "ties"), None),
        ("merge_method: linear\nmodels: [{model: a}, {model: b}]\n", None),
    ],
)
def test_a_merge_is_known_by_models_method_and_weights_not_by_its_name(run_folder, merge, row):
    (run_folder / ".solar/resolved/instruct.yml").write_text(merge)
    assert told(run_folder, paper=True).get("instruct") == row
    chain = run_folder / ".solar" / "chain.yml"
    text = chain.read_text()
    chain.write_text(text.replace("from: [cand_1, cand_2]", "from: [sft_v3, cand_2]"))
    assert "instruct" not in told(run_folder, paper=True)
