"""`solar run`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from solar_plugins.chain.chain_file import Chain, Stage

_EXIT_INTERRUPTED = 130


@click.command("run", context_settings={"ignore_unknown_options": False})
@click.argument("chain_file", metavar="CHAIN", type=click.Path(dir_okay=False))
@click.option("--base-model", metavar="M", help="Another base model: hub id or folder.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a key of the chain (output_dir=/big/disk) or, as STAGE.KEY=VALUE, a key of a "
    "stage's own file (cpt.learning_rate=1e-5, sft_v4.flan_filter.tasks=solar). "
    "The value is read as YAML. May be given several times.",
)
@click.option(
    "--until",
    metavar="STAGE",
    help="Only this stage and what it needs; or, by its name there, a row of the paper's tables "
    "with its scores.",
)
@click.option("--dry-run", is_flag=True, help="Print what would run and why; write nothing.")
@click.option(
    "--download-only",
    is_flag=True,
    help="Download what the stages read from the Hub, for a run without network; train nothing.",
)
@click.option(
    "--redo",
    metavar="STAGE",
    multiple=True,
    help="Make a finished stage again, and the finished stages after it whose input changes with "
    "it. The old outputs are kept aside. May be given several times.",
)
@click.option(
    "--keep",
    metavar="STAGE",
    multiple=True,
    help="Accept the output of a finished stage although its recipe, data or input models "
    "changed. May be given several times.",
)
@click.option("--no-check", is_flag=True, help="Run even if `solar check --quick` reports errors.")
@click.option(
    "--launcher",
    type=click.Choice(["none", "accelerate", "torchrun", "python"]),
    help="How a training is started. Default: accelerate where there are GPUs, else none: each "
    "stage is forked from a process that has Axolotl imported.",
)
@click.argument("launcher_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- LAUNCHER ARGS]")
def run_command(
    chain_file: str,
    base_model: str | None,
    settings: tuple[str, ...],
    until: str | None,
    dry_run: bool,
    download_only: bool,
    redo: tuple[str, ...],
    keep: tuple[str, ...],
    no_check: bool,
    launcher: str | None,
    launcher_args: tuple[str, ...],
) -> None:
    """Run a chain: what is not yet done, in order, each output verified.

    Interrupt it whenever you like, also with kill -9: the same command goes on, from the last
    whole checkpoint of a training. A stage is skipped when its recipe, data and input models are
    those of its record and its files are as they were. Where finished stages changed, they are
    listed with the time that they took; below 15 minutes in all they are made again, above it
    nothing is started until --redo STAGE or --keep STAGE says what to do. Tools of another
    version than a finished stage was made with are a warning.

    \b
    solar run recipes/tiny/solar.yml
    solar run recipes/solar.yml --base-model meta-llama/Llama-2-7b-hf --until cpt
    solar run recipes/paper.yml --until "SFT v2"
    solar run recipes/solar.yml --set output_dir=/big/disk --set cpt.learning_rate=1e-5
    solar run recipes/solar.yml --launcher torchrun -- --nnodes 2 --rdzv_endpoint host:29400
    solar run recipes/solar.yml --download-only
    HF_HUB_OFFLINE=1 solar run recipes/solar.yml

    --download-only brings base model, tokenizer, data sets and benchmarks into the Hub's caches
    (HF_HOME), each at the commit that the run is held to, and makes the data stages that read the
    Hub; a stream is downloaded whole. With HF_HUB_OFFLINE=1 it says what is missing. On the machine
    without network the run needs HF_HOME and OUTPUT_DIR.

    The stages' full logs, the files that were run and their records are in OUTPUT_DIR/.solar.
    """
    from solar_plugins import project
    from solar_plugins.chain.chain_file import load_chain
    from solar_plugins.cli.settings import parse

    file = project.enter(chain_file)
    chain = load_chain(file, base_model=base_model, overrides=parse(settings))
    # Axolotl reports its use by default; nobody asked for that here.
    os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
    # Threads that spin long while they wait take the cores of other processes; those that never
    # spin make small models slow (benchmarks/busy_machine.py).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from solar_plugins.chain.run import launcher as launchers
    from solar_plugins.sharing import lock
    from solar_plugins.sharing.card import write_cards

    name = launchers.choose(launcher, launcher_args)
    if not no_check:
        gpus = launchers.processes(name, launcher_args)
        _refuse_findings(chain, base_model is not None, gpus)
    chain, faults, notes = lock.hold(chain, keep=not dry_run)
    for line in (*faults, *notes):
        click.echo(line, err=True)
    if faults and not no_check:
        sys.exit("nothing was started (--no-check starts all the same)")
    stages = chain.order(until)
    if dry_run:
        _print_dry_run(chain, stages, redo, keep)
        return
    if download_only:
        _download(chain, stages)
        return
    _run(chain, stages, name, launcher_args, redo, keep)
    write_cards(chain.output_dir)
    _print_results(chain)


def _run(
    chain: Chain,
    stages: list[Stage],
    launcher: str,
    launcher_args: tuple[str, ...] = (),
    redo: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
) -> None:
    from solar_plugins.chain.run.progress import Display
    from solar_plugins.chain.run.runner import Runner

    display = Display(stages)
    display.heading = f"{chain.name}: {chain.path} -> {chain.output_dir}"
    try:
        with display:
            Runner(chain, display, launcher, launcher_args).run(stages, redo, keep)
    except KeyboardInterrupt:
        command = "the same command without --redo" if redo else "the same command"
        click.echo(f"interrupted: {command} goes on from here.", err=True)
        sys.exit(_EXIT_INTERRUPTED)
    display.summary()


def _download(chain: Chain, stages: list[Stage]) -> None:
    """Bring what `stages` read from the Hub; exit status 1 if something cannot be had."""
    from solar_plugins.chain.run import launcher
    from solar_plugins.sharing import download

    missing = download.bring(chain, stages, click.echo)
    for line in missing:
        click.echo(f"not here: {line}", err=True)
    if makers := download.makers(chain, stages):
        _run(chain, makers, launcher.IN_PROCESS)
    if missing:
        sys.exit(f"{len(missing)} missing; the same command downloads only what is not here yet")


def _refuse_findings(chain: Chain, other_base_model: bool, gpus: int | None) -> None:
    """End, before anything starts, on what the quick part of `solar check` finds.

    The tools themselves drop a key that they do not know, from a file or from --set, and go on.
    """
    from solar_plugins.check import check_files, check_settings

    base_model = chain.base_model if other_base_model else None
    found = [*check_files([chain.path], False, base_model, gpus), *check_settings(chain)]
    wrong = [finding for finding in found if not finding.is_note]
    of_base = [f for f in found if f.is_note and f.kind == "base-model" and other_base_model]
    for finding in (*wrong, *of_base):
        click.echo(finding.text, err=True)
    if wrong:
        click.echo(
            f"{len(wrong)} finding{'s' * (len(wrong) != 1)}, nothing was started "
            f"(--no-check starts all the same)",
            err=True,
        )
        sys.exit(1)


def _print_dry_run(
    chain: Chain, stages: list[Stage], redo: tuple[str, ...], keep: tuple[str, ...]
) -> None:
    from solar_plugins.chain.run import decision
    from solar_plugins.chain.run.run_folder import RunFolder

    plan = decision.plan(chain, stages, RunFolder(chain.output_dir), redo, keep)
    for each in plan:
        stage = each.stage
        click.echo(f"{stage.name:<14} {stage.kind:<9} {each.action:<9} {each.why}")
    for line in decision.lines(plan):
        click.echo(line)
    decision.refuse_long_work(plan)


def _print_results(chain: Chain) -> None:
    """The results table, if anything was evaluated."""
    if not any(chain.output_dir.glob("*/*.json")):
        return
    if not any(stage.kind == "evaluate" for stage in chain.stages.values()):
        return
    from solar_plugins.chain.run.progress import make_console
    from solar_plugins.report import tables
    from solar_plugins.report.run import read_run

    tables.print_results(read_run(chain.output_dir), make_console())
