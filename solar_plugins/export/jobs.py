"""A chain as jobs: one per stage, each a `solar run` of that stage, with the jobs it waits for.

`solar run CHAIN --until STAGE` runs what is not done yet; once the jobs before it are done that is
the stage alone. A job that is started again resumes from the last whole checkpoint, and every
output is verified, as on one machine.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from solar_plugins.chain.chain_file import Chain, Stage

_RENDEZVOUS_PORT = 29400
"""torchrun's own default."""


@dataclass(frozen=True)
class Machines:
    """What the scheduler gives each job."""

    nodes: int = 1  # for each training; everything else runs on one
    gpus: int = 8  # on each node, as the CPUs
    cpus: int = 16
    hours: int = 24  # a training that takes longer is queued again
    setup: tuple[str, ...] = ()  # lines that make `solar` callable (``source .venv/bin/activate``)
    options: tuple[str, ...] = ()  # further ones of the scheduler, verbatim


@dataclass(frozen=True)
class Job:
    """One stage; merges and data sets are made without GPU, the contamination test runs on one."""

    name: str
    stage: Stage
    nodes: int
    gpus: int


@dataclass(frozen=True)
class JobPlan:
    """All jobs of a chain."""

    chain: Chain
    machines: Machines
    folder: Path  # where the scripts go
    root: Path  # the folder that the paths in the recipes are relative to, absolute
    settings: tuple[str, ...] = ()  # options of `solar run` that every job passes on
    until: str | None = None  # as for `solar run`: a stage, or a row of the paper's tables

    @property
    def name(self) -> str:
        """The chain's name, in letters that every scheduler accepts."""
        return plain_name(self.chain)

    @cached_property
    def jobs(self) -> list[Job]:
        """In an order in which each comes after its inputs."""
        machines = self.machines
        return [
            Job(
                stage.name,
                stage,
                nodes=machines.nodes if stage.kind == "train" else 1,
                gpus=self._gpus(stage),
            )
            for stage in self.chain.order(self.until)
        ]

    def _gpus(self, stage: Stage) -> int:
        if stage.kind in ("train", "evaluate"):
            return self.machines.gpus
        runs_models = stage.kind == "data" and "reference" in self.chain.recipe(stage)
        return min(self.machines.gpus, int(runs_models))  # the contamination test

    def run_command(self, job: Job, host: str, identity: str, options: str = "") -> str:
        """The shell command of `job`.

        Args:
            host: Shell text for the first node of a training on several, which find each other
                there.
            identity: Shell text for an id that no other training on the same nodes has.
            options: Further options of `solar run`.
        """
        words = ["solar", "run", str(self.chain.path), "--until", job.name, *self.settings]
        if self.until is not None and job.stage != self.chain.stages[job.name]:
            words[4] = self.until  # a row's evaluation is of its model alone
        command = shlex.join(words) + options
        if job.stage.kind != "train" or not job.gpus:
            return command
        nodes, meeting = "--standalone", ""
        if job.nodes > 1:
            nodes = f"--nnodes={job.nodes}"
            meeting = (
                f' --rdzv-backend=c10d --rdzv-endpoint="{host}:{_RENDEZVOUS_PORT}"'
                f' --rdzv-id="{identity}"'
            )
        return f"{command} --launcher torchrun -- {nodes} --nproc-per-node={job.gpus}{meeting}"


def plain_name(chain: Chain) -> str:
    """The name of `chain`, in letters that every scheduler and file system accepts."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", chain.name)
