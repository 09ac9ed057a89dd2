"""A chain as SLURM jobs: one script per stage, and one that submits them all."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from solar_plugins.chain.run.launcher import LAUNCHERS_VARIABLE
from solar_plugins.export.jobs import Job, JobPlan
from solar_plugins.render import render

_HOST = '$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'


def files(plan: JobPlan) -> dict[str, str]:
    """The files of the export by name, relative to its folder."""
    folder = str(plan.folder.absolute())
    values = {"plan": plan, "folder": folder, "quoted_folder": shlex.quote(folder)}
    values["launchers_variable"] = LAUNCHERS_VARIABLE
    made, jobs = {}, []
    for number, (job, after) in enumerate(_dependencies(plan), 1):
        name, command = (
            f"{number:02}_{job.name}.sbatch",
            plan.run_command(job, _HOST, "$SLURM_JOB_ID"),
        )
        made[name] = render(__file__, "job.sbatch", job=job, command=command, **values) + "\n"
        jobs.append((job, name, ",".join(after)))
    made["submit.sh"] = render(__file__, "submit.sh", jobs=jobs, **values)
    if plan.machines.nodes > 1:
        made["launchers/torchrun"] = f"{render(__file__, 'torchrun_srun.sh')}\n"
    return made


def _dependencies(plan: JobPlan) -> Iterator[tuple[Job, list[str]]]:
    """Each job, with what sbatch has it wait for."""
    before = None
    for job in plan.jobs:
        after = [f"afterok:${{job[{name}]}}" for name in job.stage.needs]
        if before is not None and before not in job.stage.needs:
            # One run works in a folder at a time; whether that one succeeds does not matter here.
            after.append(f"afterany:${{job[{before}]}}")
        yield job, after
        before = job.name
