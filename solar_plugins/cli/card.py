"""`solar card`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("card")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("stages", nargs=-1, metavar="[STAGE...]")
def card_command(run: Path, stages: tuple[str, ...]) -> None:
    """Write the model card (README.md) of every model in RUN, the output folder of a chain.

    A card describes the model, its training, scores and limits, and has the metadata that the
    Hugging Face Hub reads: base model, datasets, licence, merge, model index. `solar run` writes
    the cards when it ends; run this command to update them, for example after an evaluation.

    \b
    solar card outputs/tiny instruct
    """
    from solar_plugins.sharing.card import write_cards

    for file in write_cards(run, stages):
        click.echo(f"written: {file}")
