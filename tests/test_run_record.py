"""What a plugin tells `solar run` while it works outside of its optimizer steps."""

from __future__ import annotations

import os

from solar_plugins import run_record
from solar_plugins.chain.chain_file import Stage
from solar_plugins.chain.run.progress import Row
from solar_plugins.chain.training import metrics


def test_work_before_the_first_step_is_shown_while_it_lasts(tmp_path, monkeypatch):
    file = tmp_path / "metrics" / "cand_1.jsonl"
    row = Row(Stage.__new__(Stage), state="running")
    with run_record.progress("reference (train)", 40) as at:
        at(3)  # not a stage of `solar run`
    assert not file.parent.exists()

    monkeypatch.setenv(run_record.METRICS_VARIABLE, str(file))
    with run_record.progress("reference (train)", 40, writes=False) as at:
        at(3)  # another rank
    assert not file.parent.exists()
    with run_record.progress("reference (train)", 40) as at:
        at(3)
        row.read(file)
        assert row.work == "reference (train) 3/40"
    metrics.MetricsFile(file).write_step(1, 9)
    row.read(file)
    assert (row.work, row.texts()["step"]) == ("", "1/9")
    file.with_suffix(".note").write_text("reference (train) 3/40")
    os.utime(file.with_suffix(".note"), (1, 1))  # of a process that was killed
    row.read(file)
    assert (row.work, row.texts()["step"]) == ("", "1/9")
