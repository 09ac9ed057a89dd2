"""A chain as jobs: one per stage, each a `solar run` of that stage, with the jobs it waits for.

`solar run CHAIN --until STAGE` runs what is not done yet; once the jobs before it are done that is
the stage alone. A job that is started again resumes from the last whole checkpoint, and every
output is verified, as on one machine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from solar_plugins.chain.chain_file import Chain, Stage

RENDEZVOUS_PORT = 29400
"""torchrun's own default."""


@dataclass(frozen=True)
class Machines:
    """What the scheduler gives each job.

    Attributes:
        nodes: For each training; everything else runs on one.
        gpus, cpus: On each node.
        hours: For each job; a training that takes longer is queued again.
        setup: Shell lines that make `solar` callable (``source .venv/bin/activate``).
        options: Further options of the scheduler, verbatim.
    """

    nodes: int = 1
    gpus: int = 8
    cpus: int = 16
    hours: int = 24
    setup: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One stage.

    Attributes:
        nodes, gpus: A merge or a data set is made without GPU.
        after: The job before it: one `solar run` works in a folder at a time.
    """

    stage: Stage
    nodes: int
    gpus: int
    after: str | None

    @property
    def name(self) -> str:
        return self.stage.name


@dataclass(frozen=True)
class JobPlan:
    """All jobs of a chain.

    Attributes:
        folder: Where the scripts go.
        root: The folder that the paths in the recipes are relative to, absolute.
        settings: Options of `solar run` that every job passes on (``--set``, ``--base-model``).
        until: As for `solar run`: a stage, or a row of the paper's tables.
    """

    chain: Chain
    machines: Machines
    folder: Path
    root: Path
    settings: tuple[str, ...] = ()
    until: str | None = None

    @property
    def name(self) -> str:
        """The chain's name, in letters that every scheduler accepts."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.chain.name)

    @cached_property
    def jobs(self) -> list[Job]:
        """In an order in which each comes after its inputs."""
        jobs: list[Job] = []
        for stage in self.chain.order(self.until):
            nodes = self.machines.nodes if stage.kind == "train" else 1
            gpus = self.machines.gpus if stage.kind in ("train", "evaluate") else 0
            jobs.append(Job(stage, nodes, gpus, after=jobs[-1].name if jobs else None))
        return jobs

    def run_command(self, job: Job, rendezvous: Sequence[str] = ()) -> str:
        """The shell command of `job`; `rendezvous`: torchrun's options for several nodes."""
        words = ["solar", "run", str(self.chain.path), "--until", job.name, *self.settings]
        if self.until is not None and job.stage != self.chain.stages[job.name]:
            words[4] = self.until  # a row's evaluation is of its model alone
        command = shlex.join(words)
        if job.stage.kind != "train" or not job.gpus:
            return command
        nodes = ["--standalone"] if job.nodes == 1 else [f"--nnodes={job.nodes}"]
        options = [*nodes, f"--nproc-per-node={job.gpus}"]
        options += rendezvous if job.nodes > 1 else []
        return f"{command} --launcher torchrun -- {' '.join(options)}"


def rendezvous(host: str, identity: str) -> list[str]:
    """torchrun's options by which the nodes of one training find each other.

    Args:
        host: The first node, as shell text.
        identity: An id that no other training on the same nodes has, as shell text.
    """
    return [
        "--rdzv-backend=c10d",
        f'--rdzv-endpoint="{host}:{RENDEZVOUS_PORT}"',
        f'--rdzv-id="{identity}"',
    ]
