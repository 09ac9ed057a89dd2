"""`solar new`."""

from __future__ import annotations

from pathlib import Path

import click

from solar_plugins.cli.unpack import ALLOW, unpack_pack
from solar_plugins.plan.gpu_specs import PRESETS

_POSITIVE = click.FloatRange(0, min_open=True)
_DATA = click.Path(dir_okay=False, path_type=Path)


@click.command("new")
@click.argument("name", type=click.Path(path_type=Path))
@click.option("--from", "source", metavar="PACK", help="Use a pack instead of the shipped recipes.")
@click.option("--base-model", metavar="M", help="The base of a chain of your own data.")
@click.option("--text", type=_DATA, help="Text to pretrain on: .txt, or rows with a column text.")
@click.option("--sft", type=_DATA, help="Instructions: messages, or instruction and output.")
@click.option("--pairs", type=_DATA, help="Preference pairs: a prompt, chosen and rejected.")
@click.option("--minutes", type=_POSITIVE, default=30, help="Of the trainings, as planned; 30.")
@click.option("--gpu", type=click.Choice(PRESETS), help="Default: the GPU here, else the CPU.")
@ALLOW
def new_command(
    name: Path,
    source: str | None,
    base_model: str | None,
    text: Path | None,
    sft: Path | None,
    pairs: Path | None,
    minutes: float,
    gpu: str | None,
    permissions: tuple[str, ...],
) -> None:
    """Create the folder NAME with the recipes of SOLAR, with those of a PACK, or with a short chain
    for a base model and data of your own.

    Paths in it are relative to NAME, so it can be moved, renamed and kept in Git. With --base-model
    and any of --text, --sft and --pairs (.jsonl, .json, .csv, .parquet) it holds one chain, sized
    to this machine: depth up-scaling, a training on each file, and an evaluation on rows that are
    held out.

    \b
    solar new my_solar
    solar check my_solar/recipes/solar.yml
    solar run my_solar/recipes/tiny/solar.yml
    solar new theirs --from https://example.org/their.solar.zip
    solar new mine --base-model HuggingFaceTB/SmolLM2-135M --text a.txt --sft b.jsonl --pairs c.csv
    solar run mine/solar.yml
    """
    given = {"text": text, "sft": sft, "pairs": pairs}
    files = {kind: file for kind, file in given.items() if file is not None}
    if source is not None and (files or base_model):
        raise click.UsageError("--from and a chain of your own data are mutually exclusive.")
    if bool(files) != bool(base_model):
        raise click.UsageError("Write --base-model and at least one of --text, --sft and --pairs.")
    if source is not None:
        unpack_pack(source, name, permissions, list_only=False)
        return
    if base_model:
        from solar_plugins.installed import require

        require("torch", "transformers")
        from solar_plugins.plan.stages import machine_of
        from solar_plugins.sharing.new_chain import CHAIN, write_chain

        plan, notes = write_chain(name, base_model, files, machine_of(gpu), minutes)
        for note in notes:
            click.echo(note)
        time = "" if plan.hours is None else f", {60 * plan.hours:.1f} minutes of training planned"
        click.echo(f"written: {name}/{CHAIN}{time}\nnext: solar run {name}/{CHAIN}")
        return
    from solar_plugins.sharing.new import write_project

    chains = write_project(name)
    click.echo(f"written: {name}, with {len(chains)} chains: {', '.join(chains)}")
    click.echo(f"next: solar run {name}/recipes/tiny/solar.yml")
