"""Writes the files of an export."""

from __future__ import annotations

from pathlib import Path

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.export import shell, skypilot, slurm
from solar_plugins.export.jobs import JobPlan


def write(plan: JobPlan, to: str, gpu: str = "", store: str = "") -> list[Path]:
    """Write `plan` for ``slurm``, ``skypilot`` or ``shell``; returns the files.

    Raises:
        SolarError: a line of the scheduler would be broken by a name in it.
    """
    for text in (plan.chain.name, str(plan.root), *plan.machines.setup, *plan.machines.options):
        if "\n" in text:
            raise SolarError(f"{text!r}: a line break, which no job script can hold. Take it out.")
    if to == "skypilot":
        made = skypilot.files(plan, gpu, store)
    else:
        made = slurm.files(plan) if to == "slurm" else shell.files(plan)
    written = []
    for name, text in made.items():
        path = plan.folder / name
        atomic.write_text(path, text)
        if text.startswith("#!"):
            path.chmod(path.stat().st_mode | 0o111)
        written.append(path)
    if to == "slurm":
        (plan.folder / "logs").mkdir(exist_ok=True)  # sbatch does not make it
    return written
