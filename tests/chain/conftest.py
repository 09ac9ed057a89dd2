"""`solar` as a process: forked from one that has the tools imported, so that it starts at once."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_chain

from solar_plugins.chain import worker

_STARTED_WARM = "axolotl.train" in sys.modules


@dataclass
class SolarProcess:
    """A running `solar` command."""

    process: Any
    output: Path

    def wait(self) -> tuple[int, str]:
        """Exit status and everything that it printed."""
        self.process.join()
        return self.process.exitcode, self.output.read_text()


class Solar:
    """Runs `solar` commands in a folder."""

    def __init__(self, context: Any, folder: Path) -> None:
        self._context = context
        self.folder = folder

    def start(self, *arguments: str, file_size_limit: int | None = None) -> SolarProcess:
        output = self.folder / f"output-{time.monotonic_ns()}.txt"
        process = self._context.Process(
            target=_solar, args=(arguments, self.folder, output, file_size_limit)
        )
        process.start()
        return SolarProcess(process, output)

    def __call__(self, *arguments: str, **options: Any) -> tuple[int, str]:
        return self.start(*arguments, **options).wait()


@pytest.fixture(scope="session")
def server() -> Any:
    """Where processes are forked from: everything that stages need is imported once."""
    if _STARTED_WARM:
        return multiprocessing.get_context("fork")
    context = multiprocessing.get_context("forkserver")
    modules = [name for kind in worker.PRELOAD.values() for name in kind]
    context.set_forkserver_preload([*worker._VERIFY, *modules])
    return context


@pytest.fixture
def solar(server: Any, tmp_path: Path) -> Solar:
    """`solar` in a folder that has the chain of `tiny_chain`."""
    making = server.Process(target=tiny_chain.write, args=(tmp_path,))
    making.start()
    making.join()
    assert making.exitcode == 0
    return Solar(server, tmp_path)


def _solar(arguments: tuple[str, ...], folder: Path, output: Path, limit: int | None) -> None:
    os.chdir(folder)
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    if limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["solar", *arguments]
    from solar_plugins.cli import main

    main()
