"""A chain as SLURM jobs: one script per stage, and one that submits them all."""

from __future__ import annotations

import shlex

from solar_plugins.chain.run.launcher import LAUNCHERS_VARIABLE
from solar_plugins.export.jobs import Job, JobPlan, rendezvous

_WARN_S = 300
"""How long before its time limit a job gets the signal to save and be queued again."""

_MOST_REQUEUES = 20


def files(plan: JobPlan) -> dict[str, str]:
    """The files of the export by name, relative to its folder."""
    made = {
        f"{number:02}_{job.name}.sbatch": _script(plan, job)
        for number, job in enumerate(plan.jobs, 1)
    }
    made["submit.sh"] = _submit(plan)
    if plan.machines.nodes > 1:
        made["launchers/torchrun"] = _TORCHRUN
    return made


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
    command = plan.run_command(job, rendezvous(host, "$SLURM_JOB_ID"))
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
    lines += [
        "",
        f"{command} &",
        "run=$!",
        "ends=0",
        "trap 'ends=1; kill -TERM $run' TERM",
        "wait $run",
        "status=$?",
        "# A signal ends the first wait; the second one waits for the checkpoint to be whole.",
        "if [ $ends = 1 ]; then",
        "  wait $run",
        f'  if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {_MOST_REQUEUES} ]; then',
        '    echo "out of time or preempted: $SLURM_JOB_ID is queued again"',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "    exit 0",
        "  fi",
        "fi",
        "exit $status",
    ]
    return "\n".join(lines) + "\n"


def _submit(plan: JobPlan) -> str:
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
    for number, job in enumerate(plan.jobs, 1):
        after = [f"afterok:${{job[{name}]}}" for name in job.stage.needs]
        if job.after is not None and job.after not in job.stage.needs:
            # One run works in a folder at a time; whether that one succeeds does not matter here.
            after.append(f"afterany:${{job[{job.after}]}}")
        depends = f'--dependency="{",".join(after)}" --kill-on-invalid-dep=yes ' if after else ""
        script = f"{number:02}_{job.name}.sbatch"
        lines.append(f'job[{job.name}]=$(sbatch --parsable "$@" {depends}{script})')
        lines.append(f'echo "{job.name}: job ${{job[{job.name}]}}"')
    return "\n".join(lines) + "\n"


_TORCHRUN = """\
#!/bin/bash
# The torchrun that `solar run` finds first: the real one, once on every node of the job.
python=$(dirname "$(command -v solar)")/python
exec srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \\
  --kill-on-bad-exit=1 "$python" -m torch.distributed.run "$@"
"""
