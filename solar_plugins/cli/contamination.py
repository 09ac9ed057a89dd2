"""`solar contamination`."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import click

_DATA = "A file or folder with a benchmark's test items instead of the Hub's; repeatable."
_DTYPES = click.Choice(["float32", "bfloat16", "float16", "auto"])
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("contamination", context_settings={"show_default": True})
@click.argument("model")
@click.option("--reference", required=True, help="The model that writes the neighbours.")
@click.option(
    "--benchmark", "benchmarks", multiple=True, help="Repeatable. Default: --data's or all."
)
@click.option("--data", "places", multiple=True, metavar="BENCHMARK=PLACE", help=_DATA)
@click.option("--items", type=click.IntRange(1), default=100)
@click.option("--neighbours", type=click.IntRange(1), default=100)
@click.option("--seed", type=int, default=0, help="Seed of the sampling.")
@click.option("--batch-size", type=click.IntRange(1), default=32)
@click.option("--dtype", type=_DTYPES, default="float32", help="The published test's is float32.")
@click.option("--device", help="cpu, cuda, or auto for all GPUs. Default: cuda where there is one.")
@click.option(
    "--out", type=_FILE, help="Default: NAME.contamination.json beside the model, or here."
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
    **settings: Any,
) -> None:
    """Test whether MODEL has seen the benchmarks' test items (the paper's Table 9).

    The benchmarks are arc, mmlu, truthfulqa and gsm8k. The reference model, in the paper the
    pretrained SOLAR 10.7B, continues the beginning of each item; an item that MODEL finds likelier
    than nearly all of these neighbours looks memorised. An interrupted run resumes at the item it
    was in. Exit status 1: a benchmark at the threshold or above, or one that could not be read.

    \b
    # all four benchmarks from the Hub, as in the paper
    solar contamination ./outputs/solar-10.7b/instruct --reference ./outputs/solar-10.7b/cpt
    # the miniature's ARC, small enough for a CPU
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
    from rich.progress import Progress, TaskID

    from solar_plugins.evaluation import contamination
    from solar_plugins.evaluation.benchmarks import CONTAMINABLE
    from solar_plugins.evaluation.result_file import beside
    from solar_plugins.evaluation.scores import contamination_table
    from solar_plugins.terminal import print_whole

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    out = out or beside(model, "contamination.json")
    with Progress(console=Console(stderr=True)) as bar:
        tasks: defaultdict[str, TaskID] = defaultdict(lambda: bar.add_task(""))

        def advance(what: str, done: int, of: int) -> None:
            bar.update(tasks[what], description=what, completed=done, total=of)

        result = contamination.measure_contamination(
            model,
            reference,
            out,
            benchmarks or tuple(given) or tuple(CONTAMINABLE),
            given,
            contamination.ContaminationSettings(device=device, **settings),
            advance,
        )
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        print_whole(Console(), contamination_table(result))
        click.echo(f"written to {out}")
    if result["not_run"] or contamination.contaminated(result):
        raise click.exceptions.Exit(1)
