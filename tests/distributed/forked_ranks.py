"""Distributed runs as forks of this process, which has imported everything already.

A run through torchrun spends a minute on the imports of its ranks; forked ones have done them.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from functools import partial
from pathlib import Path

import yaml
from forked_process import fork


class RankedRun:
    """`axolotl train` of a recipe on `ranks` processes over gloo.

    Args:
        values: the recipe.
        name: part of the log's name.
        ranks: how many processes.
    """

    def __init__(self, values: dict, name: str = "ranks", ranks: int = 2):
        output = Path(values["output_dir"])
        output.parent.mkdir(parents=True, exist_ok=True)
        self.recipe = output.parent / f"{output.name}.yml"
        self.recipe.write_text(yaml.safe_dump(values))
        self.log = output.parent / f"{output.name}.{name}.log"
        self.log.write_text("")
        _drop_stale_locks()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.pids = [
            fork(partial(self._train, rank, ranks, port), self.log) for rank in range(ranks)
        ]

    def _train(self, rank: int, ranks: int, port: int) -> None:
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(ranks),
            LOCAL_WORLD_SIZE=str(ranks),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        os.environ.pop("ACCELERATE_USE_CPU", None)  # it would turn DeepSpeed off

        import axolotl.utils.distributed
        from accelerate.state import AcceleratorState, GradientState
        from axolotl.logging_config import configure_logging
        from train_on_cpu_ranks import main

        # What an earlier run in the parent left set.
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        axolotl.utils.distributed.distributed_state = None
        configure_logging()  # the parent's writes to what was its output then
        main(str(self.recipe))

    def end(self, timeout_s: float = 600) -> str:
        """Wait for all ranks to succeed; when one fails the others are killed. Returns the log."""
        self._wait(timeout_s)
        text = self.log.read_text()
        assert set(self.status.values()) == {0}, f"{self.status}\n{text[-6000:]}"
        return text

    def kill_when(self, path: Path, timeout_s: float = 120) -> None:
        """kill -9 of all ranks as soon as `path` exists."""
        deadline = time.monotonic() + timeout_s
        running = True
        while running and not path.exists() and time.monotonic() < deadline:
            running = os.waitpid(self.pids[0], os.WNOHANG)[0] == 0
            time.sleep(0.001)
        there = path.exists()
        for pid in self.pids if running else self.pids[1:]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert there, f"{path} was not written\n{self.log.read_text()[-4000:]}"

    def _wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        self.status: dict[int, int] = {}
        while len(self.status) < len(self.pids):
            for pid in [pid for pid in self.pids if pid not in self.status]:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    self.status[pid] = os.waitstatus_to_exitcode(status)
            running = [pid for pid in self.pids if pid not in self.status]
            if running and (any(self.status.values()) or time.monotonic() > deadline):
                time.sleep(1)  # the others' last words
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def _drop_stale_locks(after_s: float = 300) -> None:
    """Every start waits for the lock that a killed build of DeepSpeed's extension left."""
    for lock in Path(os.environ["TORCH_EXTENSIONS_DIR"]).glob("*/lock"):
        if time.time() - lock.stat().st_mtime > after_s:
            lock.unlink()
