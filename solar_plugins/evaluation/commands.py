"""`solar evaluate`."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click


@click.command("evaluate")
@click.argument("model")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("recipes/h6.yml"),
    show_default=True,
    help="A config file of lm-eval: tasks, batch size, model arguments.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The result file. Default: NAME.h6.json beside the model's folder, or here for an id.",
)
@click.option("--limit", type=float, help="Only this many items per task: a trial, not a score.")
@click.option("--json", "as_json", is_flag=True, help="Print the result file instead of the table.")
def evaluate_command(
    model: str, config_file: Path, out: Path | None, limit: float | None, as_json: bool
) -> None:
    """Score MODEL (a folder or a Hugging Face id) on the six benchmarks of H6.

    lm-eval does the measuring. A killed run goes on with the task it was in. The table shows what
    guessing scores and, when the folder is called like a stage of ours, the paper's row for it.

    \b
    solar evaluate ./outputs/solar-10.7b/instruct
    solar evaluate ./outputs/tiny/instruct --config recipes/tiny/h6.yml
    solar evaluate upstage/SOLAR-10.7B-Instruct-v1.0 --limit 20
    """
    from solar_plugins.evaluation.h6 import evaluate_model
    from solar_plugins.evaluation.scores import scores_table

    folder = Path(model)
    name = folder.name
    if out is None:
        out = (folder.parent if folder.is_dir() else Path()) / f"{name}.h6.json"
    with redirect_stdout(sys.stderr):  # lm-eval prints its config
        result = evaluate_model(config_file, model, out, name, limit=limit)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    from rich.console import Console

    Console().print(scores_table(result))
    click.echo(f"written to {out}")
