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
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON; write no file.")
def report_command(run: Path, out: Path | None, as_json: bool) -> None:
    """Write report.html and report.md of RUN, the output folder of a chain.

    The report compares the scores with the paper's and shows losses, rewards, the lineage of the
    models, layer maps, time and memory. It works for unfinished and failed runs too.

    \b
    solar report outputs/tiny
    solar report outputs/tiny --json | jq '.models[] | {model, h6}'
    """
    if as_json:
        from solar_plugins.report import provenance
        from solar_plugins.report.results import summary
        from solar_plugins.report.run import read_run

        found = read_run(run)
        content = summary(found) | {"digests": provenance.digests(found)}
        click.echo(json.dumps(content, indent=2))
        return
    from rich.console import Console

    from solar_plugins.report.tables import results_table
    from solar_plugins.report.write import write_report

    Console().print(results_table(run))
    for file in write_report(run, out):
        click.echo(f"written: {file}")
