"""Dropping rows by the task that a column names, batch by batch, in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from solar_plugins.errors import SolarError, nearest
from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.audit import Audit

if TYPE_CHECKING:
    import pyarrow as pa

TASK_COLUMNS = ("_task_name", "task_name")
"""Where FLAN's public copies keep the task: Open-Orca/FLAN, and conceptofmind's copies."""

EXAMPLE_CHARACTERS = 400
NAMES_REMEMBERED = 65_536


def find_task_column(source: str, columns: Iterable[str], asked: str | None) -> str:
    """The column of `source` that names each row's task.

    Raises:
        SolarError: the column that was asked for is not there, or none of `TASK_COLUMNS` is.
    """
    columns = list(columns)
    there = f"its columns are {', '.join(columns)}" if columns else "it has no row"
    if asked is not None:
        if asked not in columns:
            raise SolarError(
                f"flan_filter.task_column: {source} has no column {asked!r}; {there}."
                f"{nearest(asked, columns)}"
            )
        return asked
    for column in TASK_COLUMNS:
        if column in columns:
            return column
    raise SolarError(
        f"flan_filter.datasets: {source} names no task per row ({there}). Write task_column if "
        "one of them does; the public Open-Orca/OpenOrca has none and needs a copy with task "
        "names or one that was filtered already."
    )


class TaskNameFilter:
    """Decides row by row, and keeps the audit while doing so.

    Args:
        tasks: what `flan_filter.tasks` says.
        source: the dataset's name for the audit and for errors.
        task_column: the column whose values are given to `keep`.
    """

    def __init__(self, tasks: str | list[str], source: str, task_column: str) -> None:
        self._wanted = task_names.expand(tasks)
        self._stems = {task_names.stem(name) for name in self._wanted.values()}
        self.audit = Audit(source, task_column, list(self._wanted.values()))
        self._task_of = lru_cache(NAMES_REMEMBERED)(self._look_up)

    def _look_up(self, name: str) -> str | None:
        return self._wanted.get(task_names.normalised(name))

    def keep(self, names: pa.Array, row: Callable[[int], dict]) -> pa.BooleanArray:
        """Which rows of a batch stay.

        Args:
            names: shape (rows,), the task column; null where a row has no task.
            row: gives row i of the batch as a dict, called for examples only.

        Raises:
            SolarError: the column does not hold text.
        """
        import pyarrow as pa

        first_row, audit = self.audit.rows_in, self.audit
        audit.rows_in += len(names)
        encoded = self._as_text(names).dictionary_encode()
        spelt = encoded.dictionary.to_pylist()
        tasks = [self._task_of(name) if name.strip() else None for name in spelt]
        rows_of: dict[int, list[int]] = {}
        for position, index in enumerate(encoded.indices.to_pylist()):
            if index is None or not spelt[index].strip():
                audit.rows_unnamed += 1
            else:
                rows_of.setdefault(index, []).append(position)
        for index, positions in rows_of.items():
            name, task = spelt[index], tasks[index]
            if task is None:
                audit.keep(name, len(positions))
                continue
            audit.remove(task, name, len(positions))
            for position in positions:
                if not audit.wants_example(task):
                    break
                text = _example(row(position), audit.task_column)
                audit.examples.setdefault(task, []).append(
                    {"row": first_row + position, "task_name": name, "text": text}
                )
        stays = pa.array([task is None for task in tasks], pa.bool_())
        return stays.take(encoded.indices).fill_null(True)

    def tables(self, batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The rows of `batches` that stay, in order, all columns as they were."""
        for batch in batches:
            names = batch.column(self.audit.task_column).combine_chunks()
            kept = batch.filter(self.keep(names, lambda i, rows=batch: _row(rows, i)))
            if kept.num_rows:
                yield kept

    def finish(self) -> Audit:
        """The audit of all batches, with the names that nearly matched."""
        self.audit.near_misses = sorted(
            name for name in self.audit.kept if task_names.stem(name) in self._stems
        )
        return self.audit

    def _as_text(self, names: pa.Array) -> pa.Array:
        import pyarrow as pa

        kind = names.type.value_type if pa.types.is_dictionary(names.type) else names.type
        if pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return names.cast(pa.large_string())
        raise SolarError(
            f"flan_filter.task_column: {self.audit.task_column!r} of {self.audit.source} holds "
            f"{kind}, not text. Name a column of task names."
        )


def refuse_empty(audits: list[Audit], tasks: str | list[str]) -> None:
    """Refuse a filter that did nothing, which is how a wrong column or name shows.

    Each dataset must lose a row. The word ``solar`` is satisfied by any of its ten tasks; a task
    that was asked for by its own name must be met in one of the datasets.

    Raises:
        SolarError: a dataset lost no row, or a task that was asked for by name was never met.
    """
    way_out = "Correct it, or write allow_empty: true (--allow-empty) if that is expected."
    met = {task_names.normalised(task) for audit in audits for task in audit.removed}
    known = [name for audit in audits for name in audit.kept]
    for name in task_names.asked_by_name(tasks):
        if task_names.normalised(name) not in met:
            raise SolarError(
                f"flan_filter.tasks: no row is of task {name!r}.{nearest(name, known)} {way_out}"
            )
    for audit in audits:
        if audit.rows_removed == 0:
            # The values themselves show whether it is the wrong column.
            seen = ", ".join(_clip(name) for name, _ in audit.kept.most_common(3))
            examples = f", for example {seen}" if seen else ""
            raise SolarError(
                f"flan_filter.datasets: none of the {audit.rows_in:,} rows of {audit.source} is of "
                f"a listed task (column {audit.task_column!r}: {len(audit.kept):,} task names"
                f"{examples}; {audit.rows_unnamed:,} rows unnamed). {way_out}"
            )


def _row(rows: pa.Table, position: int) -> dict:
    return rows.slice(position, 1).to_pylist()[0]


def _example(row: dict, task_column: str) -> str:
    texts = (f"{k}: {v}" for k, v in row.items() if k != task_column and isinstance(v, str))
    return _clip(re.sub(r"\s+", " ", " | ".join(texts)), EXAMPLE_CHARACTERS)


def _clip(text: str, characters: int = 60) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
