"""`solar report`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for report.html and report.md. Default: the run folder.",
)
@click.option(
    "--paper",
    is_flag=True,
    help="Show the paper's rows on another base than the paper's (Mistral-7B-v0.1) too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON; write no file.")
def report_command(run: Path, out: Path | None, paper: bool, as_json: bool) -> None:
    """Write report.html and report.md of RUN, the output folder of a chain.

    The report shows scores (beside the paper's, on its base or with --paper), losses, rewards, the
    lineage of the models, layer maps, time and memory. It works for unfinished and failed runs too.

    \b
    solar report outputs/tiny
    solar report outputs/tiny --json | jq '.models[] | {model, h6}'
    """
    from solar_plugins.report import provenance, results, tables
    from solar_plugins.report.run import read_run

    found = read_run(run, paper)
    if as_json:
        content = results.summary(found) | {"digests": provenance.digests(found)}
        click.echo(json.dumps(content, indent=2))
        return
    from solar_plugins.report.write import write_report

    tables.print_results(found)
    for file in write_report(run, out, paper):
        click.echo(f"written: {file}")
