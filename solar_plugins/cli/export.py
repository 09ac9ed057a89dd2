"""`solar export`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("chain_file", metavar="CHAIN", type=click.Path(dir_okay=False))
@click.option("--to", type=click.Choice(["slurm", "skypilot", "shell"]), required=True)
@click.option(
    "--out", metavar="DIR", help="Where the files go. Default: jobs/ and the chain's name."
)
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, help="Per training.")
@click.option("--gpus", type=click.IntRange(0), default=8, show_default=True, help="Per node.")
@click.option("--cpus", type=click.IntRange(1), default=16, show_default=True, help="Per node.")
@click.option("--hours", type=click.IntRange(1), default=24, show_default=True, help="Per job.")
@click.option(
    "--setup", multiple=True, metavar="LINE", help="Shell line that makes solar callable."
)
@click.option(
    "--option", "options", multiple=True, metavar="OPT", help="For sbatch: --partition=NAME, …"
)
@click.option("--gpu", default="H100", show_default=True, help="SkyPilot's name of the GPU.")
@click.option("--store", metavar="BUCKET", help="SkyPilot: where the outputs stay (s3://name).")
@click.option("--base-model", metavar="M", help="As for solar run.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="As for solar run.")
@click.option("--until", metavar="STAGE", help="As for solar run.")
def export_command(
    chain_file: str,
    to: str,
    out: str | None,
    nodes: int,
    gpus: int,
    cpus: int,
    hours: int,
    setup: tuple[str, ...],
    options: tuple[str, ...],
    gpu: str,
    store: str | None,
    base_model: str | None,
    settings: tuple[str, ...],
    until: str | None,
) -> None:
    """Write a chain as jobs of an existing scheduler: one per stage, each after its inputs.

    Each job is a `solar run` of its stage, so outputs are verified and finished work is skipped.
    A job that runs out of time is queued again and resumes from its last checkpoint. With several
    nodes torchrun is started on each of them.

    \b
      solar export recipes/solar.yml --to slurm --nodes 4 --option --partition=h100 \\
          --setup 'source .venv/bin/activate'
      bash jobs/solar-10.7b-instruct/submit.sh
      solar export recipes/solar.yml --to skypilot --store s3://my-outputs
      solar export recipes/tiny/solar.yml --to shell --gpus 0
    """
    from solar_plugins import atomic, project
    from solar_plugins.chain.chain_file import load_chain
    from solar_plugins.cli.settings import parse
    from solar_plugins.errors import SolarError
    from solar_plugins.export import shell, skypilot, slurm
    from solar_plugins.export.jobs import JobPlan, Machines, plain_name

    if to == "skypilot" and not store:
        raise click.UsageError(
            "--store: missing. SkyPilot's tasks hand their models on through a bucket; write "
            "--store s3://NAME."
        )
    if to != "slurm" and options:
        raise click.UsageError(f"--option: {options[0]} is for sbatch, and --to is {to}.")
    file = project.enter(chain_file)
    chain = load_chain(file, base_model=base_model, overrides=parse(settings))
    passed_on = [f"--base-model={base_model}"] if base_model else []
    for setting in settings:
        passed_on += ["--set", setting]
    plan = JobPlan(
        chain,
        Machines(nodes, gpus, cpus, hours, setup, options),
        Path(out or f"jobs/{plain_name(chain)}"),
        Path.cwd(),
        tuple(passed_on),
        until,
    )
    for text in (chain.name, str(plan.root), *setup, *options):
        if "\n" in text:
            raise SolarError(f"{text!r}: a line break, which no job script can hold. Take it out.")
    if to == "skypilot":
        made = skypilot.files(plan, gpu, store or "")
    else:
        made = slurm.files(plan) if to == "slurm" else shell.files(plan)
    for name, text in made.items():
        path = plan.folder / name
        atomic.write_text(path, text)
        if text.startswith("#!"):
            path.chmod(path.stat().st_mode | 0o111)
        click.echo(path)
    if to == "slurm":
        (plan.folder / "logs").mkdir(exist_ok=True)  # sbatch does not make it
