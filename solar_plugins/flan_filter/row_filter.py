"""Dropping rows, batch by batch, in order: by the task that a column names, else by the prompt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.audit import Audit, clipped
from solar_plugins.flan_filter.columns import Columns, prompts_of_table
from solar_plugins.flan_filter.evidence import BY_NAME, DECONTAMINATION, FLAN_INPUTS
from solar_plugins.flan_filter.plan import Plan
from solar_plugins.flan_filter.sanity_checks import refuse_unknown

if TYPE_CHECKING:
    import pyarrow as pa

    from solar_plugins.flan_filter.matcher import Finding

EXAMPLE_CHARACTERS = 400
NAMES_REMEMBERED = 65_536


class RowFilter:
    """Decides row by row, and keeps the audit while doing so.

    Args:
        plan: what to remove.
        source: the dataset's name for the audit and for errors.
        columns: which columns are given to `keep`.

    Raises:
        SolarError: no row can be of a task that was asked for by name.
    """

    def __init__(self, plan: Plan, source: str, columns: Columns) -> None:
        self._wanted = task_names.expand(plan.tasks)
        self._stems = {task_names.stem(name) for name in self._wanted.values()}
        if columns.task is None and not plan.unknown_allowed:
            refuse_unknown(plan.tasks, plan.index)
        self._matcher = None
        if plan.index is not None and columns.prompt:
            from solar_plugins.flan_filter.matcher import Matcher

            self._matcher = Matcher(plan.index, self._wanted, plan.decontaminate)
        self.columns = columns
        self.audit = Audit(source, list(self._wanted.values()), columns.task, list(columns.prompt))
        if plan.index is not None:
            self.audit.index = {
                "path": plan.index.path,
                "digest": plan.index.digest,
                "tasks": plan.index.tasks,
                "joined": sorted(plan.index.facts["texts"].get(FLAN_INPUTS, {})),
            }
        self._task_of = lru_cache(NAMES_REMEMBERED)(self._look_up)

    def keep(
        self,
        names: pa.Array | None,
        prompts: pa.Array | None,
        row: Callable[[int], dict],
        rows: int,
    ) -> pa.BooleanArray:
        """Which rows of a batch stay.

        Args:
            names: shape (rows,), the task column; null where a row has no task.
            prompts: shape (rows,), large_binary.
            row: gives row i of the batch as a dict, called for examples only.

        Raises:
            SolarError: the task column does not hold text.
        """
        import pyarrow as pa

        named = np.zeros(rows, bool)
        stays = np.ones(rows, bool)
        if names is not None:
            named, stays = self._by_name(names, row)
        self.audit.rows_unnamed += int(rows - named.sum())
        if self._matcher is not None and prompts is not None:
            self._count_prompts(prompts)
            for finding in self._matcher.find(prompts):
                # A name that is there is the last word on the task, not on contamination.
                if not stays[finding.row]:
                    continue
                if named[finding.row] and finding.reason != DECONTAMINATION:
                    continue
                stays[finding.row] = not finding.removes
                self._record(finding, prompts)
        self.audit.rows_in += rows
        return pa.array(stays)

    def tables(self, batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The rows of `batches` that stay, in order, all columns as they were."""
        for batch in batches:
            names = prompts = None
            if self.columns.task is not None:
                names = batch.column(self.columns.task).combine_chunks()
            if self._matcher is not None:
                prompts = prompts_of_table(batch, self.columns, self.audit.source)
            stays = self.keep(names, prompts, partial(_row, batch), len(batch))
            kept = batch if stays.true_count == len(batch) else batch.filter(stays)
            if kept.num_rows:
                yield kept

    def finish(self) -> Audit:
        """The audit of all batches, with the names that nearly matched."""
        self.audit.near_misses = sorted(
            name for name in self.audit.kept if task_names.stem(name) in self._stems
        )
        return self.audit

    def _by_name(
        self, names: pa.Array, row: Callable[[int], dict]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which rows have a name, and which of them stay."""
        audit = self.audit
        encoded = self._as_text(names).dictionary_encode()
        spelt = encoded.dictionary.to_pylist()
        tasks = [self._task_of(name) if name.strip() else None for name in spelt]
        indices = encoded.indices.fill_null(len(spelt)).to_numpy(zero_copy_only=False)
        blank = np.array([not name.strip() for name in spelt] + [True])
        goes = np.array([task is not None for task in tasks] + [False])
        for index, rows in enumerate(np.bincount(indices, minlength=len(spelt) + 1)[:-1]):
            name, task = spelt[index], tasks[index]
            if blank[index]:
                continue
            if task is None:
                audit.keep(name, int(rows))
                continue
            audit.remove(task, BY_NAME, int(rows))
            audit.spellings.setdefault(task, Counter())[name] += int(rows)
            for position in np.flatnonzero(indices == index):
                examples = audit.examples_of(task, BY_NAME)
                if examples is None:
                    break
                text = _example(row(int(position)), audit.task_column)
                number = audit.rows_in + int(position)
                examples.append({"row": number, "task_name": name, "text": text})
        return ~blank[indices], ~goes[indices]

    def _record(self, finding: Finding, prompts: pa.Array) -> None:
        def example() -> dict:
            shown = prompts[finding.row].as_buffer()[: 4 * EXAMPLE_CHARACTERS].to_pybytes()
            text = " ".join(shown.decode("utf-8", errors="replace").split())
            return {
                "row": self.audit.rows_in + finding.row,
                "part": finding.part,
                "found": clipped(finding.text, 120),
                "share": round(finding.share, 3),
                "text": clipped(text, EXAMPLE_CHARACTERS),
            }

        if finding.removes:
            self.audit.remove(finding.task, finding.reason)
            examples = self.audit.examples_of(finding.task, finding.reason)
            if examples is not None:
                examples.append(example())
        else:
            kind = f"{finding.reason}, {_kind(finding)}"
            self.audit.stays_near(kind, {**example(), "task": finding.task, "why": finding.why})

    def _count_prompts(self, prompts: pa.Array) -> None:
        import pyarrow as pa

        self.audit.rows_without_prompt += prompts.null_count
        try:
            prompts.cast(pa.large_string())
        except pa.ArrowInvalid:
            # Rare: only then is it worth a look at each row.
            for value in prompts.to_pylist():
                try:
                    (value or b"").decode("utf-8")
                except UnicodeDecodeError:
                    self.audit.rows_invalid_utf8 += 1

    def _look_up(self, name: str) -> str | None:
        return self._wanted.get(task_names.normalised(name))

    def _as_text(self, names: pa.Array) -> pa.Array:
        import pyarrow as pa

        kind = names.type.value_type if pa.types.is_dictionary(names.type) else names.type
        if pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return names.cast(pa.large_string())
        raise SolarError(
            f"flan_filter.task_column: {self.audit.task_column!r} of {self.audit.source} holds "
            f"{kind}, not text. Name a column of task names."
        )


def _kind(finding: Finding) -> str:
    if finding.share < 1.0:
        return "near the threshold"
    return "related task" if finding.part in ("definition", "inputs") else "short text alone"


def _row(rows: pa.Table, position: int) -> dict:
    """The texts of one row; what is no UTF-8 is shown as U+FFFD."""
    import pyarrow as pa

    row = {}
    for name in rows.schema.names:
        value = rows.column(name)[position]
        if value.is_valid and (
            pa.types.is_string(value.type) or pa.types.is_large_string(value.type)
        ):
            shown = value.as_buffer()[: 4 * EXAMPLE_CHARACTERS].to_pybytes()
            row[name] = shown.decode("utf-8", errors="replace")
    return row


def _example(row: dict, task_column: str | None) -> str:
    texts = (f"{k}: {v}" for k, v in row.items() if k != task_column and isinstance(v, str))
    return clipped(re.sub(r"\s+", " ", " | ".join(texts)), EXAMPLE_CHARACTERS)
