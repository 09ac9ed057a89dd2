"""A chain as one shell script, for machines without a scheduler."""

from __future__ import annotations

import shlex

from solar_plugins.chain.run.launcher import LAUNCHERS_VARIABLE
from solar_plugins.export.jobs import JobPlan
from solar_plugins.render import render


def files(plan: JobPlan) -> dict[str, str]:
    """The files of the export by name, relative to its folder."""
    several = plan.machines.nodes > 1
    script = render(
        __file__,
        "run.sh",
        **{"plan": plan, "several": several, "quote": shlex.quote},
        quoted_folder=shlex.quote(str(plan.folder.absolute())),
        launchers_variable=LAUNCHERS_VARIABLE,
    )
    made = {"run.sh": script + "\n"}
    return made | (
        {"launchers/torchrun": render(__file__, "torchrun_ssh.sh") + "\n"} if several else {}
    )
