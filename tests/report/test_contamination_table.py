"""Table 9 in the report: there only where `solar contamination` or a stage has left a result."""

from __future__ import annotations

import json

from small_run import write_run

from solar_plugins.report.write import write_report


def entry(share: float) -> dict:
    return {"share_below_0_1": share, "stderr": 0.031, "n": 100}


def test_table_9_stands_below_the_papers(tmp_path):
    folder = write_run(tmp_path / "run")
    for file in write_report(folder):
        assert "Table 9" not in file.read_text(encoding="utf-8")
    stage = {"model": "instruct", "benchmarks": {"arc": entry(0.11)}, "not_run": {}}
    (folder / "world").mkdir(exist_ok=True)
    (folder / "world" / "contamination.json").write_text(json.dumps(stage))
    result = {"benchmarks": {"arc": entry(0.07), "gsm8k": entry(0.92)}, "not_run": {"mmlu": "gone"}}
    (folder / "cand_1.contamination.json").write_text(json.dumps(result))
    page, text = (file.read_text(encoding="utf-8") for file in write_report(folder))
    lines = text[text.index("### Table 9") :].splitlines()
    assert lines[2:7] == [
        "| model |  | ARC | MMLU | TruthfulQA | GSM8K |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| SOLAR 10.7B-Instruct | paper | 0.06 | 0.15 | 0.28 | 0.70 |",
        "|  | instruct | 0.11 ±0.03 | not run | not run | not run |",
        "|  | cand_1 | 0.07 ±0.03 | not run | not run | 0.92 ±0.03 |",
    ]
    assert "<td>0.92 ±0.03</td>" in page
    assert "0.9 or more: the benchmark was probably trained on." in page
