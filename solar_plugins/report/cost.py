"""What each training was planned to take, and what it took."""

from __future__ import annotations

from typing import Any

from solar_plugins.plan.gpu_specs import of_device
from solar_plugins.report.run import Run, StageRun
from solar_plugins.report.tables import Grid, duration, number

_TOKENS = ("num_tokens", "tokens/total")
"""What TRL's DPO and Axolotl's supervised trainer call the tokens so far; the first without, the
second with padding."""


def costs(run: Run) -> list[dict[str, Any]]:
    """One per training that is done, in the chain's order; None: not known, or not planned.

    `planned_…` are those of `solar plan` for the GPUs that it ran on, hours only where the plan
    knows what such a GPU can do; `steps` and `tokens` as the trainer logged them; `wall_s` all
    attempts, from start to verified output; `gpu_hours` of one GPU, or of one process where there
    is none; `flops_per_s` the planned work over the time spent, per GPU; `energy_kwh` what these
    GPUs draw at most in that time.
    """
    found = []
    for stage in run.stages.values():
        if stage.kind != "train" or stage.record is None or "proofs" not in stage.facts:
            continue
        planned = stage.facts.get("planned") or {}
        wall_s, gpus = stage.record.wall_s, stage.facts["proofs"]["stage"]["world_size"]
        flops = planned.get("flops")
        gpu = of_device(str(stage.facts["proofs"]["stage"].get("device")))
        watts = gpu and gpu.watts
        found.append(
            {
                "stage": stage.name,
                "planned_steps": planned.get("steps"),
                "steps": max((log["step"] for log in stage.metrics), default=None),
                "planned_tokens": planned.get("tokens"),
                "tokens": _tokens(stage),
                "planned_hours": planned.get("hours"),
                "wall_s": wall_s,
                "gpu_hours": gpus * wall_s / 3600,
                "flops_per_s": flops / wall_s / gpus if flops and wall_s else None,
                "energy_kwh": watts and watts * gpus * wall_s / 3.6e6,
            }
        )
    return found


def cost_grid(run: Run) -> Grid:
    """Steps, tokens, time and speed of every training, and the sums of what adds up."""
    found = costs(run)
    if len(found) > 1:
        sums = {key: _sum([cost[key] for cost in found]) for key in found[0] if key != "stage"}
        found.append({"stage": "together", **sums, "flops_per_s": None})
    columns = ["stage", "steps planned", "taken", "tokens planned", "taken", "hours planned"]
    columns += ["spent", "GPU-hours", "TFLOP/s per GPU"]
    whole = ("planned_steps", "steps", "planned_tokens", "tokens")
    rows = [
        [
            cost["stage"],
            *[number(cost[key], ",") for key in whole],
            _short(cost["planned_hours"]),
            duration(cost["wall_s"]),
            _short(cost["gpu_hours"]),
            _short(cost["flops_per_s"], 1e12),
        ]
        for cost in found
    ]
    note = (
        "Planned as by solar plan. Tokens taken are those of the last log; supervised trainings "
        "count the padding, which is not planned. Spent is all attempts, from start to verified "
        "output; TFLOP/s are the planned work over that time. Without GPUs, a process counts as "
        "one."
    )
    return Grid("Cost of the trainings, planned and spent", columns, rows, [note])


def _tokens(stage: StageRun) -> int | None:
    """The last count, summed over the steps of sDPO: each of their trainers counts from nothing."""
    last: dict[Any, int] = {}
    for log in stage.metrics:
        for key in _TOKENS:
            if isinstance(log.get(key), int | float):
                last[log.get("sdpo_step")] = round(log[key])
    return sum(last.values()) if last else None


def _sum(numbers: list[Any]) -> Any:
    """None where a part is not known: the sum would look like all of it."""
    return None if None in numbers else sum(numbers)


def _short(value: float | None, unit: float = 1) -> str:
    value = value and value / unit
    return number(value, ",.2f" if (value or 0) >= 0.1 else ".2g")
