"""`solar check`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from solar_plugins.check.finding import Finding


@click.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE|FOLDER...")
@click.option("--quick", is_flag=True, help="Skip Axolotl's own validators: answers in a second.")
@click.option("--base-model", metavar="M", help="Check for this base: hub id or folder.")
@click.option("--gpus", type=click.IntRange(1), help="Number of GPUs to check for (8).")
@click.option("--fix", is_flag=True, help="Apply unambiguous fixes and print a diff.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    help="How findings are printed; sarif is what GitHub and editors read.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def check_command(
    files: tuple[str, ...],
    quick: bool,
    base_model: str | None,
    gpus: int | None,
    fix: bool,
    form: str,
    as_json: bool,
) -> None:
    """Say what is wrong in chains, Axolotl recipes and MergeKit configs, before anything runs.

    Axolotl drops keys that it does not know and plugins that do not import, and trains on;
    MergeKit writes a model without layers and exits 0. Here each is one line, with the file, line
    and column, the YAML path, and what to write instead. A chain is checked with every file that
    its stages run; local data, tokenizers and models are looked into. lm-eval configs and data
    recipes are read as well, and of a folder all of these that are below it. No GPU and no network
    are needed; recipes are validated as on a machine with 8 x H100. With --base-model the Hub is
    asked, where it can be, whether a base that is not on this machine is gated and what its licence
    is.

    Local data are read whole up to 32 MiB a dataset, of a larger one the first 32 MiB: cells that
    hold nothing, roles that are not trained, rows longer than sequence_len.

    --fix renames deprecated keys and corrects names that have one near match. It changes these
    characters and no others: comments and layout stay. Each fix is checked on a copy, and left out
    if it says something else or adds a finding.

    \b
      solar check recipes/solar.yml
      solar check recipes/solar.yml --base-model Qwen/Qwen3-8B-Base --gpus 4
      solar check --quick --fix my_recipe.yml mergekit_configs
      solar check --format sarif recipes/*.yml > findings.sarif

    Exit status: 0 nothing found, or all of it fixed; 1 findings.
    """
    from pathlib import Path

    from solar_plugins import project
    from solar_plugins.check import check_files, files_in, formats

    named = map(Path, project.enter_all(files))
    files = tuple(
        str(file) for path in named for file in (files_in(path) if path.is_dir() else [path])
    )
    form = "json" if as_json else form
    if fix:
        _fix(files, is_text=form == "text")
    found = []
    for finding in check_files(files, not quick, base_model, gpus):
        found.append(finding)
        if form == "text":
            click.echo(finding.text)
    if form != "text":
        made = formats.as_sarif(found) if form == "sarif" else [f.as_dict() for f in found]
        click.echo(json.dumps(made, indent=2))
    sys.exit(_summary(files, found, is_text=form == "text"))


def _fix(files: tuple[str, ...], is_text: bool) -> None:
    """Fix the files, and those that chains among them run, and print the changes."""
    from itertools import groupby

    from solar_plugins.check import check_files, fixes

    changed = 0
    # The quick checks know every fix; Axolotl's validators only refuse.
    found = sorted(finding for finding in check_files(files, with_axolotl=False) if finding.fix)
    for file, own in groupby(found, key=lambda finding: finding.file):
        if change := fixes.fix_file(file, own):
            click.echo(change, nl=False, err=not is_text)
            changed += 1
    click.echo(f"{changed} file{'s' * (changed != 1)} changed", err=True)


def _summary(files: tuple[str, ...], found: list[Finding], is_text: bool) -> int:
    wrong = [finding for finding in found if not finding.is_note]
    if is_text and wrong:
        fixable = sum(finding.fix is not None for finding in wrong)
        way = f", {fixable} of them with a --fix" if fixable else ""
        click.echo(f"{len(wrong)} finding{'s' * (len(wrong) != 1)}{way}", err=True)
    elif is_text:
        click.echo(f"{len(files)} file{'s' * (len(files) != 1)} checked, nothing wrong", err=True)
    return 1 if wrong else 0
