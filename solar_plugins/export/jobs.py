"""A chain as jobs: one per stage, each a `solar run` of that stage, with what it must wait for.

`solar run CHAIN --until STAGE` runs what is not done yet; once the jobs before it are done that is
the stage alone. So a job that is started again goes on from the last whole checkpoint, and nothing
is trained twice or goes unverified, as on one machine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from solar_plugins.chain.chain_file import Chain, Stage
from solar_plugins.chain.run.select_stages import wanted

RENDEZVOUS_PORT = 29400
"""torchrun's own default."""


@dataclass(frozen=True)
class Machines:
    """What the jobs are given.

    Attributes:
        nodes: For each training; everything else runs on one.
        gpus: On each node; 0 for none.
        cpus: On each node.
        hours: For each job; a training that takes longer is put into the queue again.
        setup: Shell lines that make `solar` callable (``source .venv/bin/activate``).
        options: Further options of the scheduler, as it takes them.
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
        stage: The stage.
        nodes, gpus: What it is given; a merge or a data set is made without GPU.
        needs: The stages that must be done.
        after: The job before it in line: one `solar run` works in a folder at a time.
    """

    stage: Stage
    nodes: int
    gpus: int
    needs: tuple[str, ...]
    after: str | None

    @property
    def name(self) -> str:
        return self.stage.name


@dataclass(frozen=True)
class Plan:
    """All jobs of a chain and what they have in common.

    Attributes:
        chain: The chain.
        machines: What the jobs are given.
        folder: Where the scripts go.
        root: The folder that the paths in the recipes count from, absolute.
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
        """The chain's name, in letters that every scheduler takes."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.chain.name)

    @cached_property
    def jobs(self) -> list[Job]:
        """In an order in which each comes after what it needs."""
        jobs: list[Job] = []
        for stage in wanted(self.chain, self.until):
            has_gpus = stage.kind in ("train", "evaluate")
            jobs.append(
                Job(
                    stage,
                    nodes=self.machines.nodes if stage.kind == "train" else 1,
                    gpus=self.machines.gpus if has_gpus else 0,
                    needs=stage.needs,
                    after=jobs[-1].name if jobs else None,
                )
            )
        return jobs

    def run_command(self, job: Job, rendezvous: Sequence[str] = ()) -> str:
        """The command of `job` for a shell.

        Args:
            job: One of `jobs`.
            rendezvous: torchrun's options for several nodes, in which the shell puts variables in.
        """
        # A row's evaluation is of its model alone.
        is_whole = job.stage == self.chain.stages[job.name]
        until = job.name if is_whole else self.until
        words = ["solar", "run", str(self.chain.path), "--until", until, *self.settings]
        command = shlex.join(words)
        if job.stage.kind != "train" or not job.gpus:
            return command
        if job.nodes == 1:
            return f"{command} --launcher torchrun -- --standalone --nproc-per-node={job.gpus}"
        options = [f"--nnodes={job.nodes}", f"--nproc-per-node={job.gpus}", *rendezvous]
        return f"{command} --launcher torchrun -- " + " ".join(options)


def rendezvous(host: str, identity: str) -> list[str]:
    """torchrun's options by which the nodes of one training find each other.

    Args:
        host: The first node, as shell text.
        identity: What tells this training from another one on the same nodes, as shell text.
    """
    return [
        "--rdzv-backend=c10d",
        f'--rdzv-endpoint="{host}:{RENDEZVOUS_PORT}"',
        f'--rdzv-id="{identity}"',
    ]
