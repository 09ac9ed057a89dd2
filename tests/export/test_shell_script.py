"""The shell script is run, with the real `solar`, and interrupted by a stage that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from exported_chain import export

pytestmark = pytest.mark.slow


def _run(script: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", script.absolute()],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd="/",
    )


def test_the_script_runs_the_chain_and_goes_on_where_it_stopped(chains):
    (script,) = export("two.yml", "--to", "shell", "--gpus", "0", "--until", "first")
    first = _run(script)
    assert first.returncode == 0, first.stdout + first.stderr
    made = chains / "run" / "first" / "alpaca.jsonl"
    assert made.is_file()
    again = _run(script)
    assert again.returncode == 0
    assert "first: done: already" in again.stdout + again.stderr

    # A stage whose output was changed behind its back is refused; what needs it is not begun.
    (script,) = export("two.yml", "--to", "shell", "--gpus", "0")
    made.write_text(made.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    failed = _run(script)
    assert failed.returncode == 1
    assert failed.stderr.count("run/first/alpaca.jsonl") == 3  # three attempts
    assert "first: attempt 3 of 3 failed" in failed.stderr
    assert "second: not run, first is not done" in failed.stderr
    assert not (chains / "run" / "second").exists()
