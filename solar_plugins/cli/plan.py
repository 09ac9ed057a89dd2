"""`solar plan`."""

from __future__ import annotations

import json
import sys

import click

from solar_plugins.plan.gpu_specs import PRESETS, UTILISATION


@click.command("plan")
@click.argument("chain", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--gpus", type=click.IntRange(0), help="GPUs, all on one node. 0 is the same as --gpu cpu."
)
@click.option(
    "--gpu",
    type=click.Choice(PRESETS, case_sensitive=False),
    help="Memory and peak of a GPU by name; cpu: this machine, without a GPU.",
)
@click.option(
    "--gpu-memory-gib",
    type=click.FloatRange(0, min_open=True),
    help="Memory of each GPU. Default: that of --gpu.",
)
@click.option("--base-model", help="Plan for this base instead of the chain's own.")
@click.option(
    "--peak-tflops",
    type=click.FloatRange(0, min_open=True),
    help="Peak of each GPU in dense bf16. Default: that of --gpu, else an H100 SXM's 989.",
)
@click.option(
    "--utilisation",
    type=click.FloatRange(0, 1, min_open=True),
    default=UTILISATION,
    show_default=True,
    help="Share of the peak that training reaches.",
)
@click.option(
    "--measured",
    is_flag=True,
    help="Scale the hours by the time that the steps of this chain's own run took.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan_command(
    chain: str,
    gpus: int | None,
    gpu: str | None,
    gpu_memory_gib: float | None,
    base_model: str | None,
    peak_tflops: float | None,
    utilisation: float,
    measured: bool,
    as_json: bool,
) -> None:
    """Estimate every stage of CHAIN before a GPU is rented.

    Prints layers and exact parameter counts, steps and tokens, memory per GPU under ZeRO, disk with
    all checkpoints, and an estimate of the time. Where a stage does not fit, the keys that make it
    fit. Needs no GPU, and no network for the default base.

    \b
      solar plan recipes/solar.yml --gpus 8 --gpu-memory-gib 80
      solar plan recipes/solar.yml --gpus 8 --gpu h100
      solar plan recipes/tiny/solar.yml --gpu cpu
      solar plan recipes/tiny/solar.yml --gpu cpu --measured      # once a part of it has run

    Exit status: 0 everything fits, 1 a stage does not.
    """
    from rich.console import Console

    from solar_plugins import project
    from solar_plugins.chain.run.run_folder import RunFolder
    from solar_plugins.chain.training import metrics
    from solar_plugins.installed import require
    from solar_plugins.plan import gpu_specs, table
    from solar_plugins.plan.stages import GIB, Machine, at_measured_rate, plan_chain

    is_cpu = gpus == 0 or gpu == "cpu"
    if is_cpu and (gpus or gpu not in (None, "cpu")):
        raise click.UsageError(f"--gpus {gpus} and --gpu {gpu} are mutually exclusive.")
    if not is_cpu and gpus is None and gpu is None:
        raise click.UsageError(
            "Name the machine: --gpus 8 (of 80 GiB), --gpu rtx4090 (one card) or --gpu cpu."
        )
    if not is_cpu and gpu is None and gpu_memory_gib is None:
        raise click.UsageError(
            f"Missing option '--gpu-memory-gib', or --gpu with one of {', '.join(PRESETS)}."
        )
    spec = gpu_specs.preset("cpu" if is_cpu else gpu or "h100")
    machine = Machine(
        gpus or 1,
        (gpu_memory_gib or spec.memory_gib) * GIB,
        peak_tflops * 1e12 if peak_tflops else spec.flops,
        utilisation,
        is_cpu,
        spec.watts,
    )
    require("torch", "transformers")
    result = plan_chain(project.enter(chain), machine, base_model)
    if measured:
        run = RunFolder(result.chain.output_dir)
        names = [stage.stage for stage in result.stages]
        at_measured_rate(result, {name: metrics.read(run.metrics(name)) for name in names})
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
    else:
        width = None if sys.stdout.isatty() else 160
        table.show(result, Console(width=width))
    sys.exit(0 if result.fits else 1)
