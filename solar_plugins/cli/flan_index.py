"""`solar flan-index`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="flan-index")
@click.option(
    "--from",
    "sources",
    metavar="SOURCE",
    multiple=True,
    required=True,
    help="`benchmarks` (the public data sets, from the Hub), a folder with one folder per "
    "benchmark, or Open-Orca/FLAN (or a folder of it); repeat it to have all methods in one index.",
)
@click.option("--out", "target", metavar="INDEX", required=True, type=click.Path(dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print what the index holds as JSON.")
def flan_index_command(sources: tuple[str, ...], target: str, as_json: bool) -> None:
    """Build the file by which `solar filter` and the plugin recognise rows without a task name.

    From the benchmarks' training splits come the texts that FLAN shows, from their test splits the
    13-grams for decontamination, from FLAN the digests of the listed tasks' prompts (the exact
    join: complete, and the only method for prompts that show no text of the item). One file of some
    ten MB that can be shared. A build from FLAN that was stopped goes on where it was.

    \b
    solar flan-index --from benchmarks --out flan.index
    solar flan-index --from benchmarks --from Open-Orca/FLAN --out flan.index
    solar flan-index --from ./benchmarks --out flan.index
        # without network: ./benchmarks/{gsm8k,hellaswag,winogrande,drop,ai2_arc}/train.jsonl with
        # the public columns, test.jsonl for decontamination, niv2/task*.json for definitions
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from solar_plugins.flan_filter import build_index

    path = Path(target)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("reading", total=None)
        reached: dict[str, int] = {}

        def progress(name: str, amount: int) -> None:
            reached[name] = reached.get(name, 0) + amount
            if amount > 1 or reached[name] % 1000 == 0:
                bar.update(task, description=f"{name}: {reached[name]:,}")

        parts = path.parent / f".{path.name}.parts"
        facts, read = build_index.build(sources, path, parts, progress)
    if as_json:
        click.echo(json.dumps(facts))
        return
    for road, counts in facts["texts"].items():
        for known, texts in sorted(counts.items()):
            click.echo(f"{texts:>10,}  {road:<16} {known}")
    for name, rows in read.items():
        click.echo(f"{rows:>10,}  rows read of {name}")
    click.echo(
        f"{facts['too_short']:,} texts of fewer than three words left out; "
        f"{path.stat().st_size / 2**20:.1f} MiB, digest {facts['digest']}, written to {target}"
    )
