"""`solar filter`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="filter")
@click.argument("source", metavar="IN", type=click.Path(exists=True, dir_okay=False))
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False))
@click.option(
    "--tasks",
    multiple=True,
    default=("solar",),
    show_default=True,
    help="`solar` (the ten tasks of Table 8) or a task name; repeat it, or separate with commas.",
)
@click.option("--task-column", help="The column with each row's task (guessed: task_name).")
@click.option("--audit", type=click.Path(dir_okay=False), help="Write the audit: .json or .md.")
@click.option("--allow-empty", is_flag=True, help="Accept that a task or the filter meets no row.")
@click.option("--json", "as_json", is_flag=True, help="Print the audit as JSON.")
def filter_command(
    source: str,
    target: str,
    tasks: tuple[str, ...],
    task_column: str | None,
    audit: str | None,
    allow_empty: bool,
    as_json: bool,
) -> None:
    """Remove rows of benchmark-derived FLAN tasks from a file, outside training.

    Reads Parquet, Arrow and JSON Lines (also .gz, .zst) in bounded memory and writes the rows
    that stay, in order and otherwise untouched, to OUT of the same kind. OUT appears when it is
    complete.

    \b
    solar filter orca.parquet orca-filtered.parquet --audit audit.md
    solar filter metamath.jsonl math-only.jsonl --task-column type \\
        --tasks GSM_AnsAug,GSM_Rephrased,GSM_SV,GSM_FOBAR
    """
    from solar_plugins import atomic
    from solar_plugins.flan_filter.audit import Audit, report
    from solar_plugins.flan_filter.row_files import filter_file
    from solar_plugins.flan_filter.row_filter import refuse_empty

    names = [name.strip() for part in tasks for name in part.split(",") if name.strip()]
    if Path(target).exists() and Path(source).samefile(target):
        raise click.UsageError(f"OUT is IN ({source}). Name another file.")
    if audit and Path(audit).suffix not in (".json", ".md"):
        raise click.UsageError(f"--audit {audit}: name a .json or .md file.")

    def accept(result: Audit) -> None:
        if not allow_empty:
            refuse_empty([result], names)

    size = Path(source).stat().st_size
    with click.progressbar(
        length=size, label=f"filtering {source}", file=click.get_text_stream("stderr")
    ) as bar:
        result = filter_file(Path(source), Path(target), names, task_column, accept, bar.update)
    facts, page = report([result])
    if audit:
        if audit.endswith(".json"):
            atomic.write_json(audit, facts)
        else:
            atomic.write_text(audit, page)
    if as_json:
        click.echo(json.dumps(facts))
        return
    for task in result.tasks:
        click.echo(f"{sum(result.removed.get(task, {}).values()):>10,}  {task}")
    click.echo(
        f"{result.rows_in:,} rows in, {result.rows_removed:,} removed, {result.rows_out:,} written "
        f"to {target}"
    )
