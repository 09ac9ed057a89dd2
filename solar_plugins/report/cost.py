"""What each training was planned to take, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from solar_plugins.report.run import Run, StageRun
from solar_plugins.report.tables import Grid, duration

_TOKENS = ("num_tokens", "tokens/total")
"""What TRL's DPO and Axolotl's supervised trainer call the tokens so far; the first without, the
second with padding."""


@dataclass(frozen=True)
class Cost:
    """One training, or several together. None: not known, or not planned.

    Attributes:
        planned_steps, planned_tokens, planned_flops, planned_hours: of `solar plan`, for the GPUs
            that it ran on; hours only where the plan knows what such a GPU can do.
        steps, tokens: as its trainer logged them.
        wall_s: all attempts, from start to verified output.
        processes: one per GPU.
    """

    stage: str
    planned_steps: int | None
    steps: int | None
    planned_tokens: int | None
    tokens: int | None
    planned_flops: float | None
    planned_hours: float | None
    wall_s: float
    processes: int

    @property
    def gpu_hours(self) -> float:
        """Hours of one GPU, or of one process where there is none."""
        return self.processes * self.wall_s / 3600

    @property
    def flops_per_s(self) -> float | None:
        """The planned work over the time spent, per GPU; None where not planned."""
        if self.planned_flops is None or not self.wall_s:
            return None
        return self.planned_flops / self.wall_s / self.processes


def costs(run: Run) -> list[Cost]:
    """One per training that is done, in the chain's order."""
    found = []
    for stage in run.stages.values():
        if stage.kind != "train" or stage.record is None or "proofs" not in stage.facts:
            continue
        planned = stage.facts.get("planned") or {}
        found.append(
            Cost(
                stage.name,
                planned.get("steps"),
                max((log["step"] for log in stage.metrics), default=None),
                planned.get("tokens"),
                _tokens(stage),
                planned.get("flops"),
                planned.get("hours"),
                stage.record.wall_s,
                stage.facts["proofs"]["stage"]["world_size"],
            )
        )
    return found


def cost_grid(run: Run) -> Grid:
    """Steps, tokens, time and speed of every training, and the sums of what adds up."""
    found = costs(run)
    columns = ["stage", "steps planned", "taken", "tokens planned", "taken", "hours planned"]
    columns += ["spent", "GPU-hours", "TFLOP/s per GPU"]
    rows = [
        [
            cost.stage,
            _whole(cost.planned_steps),
            _whole(cost.steps),
            _whole(cost.planned_tokens),
            _whole(cost.tokens),
            _number(cost.planned_hours),
            duration(cost.wall_s),
            _number(cost.gpu_hours),
            _number(cost.flops_per_s and cost.flops_per_s / 1e12),
        ]
        for cost in found
    ]
    if len(found) > 1:
        numbers = ("planned_steps", "steps", "planned_tokens", "tokens")
        spent = duration(sum(cost.wall_s for cost in found))
        rows.append(
            ["together"]
            + [_whole(_sum(found, name)) for name in numbers]
            + [_number(_sum(found, "planned_hours")), spent, _number(_sum(found, "gpu_hours")), ""]
        )
    notes = [
        "Planned as by solar plan. Tokens taken are those of the last log; supervised trainings "
        "count the padding, which is not planned. Spent is all attempts, from start to verified "
        "output; TFLOP/s are the planned work over that time. Without GPUs, a process counts as "
        "one."
    ]
    return Grid("Cost of the trainings, planned and spent", columns, rows, notes)


def _tokens(stage: StageRun) -> int | None:
    """The last count, summed over the steps of sDPO: each of their trainers counts from nothing."""
    last: dict[Any, int] = {}
    for log in stage.metrics:
        for key in _TOKENS:
            if isinstance(log.get(key), int | float):
                last[log.get("sdpo_step")] = round(log[key])
    return sum(last.values()) if last else None


def _sum(found: list[Cost], name: str) -> Any:
    numbers = [getattr(cost, name) for cost in found]
    return None if None in numbers else sum(numbers)


def _whole(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}" if value >= 0.1 else f"{value:.2g}"
