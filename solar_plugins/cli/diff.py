"""`solar diff`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command("diff")
@click.argument("one", metavar="A", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("other", metavar="B", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
def diff_command(one: Path, other: Path, as_json: bool) -> None:
    """Compare the effective settings of two chains, recipes or packs.

    Ignores comments, the order of keys, number formats, output folders and file names. Compares
    inherited settings (`extends:`), a chain's `set:`, and the content of templates, DeepSpeed
    configs and stage files.

    \b
    solar diff recipes/sft_v3.yml recipes/sft_v4.yml
    solar diff recipes/solar.yml their.solar.zip

    Exit status: 0 no difference, 1 differences found.
    """
    from solar_plugins.sharing.resolved_diff import differences, effect

    found = list(differences(effect(one), effect(other)))
    if as_json:
        lines = [{"where": d.where, "a": d.one, "b": d.other} for d in found]
        click.echo(json.dumps(lines, indent=2))
    for difference in [] if as_json else found:
        click.echo(difference.text)
    if not found:
        click.echo("no difference in effect", err=True)
    sys.exit(1 if found else 0)
