"""`solar show`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("show")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("stage", required=False)
@click.option("--base-model", metavar="M", help="Use this base model: Hub id or folder.")
def show_command(file: Path, stage: str | None, base_model: str | None) -> None:
    """Print a recipe with `extends:` resolved, or the recipe that STAGE of the chain FILE runs.

    For a stage, the chain's models, folders and seed are filled in. Axolotl, MergeKit or lm-eval
    can read the output without solar_plugins.

    \b
    solar show my_sft.yml > plain.yml && axolotl train plain.yml
    solar show recipes/solar.yml sft_v3_v4
    """
    import yaml

    from solar_plugins import project
    from solar_plugins.sharing.resolved_diff import plain

    content = plain(project.enter(file), stage, base_model)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    click.echo(text, nl=False)
