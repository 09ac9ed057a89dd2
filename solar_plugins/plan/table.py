"""A plan as a table for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from solar_plugins.plan.memory import GIB, PROCESS
from solar_plugins.plan.stages import ChainPlan, StagePlan
from solar_plugins.terminal import print_whole


def show(plan: ChainPlan, console: Console) -> None:
    """Print `plan` as a table, with its warnings and assumptions below."""
    chain, node = plan.chain, plan.machine
    table = Table(title=f"{chain.name} from {chain.base_model}", title_justify="left")
    table.add_column("stage")
    for name in ("layers", "parameters", "rows", "batch", "steps", "tokens", "ZeRO"):
        table.add_column(name, justify="right")
    per_gpu = "GiB" if node.is_cpu else "GiB/GPU"
    for name in (per_gpu, "of it states", "CPU GiB", "disk GiB", "time"):
        table.add_column(name, justify="right")
    for stage in plan.stages:
        table.add_row(*_row(stage))
    print_whole(console, table)
    time = "not known" if plan.hours is None else duration(plan.hours)
    tested, kwh = plan.hours_of("evaluate"), plan.energy_kwh
    memory = f"{node.gpu_bytes / GIB:.3g} GiB"
    machine = f"the CPU with {memory}" if node.is_cpu else f"{node.gpus} x {memory}"
    console.print(
        f"Together: {_decimal(plan.disk_gib)} GiB of disk with the checkpoints, at most "
        f"{_decimal(plan.peak_disk_gib)} while one is written; {time} of training"
        f"{f' and {duration(tested)} of evaluation' if tested else ''} on {machine}"
        f"{f'; {kwh:,.0f} kWh at the full power of the GPUs alone' if kwh else ''}.",
        highlight=False,
    )
    speed = f"{node.utilisation:.0%} of {node.peak_flops / 1e12:.3g} TFLOP/s"
    measured = "no time was measured"
    if plan.measured is not None:
        measured = f"times {plan.measured:.3g}, as the steps of its own run took"
    console.print(
        "An estimate: 6 FLOPs per weight and token and those of causal attention, a third more "
        f"with gradient checkpointing, at {speed} "
        f"{'in all' if node.is_cpu else 'per GPU'}, half of that where sequences are not packed; "
        f"{measured}. Memory: model states by DeepSpeed's arithmetic, for Adam; a "
        "training step that the model's own code runs without data; and an assumed "
        f"{PROCESS / GIB:.1f} GiB for the process itself (CUDA's context, or Python and its "
        "libraries, and the allocator's gaps). Compared with real trainings on CPUs, not on GPUs, "
        "where NCCL's buffers come on top.",
        highlight=False,
    )
    notes: dict[str, list[str]] = {}
    for stage in plan.stages:
        for warning in stage.warnings:
            console.print(f"[bold red]{stage.stage}: {warning}[/]", highlight=False)
        for note in stage.notes:
            notes.setdefault(note, []).append(stage.stage)
    for note, stages in notes.items():
        console.print(f"[dim]{', '.join(stages)}: {note}.[/]", highlight=False, markup=True)


def _row(stage: StagePlan) -> list[str]:
    counts = (stage.layers, stage.parameters, stage.rows, stage.global_batch, stage.steps)
    whole = [*counts, stage.tokens, stage.zero_stage]
    disk = None if stage.disk_gib is None else stage.disk_gib + (stage.checkpoints_gib or 0)
    sizes = (stage.gpu_gib, stage.states_gib, stage.cpu_gib, disk)
    return [
        stage.stage,
        *("" if value is None else f"{value:,}" for value in whole),
        *("" if value is None else _decimal(value) for value in sizes),
        "" if stage.hours is None else duration(stage.hours),
    ]


def duration(hours: float) -> str:
    """A time in the unit that fits.

    >>> duration(0.001), duration(0.2), duration(30), duration(100)
    ('4 s', '12 min', '30.0 h', '4.2 days')
    """
    for unit, per_hour, digits in (("days", 1 / 24, 1), ("h", 1, 1), ("min", 60, 0)):
        if hours * per_hour >= (2 if unit == "days" else 1):
            return f"{hours * per_hour:,.{digits}f} {unit}"
    return f"{hours * 3600:.0f} s" if hours * 3600 >= 0.5 or hours == 0 else "under 1 s"


def _decimal(value: float) -> str:
    """One decimal, or the first digit that is not 0."""
    return f"{value:,.1f}" if value >= 0.05 else f"{value:.1g}"
