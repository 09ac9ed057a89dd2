"""`solar evaluate`."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

_PATH = click.Path(path_type=Path)
_CONFIG = "lm-eval's: tasks, batch size, model arguments. Default: recipes/h6.yml."
_OUT = "Default: NAME.h6.json in the config's `output_path`, else beside the model, or here."


@click.command("evaluate")
@click.argument("model")
@click.option("--config", "config_file", type=_PATH, default=Path("recipes/h6.yml"), help=_CONFIG)
@click.option("--out", type=_PATH, help=_OUT)
@click.option("--backend", type=click.Choice(["hf", "vllm"]), help="Default: the config's `model`.")
@click.option("--data-parallel", type=click.IntRange(1), default=1, help="Copies of the model.")
@click.option(
    "--tensor-parallel", type=click.IntRange(1), default=1, help="GPUs that share a copy."
)
@click.option("--limit", type=float, help="Only this many items per task: a trial, not a score.")
@click.option("--json", "as_json", is_flag=True, help="Print the result file instead of the table.")
def evaluate_command(
    model: str,
    config_file: Path,
    out: Path | None,
    backend: str | None,
    data_parallel: int,
    tensor_parallel: int,
    limit: float | None,
    as_json: bool,
) -> None:
    """Score MODEL (a folder or a Hugging Face id) on the six benchmarks of H6.

    lm-eval computes the scores. MMLU is the plain mean of its 57 subjects, as on the leaderboard
    that the paper's scores come from; lm-eval's own mean is printed below the table. An interrupted
    run resumes at the task it was in. The table shows standard errors, the score of guessing and,
    for a released model, or a model of the paper's shape in a folder with the name of a stage, the
    paper's row. Exit status 1: a benchmark could not be loaded.

    \b
    solar evaluate ./outputs/solar-10.7b/instruct          # H6 of a model of a run
    solar evaluate ./outputs/tiny/instruct --config recipes/tiny/h6.yml      # the miniature, CPU
    solar evaluate ./instruct --config recipes/h6_leaderboard_v1.yml         # GSM8K's old stops
    solar evaluate upstage/SOLAR-10.7B-Instruct-v1.0 --data-parallel 8       # a copy on each GPU
    solar evaluate upstage/SOLAR-10.7B-Instruct-v1.0 --backend vllm --tensor-parallel 2 --limit 20
    """
    from rich.console import Console

    from solar_plugins.evaluation.backend import Backend
    from solar_plugins.evaluation.h6 import evaluate_model
    from solar_plugins.evaluation.harness import read_config
    from solar_plugins.evaluation.result_file import beside, name_of
    from solar_plugins.evaluation.scores import scores_table
    from solar_plugins.terminal import print_whole

    chosen = Backend(backend, data_parallel, tensor_parallel)
    options: dict[str, Any] = {"limit": limit, "all_or_nothing": False}
    with redirect_stdout(sys.stderr):  # lm-eval prints its config
        config = read_config(config_file, model, limit, chosen)
        out = out or beside(model, "h6.json", config.output_path)
        place = config_file, model, out, name_of(model)
        if chosen.needs_launch(config.model):
            arguments = [*map(str, place), json.dumps(options)]
            command = chosen.launch_command("solar_plugins.evaluation.h6", arguments)
            if status := subprocess.run(command, stdout=2).returncode:  # 2: stderr
                raise click.exceptions.Exit(status)
            result = json.loads(out.read_text(encoding="utf-8"))
        else:
            result = evaluate_model(*place, backend=chosen, **options)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        print_whole(Console(), scores_table(result))
        click.echo(f"written to {out}")
    if result["not_run"]:
        raise click.exceptions.Exit(1)
