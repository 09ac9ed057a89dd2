"""One process per stage.

Importing Axolotl, MergeKit and lm-eval takes most of a minute on a small machine, so a server
process imports them once and forks a child for every stage (multiprocessing's ``forkserver``). The
parent, which talks to the user, imports none of them, and CUDA is initialised in children only.

A child writes to the stage's log, is the head of its own process group (Ctrl-C reaches the parent
alone, which then ends the child), and dies with the parent, also where the parent is killed with
signal 9: no work goes on that nobody would record.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import gc
import multiprocessing
import multiprocessing.forkserver
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from solar_plugins.errors import SolarError
from solar_plugins.installed import is_missing

PRELOAD = {
    "train": (
        "axolotl.cli.config",
        "axolotl.cli.train",
        "axolotl.common.datasets",
        "axolotl.core.builders.causal",
        "axolotl.core.builders.rl",
        "axolotl.core.trainers.dpo",
        "axolotl.loaders",
        "axolotl.train",
        "axolotl.utils.data",
        "axolotl.utils.schemas.config",
        "trl.trainer.dpo_trainer",
    ),
    "merge": ("mergekit.merge", "mergekit.scripts.run_yaml"),
    "evaluate": ("lm_eval", "lm_eval.tasks", "lm_eval.models.huggingface"),
    "data": (),
}
"""What the server imports for each kind of stage."""

_VERIFY = ("torch", "transformers.models.auto.modeling_auto", "transformers.models.auto")

_TICK_S = 0.2

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass
class Outcome:
    """How a piece of work ended: `error` in one line, or what it returned."""

    value: Any = None
    error: str | None = None
    peak_memory_gib: float = 0.0


@dataclass
class Work:
    """A child at work."""

    process: Any
    results: connection.Connection
    outcome: Outcome | None = None

    def wait(self, tick: Callable[[], None] = lambda: None) -> Outcome:
        """Wait for the outcome and call `tick` several times a second; if that raises, or Ctrl-C
        comes, the child is ended."""
        try:
            while self.outcome is None:
                tick()
                if self.results.poll(_TICK_S):
                    self.outcome = self._receive()
            tick()
        except BaseException:
            self.kill()
            raise
        self.process.join()
        return self.outcome

    def _receive(self) -> Outcome:
        try:
            return self.results.recv()
        except EOFError:  # it died without a result
            self.process.join()
            code = self.process.exitcode
        if code is None or code >= 0:
            return Outcome(error=f"its process ended without a result (exit status {code}).")
        name = signal.Signals(-code).name
        hint = " Out of memory?" if name == "SIGKILL" else ""
        return Outcome(error=f"its process was ended by {name}.{hint}")

    def kill(self) -> None:
        """End the child and everything that it started, at once."""
        if self.process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # not yet the head of its group
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
        self.process.join()


class Workers:
    """Starts children; imports nothing heavy itself.

    Args:
        kinds: The kinds of stages to come, which decide what the server imports.
        lock: A file that each child holds while it works, so that a child of a killed run, still
            on its way out, and a child of the next run never write to one folder.
        log: Where the server's own output goes.
    """

    def __init__(self, kinds: set[str], lock: Path, log: Path) -> None:
        modules = [*_VERIFY, *(name for kind in sorted(kinds) for name in PRELOAD[kind])]
        self._lock = lock
        is_server = threading.active_count() == 1 and all(name in sys.modules for name in modules)
        self._context: Any = multiprocessing.get_context("fork" if is_server else "forkserver")
        if is_server:  # this process has the imports
            return
        self._context.set_forkserver_preload(modules)
        with _output_to(log):
            # The server keeps the output that it starts with: not the terminal with its live table.
            multiprocessing.forkserver.ensure_running()

    def start(
        self, work: Callable[..., Any], *args: Any, log: Path, env: dict[str, str] | None = None
    ) -> Work:
        """Run ``work(*args)`` in a child with `env` added; its output is appended to `log`."""
        results, sender = self._context.Pipe(duplex=False)
        given = (sender, self._lock, log, env or {}, work, args)
        process = self._context.Process(target=_child, args=given, daemon=False)
        process.start()
        sender.close()
        return Work(process, results)


def one_line(error: BaseException) -> str:
    """An exception as one line that says what went wrong."""
    text = " ".join(str(error).split())
    full = "No space left on device" in text or "os error 28" in text
    if full or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        file = error.filename if isinstance(error, OSError) and error.filename else ""
        return f"{file or 'disk'}: no space left. Free some, then run the same command again."
    if isinstance(error, SolarError):
        return text
    if isinstance(error, SystemExit):
        return f"the stage exited early (exit status {error.code})."
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{is_missing(error.name)}."
    text = text.split(" For further information visit https://errors.pydantic.dev")[0]
    text = text if len(text) <= 600 else f"{text[:600]} …"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _child(
    results: connection.Connection,
    lock: Path,
    log: Path,
    env: dict[str, str],
    work: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    os.setsid()
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.update(env)
    _redirect(log)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", 1, "utf-8", closefd=False) for n in (1, 2))
    print(f"\n=== {time.strftime('%Y-%m-%d %H:%M:%S')} {work.__name__} ===", flush=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = Outcome()
        # Axolotl collects garbage after every step of DPO; what the server imported is none.
        gc.freeze()
        try:
            outcome.value = work(*args)
        except BaseException as error:  # the end of a process: whatever it was is the outcome
            traceback.print_exc()
            outcome.error = one_line(error)
    sys.stdout.flush()
    sys.stderr.flush()
    # The most that this process, or the largest of those that it started, has held.
    each = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    most = max(resource.getrusage(who).ru_maxrss for who in each)
    outcome.peak_memory_gib = most * (1 if sys.platform == "darwin" else 1024) / 2**30
    results.send(outcome)
    results.close()
    # Threads of the tools (telemetry, data loaders) must not keep a finished child.
    os._exit(0)


def _redirect(log: Path) -> None:
    """Send everything that this process and its libraries print to the end of `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """For a moment, this process's own output goes to the end of `log`."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    try:
        _redirect(log)
        yield
    finally:
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


def _die_with_parent() -> None:
    """End this process and all that it started when the process that asked for it is gone.

    The kernel's own signal for a parent's death would end this process alone, and what a launcher
    has started would go on.
    """
    import psutil

    parent = multiprocessing.parent_process()
    if sys.platform == "linux":
        # What a launcher leaves behind becomes ours, so that it can be found and ended.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def watch() -> None:
        if parent is not None:
            connection.wait([parent.sentinel])
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            os.killpg(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="solar-parent-watch", daemon=True).start()
