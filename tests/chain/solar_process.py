"""`solar` as a process: forked from one that has the tools imported, so that it starts at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


def _solar(arguments: tuple[str, ...], folder: Path, output: Path, limit: int | None) -> None:
    os.chdir(folder)
    # As at a terminal, also where the tests themselves run in the background of a shell.
    signal.signal(signal.SIGINT, signal.default_int_handler)
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
