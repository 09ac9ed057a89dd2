"""`solar filter`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command(name="filter")
@click.argument("source", metavar="IN", type=click.Path(exists=True))
@click.argument("target", metavar="OUT", type=click.Path())
@click.option(
    "--tasks",
    multiple=True,
    default=("solar",),
    show_default=True,
    help="`solar` (the ten tasks of Table 8), `related` (tasks of the same benchmarks that it "
    "leaves out) or a task name; repeat it, or separate with commas.",
)
@click.option("--task-column", help="The column with each row's task (guessed: task_name).")
@click.option(
    "--prompt-column",
    "prompt_columns",
    multiple=True,
    help="The column of the prompt; repeat it if there are several (guessed: question, inputs, "
    "conversations, instruction + input, prompt).",
)
@click.option("--index", help="Recognise rows without a name by this file of `solar flan-index`.")
@click.option(
    "--decontaminate",
    is_flag=True,
    help="Also remove rows that share 13 words in a row with a test item of H6.",
)
@click.option("--audit", type=click.Path(dir_okay=False), help="Write the audit: .json or .md.")
@click.option("--allow-empty", is_flag=True, help="Accept that a task or the filter meets no row.")
@click.option("--json", "as_json", is_flag=True, help="Print the audit as JSON.")
def filter_command(
    source: str,
    target: str,
    tasks: tuple[str, ...],
    task_column: str | None,
    prompt_columns: tuple[str, ...],
    index: str | None,
    decontaminate: bool,
    audit: str | None,
    allow_empty: bool,
    as_json: bool,
) -> None:
    """Remove rows of benchmark-derived FLAN tasks from a file, outside training.

    Reads Parquet, Arrow and JSON Lines (also .gz, .zst), or a folder of such shards, in bounded
    memory and writes the rows that stay, in order and otherwise untouched, to OUT of the same kind.
    OUT appears when it is complete.

    \b
    solar flan-index --from benchmarks --out flan.index
    solar filter openorca.parquet filtered.parquet --index flan.index --audit audit.md
    solar filter metamath.jsonl math-only.jsonl --task-column type \\
        --tasks GSM_AnsAug,GSM_Rephrased,GSM_SV,GSM_FOBAR
    """
    from solar_plugins import atomic
    from solar_plugins.flan_filter.args import parse
    from solar_plugins.flan_filter.audit import refuse_empty, report
    from solar_plugins.flan_filter.filter_files import filter_files, shards

    names = [name.strip() for part in tasks for name in part.split(",") if name.strip()]
    if Path(target).exists() and Path(source).samefile(target):
        raise click.UsageError(f"OUT is IN ({source}). Name another file.")
    if audit and Path(audit).suffix not in (".json", ".md"):
        raise click.UsageError(f"--audit {audit}: name a .json or .md file.")

    block = parse(
        {
            "tasks": names,
            "datasets": [source],
            "task_column": task_column,
            "prompt_column": list(prompt_columns) or None,
            "index": index,
            "decontaminate": decontaminate,
            "allow_empty": allow_empty,
        }
    )

    def accept(result: dict) -> None:
        if not allow_empty:
            refuse_empty([result], names)

    size = sum(file.stat().st_size for file in shards(Path(source)))
    with click.progressbar(length=size, label=f"filtering {source}", file=sys.stderr) as bar:
        result = filter_files(Path(source), Path(target), block, accept, bar.update)
    facts, page = report([result])
    if audit:
        if audit.endswith(".json"):
            atomic.write_json(audit, facts)
        else:
            atomic.write_text(audit, page)
    if as_json:
        click.echo(json.dumps(facts))
        return
    for task in dict.fromkeys([*result["tasks"], *result["removed"]]):
        reasons = result["removed"].get(task, {})
        counts = ", ".join(f"{reason} {rows:,}" for reason, rows in reasons.items())
        click.echo(f"{sum(reasons.values()):>10,}  {task}" + (f"  ({counts})" if counts else ""))
    if result["unseen_tasks"]:
        unseen = ", ".join(result["unseen_tasks"])
        click.echo(f"{'':>10}  by name only (not in the index): {unseen}")
    for kind, rows in result["near"].items():
        click.echo(f"{rows:>10,}  kept: {kind}")
    click.echo(
        f"{result['rows_in']:,} rows in, {result['rows_removed']:,} removed, "
        f"{result['rows_out']:,} written to {target}"
    )
