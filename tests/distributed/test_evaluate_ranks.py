"""One evaluation by two processes (gloo, CPU), each with its share of the items, and by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "evaluation"))

import tiny_benchmarks

from solar_plugins.evaluation.h6 import evaluate_model

pytestmark = pytest.mark.slow

TASKS = ["tiny_arc", "tiny_truthfulqa", "tiny_gsm8k", "tiny_loss"]


def test_two_processes_measure_what_one_does(tmp_path):
    model = tiny_benchmarks.write_model(tmp_path / "model")
    tasks = tiny_benchmarks.write_tasks(tmp_path / "tasks")
    config = tiny_benchmarks.write_config(tmp_path / "h6.yml", tasks, TASKS, model="hf")
    alone = evaluate_model(config, model, tmp_path / "alone.json", "m")
    together = tmp_path / "together.json"
    ranks = Path(__file__).with_name("evaluate_on_cpu_ranks.py")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *map(str, (ranks, config, model, together, "m")),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    result = json.loads(together.read_text())
    assert not together.with_name("together.partial.jsonl").exists()
    assert result["settings"] == alone["settings"]
    for kind in ("tasks", "losses"):
        assert result[kind].keys() == alone[kind].keys()
        for name, entry in alone[kind].items():
            found = result[kind][name]
            assert found["value"] == pytest.approx(entry["value"], rel=1e-6)
            assert found["n"] == entry["n"], "the padding of uneven shares is not counted"
