"""A filter that does nothing is refused: that is how a wrong column or name shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solar_plugins.errors import SolarError, nearest
from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.audit import Audit, clipped
from solar_plugins.flan_filter.benchmarks import benchmarks
from solar_plugins.flan_filter.evidence import INSTANCE_TEXT

if TYPE_CHECKING:
    from solar_plugins.flan_filter.index_file import Index


def refuse_empty(audits: list[Audit], tasks: str | list[str]) -> None:
    """Refuse a filter that did nothing, which is how a wrong column or name shows.

    Each dataset must lose a row. The words ``solar`` and ``related`` are satisfied by any of their
    tasks; a task that was asked for by its own name must be met in one of the datasets. An item's
    text does not tell its tasks apart, so that one of them is met where another is reported.

    Raises:
        SolarError: a dataset lost no row, or a task that was asked for by name was never met.
    """
    way_out = "Correct it, or write allow_empty: true (--allow-empty) if that is expected."
    met = {task_names.normalised(task) for audit in audits for task in _met(audit)}
    for name in task_names.asked_by_name(tasks):
        if task_names.normalised(name) not in met:
            raise SolarError(
                f"flan_filter.tasks: no row is of task {name!r}.{nearest(name, _known(audits))} "
                f"{way_out}"
            )
    for audit in audits:
        if audit.rows_removed == 0:
            raise SolarError(
                f"flan_filter.datasets: none of the {audit.rows_in:,} rows of {audit.source} is of "
                f"a listed task ({_what_was_read(audit)}). {way_out}"
            )


def refuse_unknown(tasks: str | list[str], index: Index | None) -> None:
    """Refuse, before any row is read, a task that neither Table 8 nor the index knows.

    Only where the index is all there is: a column may name tasks that we have never heard of.

    Raises:
        SolarError: a task is unknown.
    """
    if index is None:
        return
    known = [*(t.name for t in task_names.SOLAR_TASKS), *task_names.RELATED_TASKS, *index.tasks]
    there = {task_names.normalised(name) for name in known}
    for name in task_names.asked_by_name(tasks):
        if task_names.normalised(name) not in there:
            raise SolarError(
                f"flan_filter.tasks: neither Table 8 nor {index.path} knows the task {name!r}."
                f"{nearest(name, known)} Its tasks are {', '.join(index.tasks)}."
            )


def _met(audit: Audit) -> set[str]:
    met = set(audit.removed)
    for benchmark in benchmarks().values():
        if any(INSTANCE_TEXT in audit.removed.get(task, ()) for task in benchmark.TEMPLATES):
            met |= set(benchmark.TEMPLATES)
    return met


def _known(audits: list[Audit]) -> list[str]:
    seen = [name for audit in audits for name in audit.kept]
    tasks = [task for audit in audits if audit.index for task in audit.index["tasks"]]
    return [*seen, *tasks, *(task.name for task in task_names.SOLAR_TASKS)]


def _what_was_read(audit: Audit) -> str:
    """The values themselves show whether it is the wrong column."""
    read = []
    if audit.task_column:
        seen = ", ".join(clipped(name) for name, _ in audit.kept.most_common(3))
        examples = f", for example {seen}" if seen else ""
        read.append(
            f"column {audit.task_column!r}: {len(audit.kept):,} task names{examples}; "
            f"{audit.rows_unnamed:,} rows unnamed"
        )
    if audit.prompt_columns:
        read.append(
            f"prompts of {', '.join(map(repr, audit.prompt_columns))}, "
            f"{audit.rows_without_prompt:,} of them null"
        )
    return "; ".join(read)
