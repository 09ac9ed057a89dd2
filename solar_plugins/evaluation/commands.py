"""`solar evaluate` and `solar contamination`."""

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
    help="The result file. Default: NAME.h6.json beside the model's folder, or here for an id.",
)
@click.option(
    "--backend",
    type=click.Choice(["hf", "vllm"]),
    help="What computes. Default: the config file's `model`.",
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

    lm-eval does the measuring. A killed run goes on with the task it was in. The table shows
    standard errors, what guessing scores and, when the folder is called like a stage of ours or is
    a released model, the paper's row for it. Exit status 1: a benchmark could not be loaded.

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
            Console().print(scores_table(result))
            click.echo(f"written to {out}")
    if result["not_run"]:
        raise click.exceptions.Exit(1)


@click.command("contamination")
@click.argument("model")
@click.option(
    "--reference",
    required=True,
    help="The model that writes the neighbours; the paper took the pretrained SOLAR 10.7B.",
)
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    help="arc, mmlu, truthfulqa or gsm8k, repeated. Default: those of --data, else all four.",
)
@click.option(
    "--data",
    "places",
    multiple=True,
    metavar="BENCHMARK=PLACE",
    help="A file or folder with a benchmark's test items instead of the Hub's, repeated.",
)
@click.option("--items", type=click.IntRange(1), default=100, show_default=True)
@click.option("--neighbours", type=click.IntRange(1), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampling.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16", "auto"]),
    default="float32",
    show_default=True,
    help="Of the weights; the published test uses float32.",
)
@click.option("--device", help="cpu, cuda, or auto for all GPUs. Default: cuda where there is one.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The result file. Default: NAME.contamination.json beside the model's folder, or here.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result file instead of the table.")
def contamination_command(
    model: str,
    reference: str,
    benchmarks: tuple[str, ...],
    places: tuple[str, ...],
    device: str | None,
    out: Path | None,
    as_json: bool,
    **settings,
) -> None:
    """Test whether MODEL has seen the benchmarks' test items (the paper's Table 9).

    The reference model goes on from the beginning of each item; an item that MODEL finds likelier
    than nearly all of these neighbours looks memorised. A killed run goes on with the item it was
    in. Exit status 1: a benchmark at the threshold or above, or one that could not be read.

    \b
    solar contamination ./outputs/solar-10.7b/instruct --reference ./outputs/solar-10.7b/cpt
    solar contamination ./outputs/tiny/instruct --reference ./outputs/tiny/cpt \\
        --data arc=outputs/tiny/world/benchmarks/mini_arc \\
        --benchmark arc --items 20 --neighbours 20
    """
    from solar_plugins.errors import SolarError

    given = {}
    for place in places:
        key, mark, where = place.partition("=")
        if not mark or not where:
            raise SolarError(f"--data: {place!r} found. Write BENCHMARK=PLACE, as arc=arc.jsonl")
        given[key] = where

    import torch
    from rich.console import Console
    from rich.progress import Progress

    from solar_plugins.evaluation import contamination, contamination_items
    from solar_plugins.evaluation.model_place import beside
    from solar_plugins.evaluation.scores import contamination_table

    for key in given:
        contamination_items.benchmark(key)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    out = out or beside(model, "contamination.json")
    with Progress(console=Console(stderr=True)) as bar:
        tasks: dict[str, int] = {}

        def advance(what: str, done: int, of: int) -> None:
            task = tasks.setdefault(what, bar.add_task(what) if what not in tasks else 0)
            bar.update(task, completed=done, total=of)

        result = contamination.measure_contamination(
            model,
            reference,
            out,
            benchmarks or tuple(given) or tuple(contamination_items.BENCHMARKS),
            given,
            contamination.Settings(device=device, **settings),
            advance,
        )
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        Console().print(contamination_table(result))
        click.echo(f"written to {out}")
    if result["not_run"] or contamination.contaminated(result):
        raise click.exceptions.Exit(1)
