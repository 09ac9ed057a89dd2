"""Starting a training on GPUs, through Axolotl's own command line."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from solar_plugins.errors import SolarError

LAUNCHERS = ("accelerate", "torchrun", "python")
"""What ``axolotl train --launcher`` takes."""

LAUNCHERS_VARIABLE = "SOLAR_LAUNCHERS"
"""Names a folder whose `accelerate` and `torchrun` are taken before those of the environment.

The job scripts of `solar export` put one there that starts the real one on every node.
"""

IN_PROCESS = "none"
"""No launcher: the training runs in a forked child, without a start of its own."""


def gpu_count() -> int:
    """How many NVIDIA GPUs this machine shows to a process started now, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = [name.strip() for name in (visible or "").split(",") if name.strip()]
    hidden = visible is not None and devices[:1] in ([], ["-1"])
    if hidden or shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    found = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return min(found, len(devices)) if visible is not None else found


def choose(asked: str | None, launcher_args: Sequence[str]) -> str:
    """The launcher to use: the one asked for, else accelerate where there are GPUs."""
    if asked == IN_PROCESS and launcher_args:
        raise SolarError(
            f"{' '.join(launcher_args)}: found after '--', but --launcher {IN_PROCESS} starts "
            f"no launcher to take it. Choose one of {', '.join(LAUNCHERS)}."
        )
    return asked or ("accelerate" if launcher_args or gpu_count() else IN_PROCESS)


def processes(launcher: str, launcher_args: Sequence[str]) -> int | None:
    """On how many processes a training will run; None where that is not known here."""
    if not launcher_args:
        # torchrun starts one by default, accelerate one per GPU.
        return max(1, gpu_count()) if launcher == "accelerate" else 1
    text = " ".join(launcher_args).replace("-", "_")
    given = dict(re.findall(r"__(num_processes|nnodes|nproc_per_node)[= ](\S+)", text))
    counts = [given.get("nproc_per_node", ""), given.get("nnodes", "1")]
    if launcher == "accelerate":
        counts = [given.get("num_processes", "")]
    return math.prod(map(int, counts)) if all(map(str.isdigit, counts)) else None


def train_command(resolved: Path, launcher: str, launcher_args: Sequence[str]) -> list[str]:
    """The command that trains the resolved recipe.

    >>> train_command(Path("cpt.yml"), "torchrun", ["--nnodes", "2"])[1:]
    ['-m', 'axolotl.cli.main', 'train', 'cpt.yml', '--launcher', 'torchrun', '--', '--nnodes', '2']
    """
    command = [sys.executable, "-m", "axolotl.cli.main", "train", str(resolved)]
    command += ["--launcher", launcher]
    return [*command, "--", *launcher_args] if launcher_args else command
