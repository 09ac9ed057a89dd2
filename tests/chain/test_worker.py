"""The process of a stage, without the tools: how it ends, and that it ends with a killed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from solar_plugins.chain.run import worker

RUN = """
from pathlib import Path
from solar_plugins.chain.run import worker
from test_worker import start_another_program
worker._VERIFY = ()
workers = worker.Workers({"data"}, Path("lock"), Path("imports.log"))
workers.start(start_another_program, log=Path("log")).wait()
"""


def start_another_program():
    """As a launcher does."""
    process = subprocess.Popen(["sleep", "100"])
    Path("pid.new").write_text(str(process.pid))
    os.rename("pid.new", "pid")
    process.wait()


def add(a, b):
    print("adding")
    return a + b


def fail():
    raise ValueError("two\nlines")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def wait_until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_gone():
    pid = int(Path("pid").read_text())
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "_VERIFY", ())
    return worker.Workers({"data"}, Path("lock"), Path("imports.log"))


def test_the_outcome_is_what_it_returns_or_one_line(workers):
    log = Path("log")
    assert workers.start(add, 1, 2, log=log).wait().value == 3
    assert "adding" in log.read_text()
    assert workers.start(fail, log=log).wait().error == "ValueError: two lines"
    killed = workers.start(die, log=log).wait().error
    assert killed == "its process was ended by SIGKILL. Out of memory?"


def test_an_interruption_ends_the_child_and_what_it_started(workers):
    def interrupt():
        if Path("pid").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workers.start(start_another_program, log=Path("log")).wait(interrupt)
    wait_until(is_gone)


def test_nothing_outlives_a_killed_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = Path(__file__)
    paths = os.pathsep.join([str(here.parent), str(here.parents[2])])
    run = subprocess.Popen([sys.executable, "-c", RUN], env={**os.environ, "PYTHONPATH": paths})
    wait_until(Path("pid").exists)
    run.kill()
    run.wait()
    wait_until(is_gone)
