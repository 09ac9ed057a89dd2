"""`solar lock`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command("lock")
@click.argument("chain_file", metavar="CHAIN", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--base-model", metavar="M", help="For a run on another base model.")
@click.option("--update", is_flag=True, help="Hold what the Hub has now.")
@click.option("--json", "as_json", is_flag=True, help="Print the commits as JSON.")
def lock_command(chain_file: Path, base_model: str | None, update: bool, as_json: bool) -> None:
    """Hold every model and data set that CHAIN takes from the Hub to one commit.

    `solar run` does this when it starts, and reads the same commits from then on; a pack takes them
    along. What a recipe names with `revision`, or the chain with `revisions`, stays. Finds what has
    moved, is gated or is gone before anything is trained. What lm-eval's tasks and data stages read
    is not held.

    \b
    solar lock recipes/solar.yml
    solar lock recipes/solar.yml --update

    Exit status: 0 all is there under its name, 1 something is not.
    """
    from solar_plugins import project
    from solar_plugins.chain.chain_file import load_chain
    from solar_plugins.sharing import lock

    held = lock.hold(load_chain(project.enter(chain_file), base_model), update=update)
    if as_json:
        rows = [{"kind": k, "name": n, "commit": c} for (k, n), c in held.commits.items()]
        click.echo(json.dumps(rows, indent=2))
    else:
        for (kind, name), commit in held.commits.items():
            click.echo(f"{kind:<8} {commit or 'not known':<40} {name}")
    for line in (*held.faults, *held.notes):
        click.echo(line, err=True)
    sys.exit(1 if held.faults or held.notes else 0)
