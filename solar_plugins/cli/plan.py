"""`solar plan`."""

from __future__ import annotations

import json
import sys

import click


@click.command("plan")
@click.argument("chain", type=click.Path(exists=True, dir_okay=False))
@click.option("--gpus", type=click.IntRange(1), required=True, help="GPUs, all on one node.")
@click.option(
    "--gpu-memory-gib",
    type=click.FloatRange(0, min_open=True),
    required=True,
    help="Memory of each GPU.",
)
@click.option("--base-model", help="Plan for this base instead of the chain's own.")
@click.option(
    "--peak-tflops",
    type=click.FloatRange(0, min_open=True),
    default=989.0,
    show_default="989, an H100 SXM in dense bf16; an A100 has 312",
    help="What one GPU can do at most.",
)
@click.option(
    "--utilisation",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.40,
    show_default=True,
    help="The share of it that training reaches.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan_command(
    chain: str,
    gpus: int,
    gpu_memory_gib: float,
    base_model: str | None,
    peak_tflops: float,
    utilisation: float,
    as_json: bool,
) -> None:
    """What every stage of CHAIN takes, before a GPU is rented.

    Layers and exact parameter counts, steps and tokens, memory per GPU under ZeRO, disk with all
    checkpoints, and an estimate of the hours. Where a stage does not fit, the key that makes it
    fit. Needs no GPU, and no network for the default base.

    \b
      solar plan recipes/solar.yml --gpus 8 --gpu-memory-gib 80

    Exit status: 0 everything fits, 1 a stage does not.
    """
    from rich.console import Console

    from solar_plugins import project
    from solar_plugins.plan import table
    from solar_plugins.plan.stages import GIB, Machine, plan_chain

    machine = Machine(gpus, gpu_memory_gib * GIB, peak_tflops * 1e12, utilisation)
    result = plan_chain(project.enter(chain), machine, base_model)
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
    else:
        width = None if sys.stdout.isatty() else 160
        table.show(result, Console(width=width))
    sys.exit(0 if result.fits else 1)
