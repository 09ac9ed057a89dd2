"""kill -9 in the middle of a training, then the same command: the same weights, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from solar_plugins.chain.run.run_folder import sha256
from solar_plugins.chain.training import metrics

pytestmark = pytest.mark.slow


def wait_for_step(file: Path, step: int, process) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end and process.is_alive():
        now = metrics.read_step(file)
        if now and now[0] >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"the training never reached step {step}")


def record(folder: Path, stage: str) -> dict:
    return json.loads((folder / "run/.solar/stages" / f"{stage}.json").read_text())


def test_killed_training_goes_on_to_the_same_weights(solar):
    """Packed, in its second epoch: the batches there must not depend on the interruption."""
    folder = solar.folder
    status, output = solar("run", "chain.yml", "--set", "output_dir=calm", "--until", "sft")
    assert status == 0, output
    steps = metrics.read_step(folder / "calm/.solar/metrics/sft.jsonl")[1]
    in_second_epoch = steps // 3 + 3

    running = solar.start("run", "chain.yml", "--until", "sft")
    wait_for_step(folder / "run/.solar/metrics/sft.jsonl", in_second_epoch, running.process)
    at_work = psutil.Process(running.process.pid).children(recursive=True)
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.join()
    gone, alive = psutil.wait_procs(at_work, timeout=10)
    assert gone
    assert not alive, "the training went on without its parent"
    checkpoints = sorted((folder / "run/sft").glob("checkpoint-*"))
    assert checkpoints, "nothing to go on from"
    # A checkpoint that was being written: newest by name, and not whole.
    half = folder / "run/sft/checkpoint-9999"
    half.mkdir()
    (half / "trainer_state.json").write_text('{"global_step": 99')

    status, output = solar("run", "chain.yml", "--until", "sft")
    assert status == 0, output
    assert "cpt: done: already" in output
    assert "sft: running: goes on from checkpoint-" in output
    for stage in ("cpt", "sft"):
        calm, killed = (folder / run / stage / "model.safetensors" for run in ("calm", "run"))
        assert sha256(calm) == sha256(killed), f"{stage} differs from the undisturbed run"
    assert record(folder, "sft")["attempts"] == 2
    logged = [
        r["step"] for r in metrics.read(folder / "run/.solar/metrics/sft.jsonl") if "loss" in r
    ]
    assert logged == list(range(1, steps + 1)), "each step stands in the metrics once"
    assert not (folder / "run/sft/incomplete-checkpoint-9999").exists()


def test_two_runs_on_one_folder(solar):
    # Long enough that it is still at work when the second one has looked.
    first = solar.start("run", "chain.yml", "--until", "cpt", "--set", "cpt.max_steps=2000")
    wait_for_step(solar.folder / "run/.solar/metrics/cpt.jsonl", 1, first.process)
    status, output = solar("run", "chain.yml", "--until", "cpt")
    assert status == 1
    assert f"run: another solar run (process {first.process.pid}) is at work here." in output
    os.kill(first.process.pid, signal.SIGINT)
    status, output = first.wait()
    assert status == 130
    assert "interrupted: the same command goes on from here." in output
    assert record(solar.folder, "cpt")["error"] == "interrupted"
