"""`solar difficulty`."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click


@click.command("difficulty")
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--base-model", help="The model to ask, in place of the recipe's.")
@click.option("--json", "as_json", is_flag=True, help="Print the measurement as JSON.")
def difficulty_command(recipe: Path, base_model: str | None, as_json: bool) -> None:
    """How hard the preference data of RECIPE's sDPO steps are for its starting model.

    Reward accuracy is the share of pairs whose chosen answer the model finds likelier than the
    rejected one; sDPO trains on sets in falling order of it. Nothing is trained. With `split`,
    the chunks are measured that the run would train on.

    \b
    solar difficulty recipes/tiny/cand_1.yml
    solar difficulty recipes/cand_1.yml --base-model ./outputs/solar-10.7b/sft_v3 --json

    Put `order_by: reward_accuracy` into the recipe to train in this order.
    """
    with redirect_stdout(sys.stderr):  # Axolotl prints its config
        from solar_plugins.sdpo.plugin import measure_recipe

        found = measure_recipe(recipe, **({"base_model": base_model} if base_model else {}))
    if as_json:
        found.pop("chunks")
        click.echo(json.dumps(found, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    from solar_plugins.terminal import print_whole

    table = Table(title="From easy to hard", title_justify="left")
    for name in ("step", "pairs", "reward accuracy", "mean margin, nats", "data"):
        table.add_column(name, justify="left" if name == "data" else "right")
    for number, one in enumerate(found["measured"], 1):
        table.add_row(
            str(number),
            f"{one['rows']:,}",
            f"{one['reward_accuracy']:.3f}",
            f"{one['mean_margin']:.3f}",
            one["name"],
        )
    print_whole(Console(), table)
