"""A chain as SLURM jobs: one script per stage, and one that submits them all."""

from __future__ import annotations

import shlex

from solar_plugins.chain.run.launcher import LAUNCHERS_VARIABLE
from solar_plugins.export.jobs import Job, JobPlan

_WARN_S = 300
"""How long before its time limit a job gets the signal to save and be queued again."""

_RUN = """
COMMAND &
run=$!
ends=0
trap 'ends=1; kill -TERM $run' TERM
wait $run
status=$?
# A signal ends the first wait; the second one waits for the checkpoint to be whole.
if [ $ends = 1 ]; then
  wait $run
  if [ "${SLURM_RESTART_COUNT:-0}" -lt 20 ]; then
    echo "out of time or preempted: $SLURM_JOB_ID is queued again"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
  fi
fi
exit $status
"""

_TORCHRUN = """\
#!/bin/bash
# The torchrun that `solar run` finds first: the real one, once on every node of the job.
python=$(dirname "$(command -v solar)")/python
exec srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \\
  --kill-on-bad-exit=1 "$python" -m torch.distributed.run "$@"
"""


def files(plan: JobPlan) -> dict[str, str]:
    """The files of the export by name, relative to its folder."""
    names = [f"{number:02}_{job.name}.sbatch" for number, job in enumerate(plan.jobs, 1)]
    made = {name: _script(plan, job) for name, job in zip(names, plan.jobs, strict=True)}
    made["submit.sh"] = _submit(plan, names)
    return made | ({"launchers/torchrun": _TORCHRUN} if plan.machines.nodes > 1 else {})


def _script(plan: JobPlan, job: Job) -> str:
    machines = plan.machines
    directives = [
        f"--job-name={plan.name}.{job.name}",
        f'--chdir="{plan.root}"',
        f'--output="{plan.folder.absolute()}/logs/{job.name}-%j.log"',
        "--open-mode=append",
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={machines.cpus}",
        *([f"--gpus-per-node={job.gpus}"] if job.gpus else []),
        f"--time={machines.hours}:00:00",
        "--requeue",
        f"--signal=B:TERM@{_WARN_S}",
        *machines.options,
    ]
    host = '$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {directive}" for directive in directives),
        f"# {plan.chain.path}: the stage {job.name} ({job.stage.kind}); submitted by submit.sh.",
        "set -uo pipefail",
        *machines.setup,
    ]
    if job.nodes > 1:
        lines += [
            "# torchrun is started on every node; the rest of `solar run` is on the first one.",
            f"export {LAUNCHERS_VARIABLE}={shlex.quote(str(plan.folder.absolute()))}/launchers",
        ]
    command = plan.run_command(job, host, "$SLURM_JOB_ID")
    return "\n".join(lines) + "\n" + _RUN.replace("COMMAND", command)


def _submit(plan: JobPlan, scripts: list[str]) -> str:
    lines = [
        "#!/bin/bash",
        f"# Submits {plan.chain.path} to SLURM: one job per stage, each after what it needs.",
        "#   bash submit.sh            options of sbatch may follow, for every job",
        "# Stages that are done already end at once, so it may be submitted again at any time.",
        "set -euo pipefail",
        f"cd {shlex.quote(str(plan.folder.absolute()))}",
        "mkdir -p logs",
        "declare -A job",
        "",
    ]
    before = None
    for job, script in zip(plan.jobs, scripts, strict=True):
        after = [f"afterok:${{job[{name}]}}" for name in job.stage.needs]
        if before is not None and before not in job.stage.needs:
            # One run works in a folder at a time; whether that one succeeds does not matter here.
            after.append(f"afterany:${{job[{before}]}}")
        depends = f'--dependency="{",".join(after)}" --kill-on-invalid-dep=yes ' if after else ""
        lines.append(f'job[{job.name}]=$(sbatch --parsable "$@" {depends}{script})')
        lines.append(f'echo "{job.name}: job ${{job[{job.name}]}}"')
        before = job.name
    return "\n".join(lines) + "\n"
