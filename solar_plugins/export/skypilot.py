"""A chain as a SkyPilot managed pipeline: one task per stage, one after the other.

https://docs.skypilot.co/en/latest/examples/managed-jobs.html, section "Managed pipelines".
"""

from __future__ import annotations

from typing import Any

import yaml

from solar_plugins.chain.run.launcher import LAUNCHERS_VARIABLE
from solar_plugins.export.jobs import Job, JobPlan
from solar_plugins.render import render

_OUTPUTS = "/outputs"


def files(plan: JobPlan, gpu: str, store: str) -> dict[str, str]:
    """The files of the export by name, relative to its folder.

    Args:
        gpu: SkyPilot's name of the accelerator (``H100``).
        store: The bucket that keeps the outputs between the tasks (``s3://name``).
    """
    documents = [{"name": plan.name}, *(_task(plan, job, gpu, store) for job in plan.jobs)]
    header = (
        f"# {plan.chain.path} as a pipeline of managed jobs. A task begins when the one before it\n"
        "# has succeeded; one that is preempted goes on elsewhere, from its last checkpoint.\n"
        f"#   sky jobs launch {plan.folder}/pipeline.yaml\n"
    )
    texts = [yaml.dump(d, Dumper=_Readable, sort_keys=False, width=100) for d in documents]
    return {"pipeline.yaml": header + "---\n".join(texts)}


def _task(plan: JobPlan, job: Job, gpu: str, store: str) -> dict[str, Any]:
    setup = plan.machines.setup
    is_set = any(setting.startswith("output_dir=") for setting in plan.settings)
    output = "" if is_set else f" --set output_dir={_OUTPUTS}/{plan.name}"
    command = plan.run_command(job, "${SOLAR_HOSTS%% *}", "$SKYPILOT_TASK_ID", output)
    lines = [line for line in setup if line.startswith(("source ", ". ", "export "))]
    names = {"launchers_variable": LAUNCHERS_VARIABLE}
    start = f"{render(__file__, 'start_other_nodes.sh', **names)}\n" if job.nodes > 1 else ""
    gpus = {"accelerators": f"{gpu}:{job.gpus}"} if job.gpus else {}
    return {
        "name": f"{plan.name}-{job.name}".replace("_", "-").replace(".", "-"),
        "resources": {
            "cpus": f"{plan.machines.cpus}+",
            **gpus,
            "use_spot": True,
            "job_recovery": {"max_restarts_on_errors": 3},
        },
        "num_nodes": job.nodes,
        "workdir": str(plan.root),
        "file_mounts": {_OUTPUTS: {"source": store, "mode": "MOUNT_CACHED"}},
        "setup": "\n".join(setup or ("pip install 'solar-plugins[train]'",)) + "\n",
        "run": "".join(f"{line}\n" for line in lines) + f"{start}{command}\n",
    }


class _Readable(yaml.SafeDumper):
    """Texts of several lines as blocks."""


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)
