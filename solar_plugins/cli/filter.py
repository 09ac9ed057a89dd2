"""`solar filter`."""

from __future__ import annotations

import json
import sys

import click

_TASKS = "solar (Table 8), related (tasks it leaves out) or names, with commas or repeated."
_PROMPT = "The column of the prompt (guessed: question, inputs, conversations, …); repeatable."
_WORKERS = "Processes for a folder of shards, about 0.7 GiB each; the output is the same."


@click.command(name="filter")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--tasks", multiple=True, default=("solar",), show_default=True, help=_TASKS)
@click.option("--task-column", help="The column with each row's task (guessed: task_name).")
@click.option("--prompt-column", "prompt_columns", multiple=True, help=_PROMPT)
@click.option("--index", help="Recognise rows without a name by this file of `solar flan-index`.")
@click.option("--decontaminate", is_flag=True, help="Also remove rows that show a test item of H6.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help=_WORKERS)
@click.option("--audit", help="Write the audit: .json or .md.")
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
    workers: int,
    audit: str | None,
    allow_empty: bool,
    as_json: bool,
) -> None:
    """Remove rows of benchmark-derived FLAN tasks from a file, outside training.

    Reads Parquet, Arrow and JSON Lines (also .gz, .zst), or a folder of such shards, in bounded
    memory and writes the rows that stay, in order and otherwise untouched, to OUT of the same kind.
    OUT appears when it is complete. IN, OUT, --index and --audit are paths or URLs of fsspec
    (hf://, s3://, gs://, …); at a URL, OUT's shards appear one by one. A folder whose run was
    stopped goes on with the shards that are not done.

    \b
    solar flan-index --from benchmarks --out flan.index
    solar filter openorca.parquet filtered.parquet --index flan.index --audit audit.md
    solar filter hf://datasets/Open-Orca/FLAN s3://bucket/flan --index flan.index --workers 8
    solar filter metamath.jsonl math-only.jsonl --task-column type \\
        --tasks GSM_AnsAug,GSM_Rephrased,GSM_SV,GSM_FOBAR
    """
    from solar_plugins.flan_filter.args import parse
    from solar_plugins.flan_filter.audit import refuse_empty, report
    from solar_plugins.flan_filter.filter_files import filter_files
    from solar_plugins.flan_filter.places import local_path, new_file
    from solar_plugins.flan_filter.shards import found

    names = [name.strip() for part in tasks for name in part.split(",") if name.strip()]
    read, written = local_path(source), local_path(target)
    if read and not read.exists():
        raise click.UsageError(f"IN: {source} is not there.")
    if source == target or (read and written and written.resolve().is_relative_to(read.resolve())):
        raise click.UsageError(f"OUT is IN or in it ({source}). Name another place.")
    if audit and not audit.endswith((".json", ".md")):
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

    shards = found(source)
    size = sum(shard.size for shard in shards)
    with click.progressbar(length=size, label=f"filtering {source}", file=sys.stderr) as bar:
        result = filter_files(shards, target, block, accept, bar.update, workers)
    facts, page = report([result])
    if audit:
        with new_file(audit) as file:
            text = json.dumps(facts, indent=2) + "\n" if audit.endswith(".json") else page
            file.write(text.encode())
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
