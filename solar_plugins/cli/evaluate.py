"""`solar evaluate`."""

from __future__ import annotations

import json
import os
import subprocess
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
    help="The result file. Default: NAME.h6.json next to the model's folder, or here for an id.",
)
@click.option(
    "--backend",
    type=click.Choice(["hf", "vllm"]),
    help="lm-eval's model backend. Default: the config file's `model`.",
)
@click.option(
    "--data-parallel",
    type=click.IntRange(1),
    default=1,
    help="Copies of the model, one GPU each (or --tensor-parallel GPUs each).",
)
@click.option(
    "--tensor-parallel",
    type=click.IntRange(1),
    default=1,
    help="GPUs that share one copy of a model that one GPU cannot hold.",
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

    lm-eval computes the scores. An interrupted run resumes at the task it was in. The table shows
    standard errors, the score of guessing and, when the folder has the name of a stage of the paper
    or is a released model, the paper's row for it. Exit status 1: a benchmark could not be loaded.

    \b
    solar evaluate ./outputs/solar-10.7b/instruct
    solar evaluate ./outputs/tiny/instruct --config recipes/tiny/h6.yml
    solar evaluate upstage/SOLAR-10.7B-Instruct-v1.0 --data-parallel 8
    solar evaluate upstage/SOLAR-10.7B-Instruct-v1.0 --backend vllm --tensor-parallel 2 --limit 20
    """
    from rich.console import Console

    from solar_plugins.evaluation.backend import Backend
    from solar_plugins.evaluation.h6 import evaluate_model
    from solar_plugins.evaluation.harness import read_config
    from solar_plugins.evaluation.model_place import beside, name_of
    from solar_plugins.evaluation.scores import scores_table
    from solar_plugins.terminal import print_whole

    out = out or beside(model, "h6.json")
    chosen = Backend(backend, data_parallel, tensor_parallel)
    spread = data_parallel > 1
    if spread and chosen.needs_launch(read_config(config_file, model, limit, chosen).model):
        arguments = ["evaluate", model, "--config", str(config_file), "--out", str(out)]
        arguments += ["--data-parallel", str(data_parallel)]
        arguments += ["--limit", str(limit)] if limit is not None else []
        arguments += ["--backend", backend] if backend is not None else []
        arguments += ["--json"] if as_json else []
        command = chosen.launch_command("solar_plugins.cli", arguments)
        raise click.exceptions.Exit(subprocess.run(command).returncode)
    with redirect_stdout(sys.stderr):  # lm-eval prints its config
        result = evaluate_model(
            config_file, model, out, name_of(model), limit, chosen, all_or_nothing=False
        )
    if os.environ.get("RANK", "0") == "0":
        if as_json:
            click.echo(json.dumps(result, indent=2))
        else:
            print_whole(Console(), scores_table(result))
            click.echo(f"written to {out}")
    if result["not_run"]:
        raise click.exceptions.Exit(1)
