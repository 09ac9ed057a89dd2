"""What a report says for repeating and citing a run. No torch."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from small_run import write, write_run

from solar_plugins.chain.run import fingerprint
from solar_plugins.cli.report import report_command
from solar_plugins.report import provenance
from solar_plugins.report.run import read_run
from solar_plugins.report.write import to_html, to_markdown

RECIPE = """\
base_model: someone/base
revision_of_model: 0123abc
seed: 7
datasets:
  - {path: someone/data, revision: v2}
  - {path: other/data}
  - {path: ./rows.jsonl}
  - {path: %s/world/pretrain.jsonl}
"""


@pytest.fixture
def run_folder(tmp_path):
    """The small run, whose first training reads a base model and data from elsewhere."""
    folder = write_run(tmp_path / "run")
    chain = folder / ".solar" / "chain.yml"
    text = chain.read_text().replace("unused/base", "someone/base")
    chain.write_text(text.replace("{train: base.yml, after: world}", "{train: base.yml}"))
    (folder / ".solar" / "resolved" / "base.yml").write_text(RECIPE % folder)
    file = folder / ".solar" / "stages" / "base.json"
    record = json.loads(file.read_text())
    record["inputs"] = {"files": {"./rows.jsonl": "ab" * 32}}
    record["outputs"] = {"model.safetensors": {"size": 1, "sha256": "cd" * 32, "mtime_ns": 1}}
    record["fingerprint"] = "ef" * 32
    write(file, record)
    return folder


def test_sources_with_what_fixes_each(run_folder):
    rows = provenance.sources_grid(read_run(run_folder)).rows
    assert rows == [
        ["someone/base", "model", "0123abc", "base"],
        ["someone/data", "dataset", "v2", "base"],
        ["other/data", "dataset", "main, not pinned", "base"],
        ["./rows.jsonl", "dataset", f"sha256 {'ab' * 8}", "base"],
    ]  # what the run itself has made is no source


def test_digests_of_what_went_in_and_came_out(run_folder):
    run = read_run(run_folder)
    rows = {row[0]: row[1:] for row in provenance.digests_grid(run).rows}
    outputs = fingerprint.digest({"model.safetensors": "cd" * 32})
    assert rows["base"] == ["7", "ef" * 8, outputs[:16]]
    assert rows["cpt"][2] == "-"  # no output is recorded, and none is made up
    result = CliRunner().invoke(report_command, [str(run_folder), "--json"])
    assert json.loads(result.output)["digests"]["base"] == {
        "inputs": "ef" * 32,
        "outputs": outputs,
    }


def test_one_line_per_way_of_measuring(run_folder):
    rows = provenance.harness_grid(read_run(run_folder)).rows
    assert len(rows) == 6
    assert rows[0] == [
        "ARC",
        "mini_arc",
        "acc_norm",
        "0",
        "200",
        "1.0",
        "lm_eval 0.4.11",
        "all items",
    ]
    file = run_folder / "h6" / "cpt.json"
    measured = json.loads(file.read_text())
    measured["tasks"]["mini_arc"]["num_fewshot"] = 25
    write(file, measured)
    rows = provenance.harness_grid(read_run(run_folder)).rows
    assert sorted(row[3] for row in rows if row[0] == "ARC") == ["0", "25"]


def test_both_pages_say_it(run_folder):
    run = read_run(run_folder)
    for text in (to_html(run), to_markdown(run)):
        for told in ("main, not pinned", "ef" * 8, "mini_gsm8k", "arXiv 2403.19270"):
            assert told in text
