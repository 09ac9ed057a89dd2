"""`solar card`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("card")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("stages", nargs=-1, metavar="[STAGE...]")
def card_command(run: Path, stages: tuple[str, ...]) -> None:
    """Write the model card (README.md) of every model in RUN, the output folder of a chain.

    What the model is, how it was made, its scores and its limits, with the front matter that the
    Hugging Face Hub reads: base model, datasets, licence, merge, model index. `solar run` writes
    the cards when it ends; this writes them again, for instance after another evaluation.

    \b
    solar card outputs/tiny instruct
    """
    from solar_plugins.sharing.card import write_cards

    for file in write_cards(run, stages):
        click.echo(f"written: {file}")
