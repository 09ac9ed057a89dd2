"""A plan as people read it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from solar_plugins.plan.stages import Plan, StagePlan


def show(plan: Plan, console: Console) -> None:
    """Print `plan` as a table with its warnings and assumptions below."""
    table = Table(title=f"{plan.chain} from {plan.base_model}", title_justify="left")
    for name in ("stage", "layers", "parameters", "rows", "batch", "steps", "tokens"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for name in ("ZeRO", "GiB/GPU", "of it states", "CPU GiB", "disk GiB", "hours"):
        table.add_column(name, justify="right")
    for stage in plan.stages:
        table.add_row(*_row(stage))
    hours = "not known" if plan.hours is None else _decimal(plan.hours)
    console.print(table)
    console.print(
        f"Together: {_decimal(plan.disk_gib)} GiB of disk with the checkpoints, {hours} hours of "
        f"training on {plan.gpus} x {plan.gpu_memory_gib:g} GiB.",
        highlight=False,
    )
    console.print(
        "An estimate: 6 FLOPs per weight and token and those of causal attention, a third more "
        f"with gradient checkpointing, at {plan.utilisation:.0%} of {plan.peak_tflops:g} TFLOP/s "
        "per GPU, half of that where sequences are not packed; no time was measured. Memory: model "
        "states by DeepSpeed's arithmetic, for Adam, and the rest from a training step that the "
        "model's own code runs without data; compared with real trainings on CPUs, not on GPUs, "
        "where CUDA, NCCL and the allocator's gaps come on top.",
        highlight=False,
    )
    for stage in plan.stages:
        for warning in stage.warnings:
            console.print(f"[bold red]{stage.stage}: {warning}[/]", highlight=False)
    notes: dict[str, list[str]] = {}
    for stage in plan.stages:
        for note in stage.notes:
            notes.setdefault(note, []).append(stage.stage)
    for note, stages in notes.items():
        console.print(f"[dim]{', '.join(stages)}: {note}.[/]", highlight=False, markup=True)


def _row(stage: StagePlan) -> list[str]:
    disk = None
    if stage.disk_gib is not None:
        disk = stage.disk_gib + (stage.checkpoints_gib or 0)
    return [
        stage.stage,
        _whole(stage.layers),
        _whole(stage.parameters),
        _whole(stage.rows),
        _whole(stage.global_batch),
        _whole(stage.steps),
        _whole(stage.tokens),
        _whole(stage.zero_stage),
        _decimal(stage.gpu_gib),
        _decimal(stage.states_gib),
        _decimal(stage.cpu_gib),
        _decimal(disk),
        _decimal(stage.hours),
    ]


def _whole(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _decimal(value: float | None) -> str:
    if value is None:
        return ""
    if value == 0:
        return "0"
    return f"{value:,.1f}" if value >= 0.05 else f"{value:.3f}"
