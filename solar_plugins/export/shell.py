"""A chain as one shell script, for machines without a scheduler."""

from __future__ import annotations

import shlex

from solar_plugins.chain.run.launcher import LAUNCHERS_VARIABLE
from solar_plugins.export.jobs import JobPlan

_STAGE = """\
trap 'echo stopped, the same command goes on from here; exit 130' INT TERM
declare -A done_
failed=0

stage() { # NAME 'STAGES IT NEEDS' COMMAND…
  local name=$1 needs=$2 attempt
  shift 2
  for need in $needs; do
    if [ -z "${done_[$need]:-}" ]; then
      echo "$name: not run, $need is not done" >&2; failed=1; return
    fi
  done
  for attempt in 1 2 3; do
    "$@" && { done_[$name]=1; return; }
    echo "$name: attempt $attempt of 3 failed" >&2
  done
  failed=1
}
"""

TORCHRUN_OVER_SSH = """\
#!/bin/bash
# The torchrun that `solar run` finds first: the real one, here and over ssh on the other nodes of
# SOLAR_HOSTS. They need the same folders and the same environment at the same paths.
python=$(dirname "$(command -v solar)")/python
others=${SOLAR_HOSTS#* }
trap 'kill $(jobs -p) 2>/dev/null' EXIT
for host in $others; do
  ssh -o BatchMode=yes -tt "$host" \\
    "cd $(printf %q "$PWD") && $(printf '%q ' "$python" -m torch.distributed.run "$@")" &
done
"$python" -m torch.distributed.run "$@"
"""


def files(plan: JobPlan) -> dict[str, str]:
    """The files of the export by name, relative to its folder."""
    several = plan.machines.nodes > 1
    lines = [
        "#!/bin/bash",
        f"# Runs {plan.chain.path}: each stage after what it needs, up to 3 times, from its last",
        "# whole checkpoint. What is done already is not run again; start it as often as",
        "# you like." + (' SOLAR_HOSTS="first second …" names the nodes.' if several else ""),
        "set -uo pipefail",
        f"cd {shlex.quote(str(plan.root))}",
        *plan.machines.setup,
    ]
    if several:
        launchers = shlex.quote(str(plan.folder.absolute()))
        lines += [
            ': "${SOLAR_HOSTS:?name the nodes: SOLAR_HOSTS=\\"first second\\" bash run.sh}"',
            f"export SOLAR_HOSTS {LAUNCHERS_VARIABLE}={launchers}/launchers",
        ]
    lines.append(_STAGE)
    for job in plan.jobs:
        command = plan.run_command(job, "${SOLAR_HOSTS%% *}", f"$$-{job.name}")
        lines.append(f"stage {job.name} {shlex.quote(' '.join(job.stage.needs))} {command}")
    made = {"run.sh": "\n".join([*lines, "exit $failed"]) + "\n"}
    return made | ({"launchers/torchrun": TORCHRUN_OVER_SSH} if several else {})
