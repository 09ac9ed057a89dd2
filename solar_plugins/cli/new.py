"""`solar new`."""

from __future__ import annotations

from pathlib import Path

import click

from solar_plugins.cli.unpack import ALLOW, unpack_pack


@click.command("new")
@click.argument("name", type=click.Path(path_type=Path))
@click.option("--from", "source", metavar="PACK", help="Use a pack instead of the shipped recipes.")
@ALLOW
def new_command(name: Path, source: str | None, permissions: tuple[str, ...]) -> None:
    """Create the folder NAME with the recipes of SOLAR, or with those of a PACK.

    The folder holds the chains, the Axolotl recipes of their stages, merge configs, templates and
    DeepSpeed configs. Paths are relative to NAME, so it can be moved, renamed and kept in Git.

    \b
    solar new my_solar
    solar check my_solar/recipes/solar.yml
    solar run my_solar/recipes/tiny/solar.yml
    solar new theirs --from https://example.org/their.solar.zip
    """
    if source is not None:
        unpack_pack(source, name, permissions, list_only=False)
        return
    from solar_plugins.sharing.new import write_project

    chains = write_project(name)
    click.echo(f"written: {name}, with {len(chains)} chains: {', '.join(chains)}")
    click.echo(f"next: solar run {name}/recipes/tiny/solar.yml")
