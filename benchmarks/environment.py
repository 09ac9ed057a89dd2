"""What a measurement was made on: machine, versions, commit; and how its repeats are told.

Whoever imports this is offline, and so is every command that it starts: no benchmark of this folder
waits for a network, or ends without one.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psutil

for _key in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "AXOLOTL_DO_NOT_TRACK"):
    os.environ[_key] = "1"

PACKAGES = ("axolotl", "mergekit", "torch", "transformers", "trl", "lm-eval", "deepspeed")


def environment() -> dict:
    """Facts that make a number repeatable; memory in GiB."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return {
        "machine": {
            "cpu": cpu,
            "cores": os.cpu_count(),
            "load_average": os.getloadavg(),  # near 0 if nothing ran beside, before it
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        },
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": commit,
    }


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, lowest and highest of the repeats."""
    found = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def told(values: Sequence[float], digits: int = 2) -> str:
    """`spread` for a table: ``1.05 (1.02 to 1.10)``."""
    found = [f"{value:.{digits}f}" for value in spread(values, digits).values()]
    return "{} ({} to {})".format(*found)
