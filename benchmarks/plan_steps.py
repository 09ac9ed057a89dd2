"""Steps and tokens that `solar plan` says, beside those of a run that is done.

    .venv/bin/python benchmarks/plan_steps.py recipes/tiny/paper.yml outputs/tiny

The steps taken are the last ones that the trainer logged. Tokens are those of the rows that it was
given: of Axolotl's prepared data once per epoch, and for preference data what TRL counts. Prints
JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from environment import environment

from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.chain.training import metrics
from solar_plugins.plan.stages import GIB, Machine, plan_chain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chain", help="the chain that was run")
    parser.add_argument("run", type=Path, help="its output folder")
    asked = parser.parse_args()

    folder, found = RunFolder(asked.run), {}
    for stage in plan_chain(asked.chain, Machine(gpus=1, gpu_bytes=80 * GIB)).stages:
        logs = metrics.read(folder.metrics(stage.stage))
        if stage.kind != "train" or not logs:
            continue
        steps, tokens = max(log["step"] for log in logs), _tokens(folder, stage.stage, logs)
        found[stage.stage] = {
            "steps": {"planned": stage.steps, "taken": steps},
            "tokens": {"planned": stage.tokens, "taken": tokens},
            "error": round(stage.tokens / tokens - 1, 4),
        }
    print(json.dumps({"environment": environment(), "stages": found}, indent=2))


def _tokens(folder: RunFolder, stage: str, logs: list[dict[str, Any]]) -> int:
    counted = {log["sdpo_step"]: log["num_tokens"] for log in logs if "num_tokens" in log}
    if counted:
        return round(sum(counted.values()))
    from datasets import load_from_disk

    (prepared,) = folder.prepared(stage).glob("*/state.json")
    rows = load_from_disk(str(prepared.parent))["input_ids"]
    return round(sum(map(len, rows)) * logs[-1]["epoch"])


if __name__ == "__main__":
    main()
