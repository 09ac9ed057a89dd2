"""`solar schema`."""

from __future__ import annotations

import click


@click.command("schema")
@click.argument(
    "kind",
    type=click.Choice(["recipe", "chain", "merge", "evaluate", "data"]),
    default="recipe",
)
@click.option("--line-for", "file", metavar="FILE", help="Print the comment for FILE's first line.")
def schema_command(kind: str, file: str | None) -> None:
    """Print the JSON schema of recipes (with our plugins' blocks), chains or merge configs.

    An editor with a YAML language server completes keys, explains them and underlines typos in a
    file whose first line names its schema; the shipped recipes do.

    \b
      solar schema recipe > recipe.json
      solar schema recipe --line-for my_recipes/sft.yml
    """
    from solar_plugins.check import tool_schemas

    click.echo(
        tool_schemas.line_for(file, kind) if file else tool_schemas.read_schema(kind),
        nl=file is not None,
    )
