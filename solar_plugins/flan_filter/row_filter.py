"""Dropping rows, batch by batch, in order: by the task that a column names, else by the prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.args import FlanFilterBlock
from solar_plugins.flan_filter.audit import EXAMPLES_PER_REASON, Audit, clipped, refuse_unknown
from solar_plugins.flan_filter.evidence import BY_NAME, DECONTAMINATION, FLAN_INPUTS
from solar_plugins.flan_filter.prompts import (
    EXAMPLE_CHARACTERS,
    JsonRows,
    TableRows,
    beginning,
    find_columns,
    is_text,
    prompts_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from solar_plugins.flan_filter.matcher import Finding

NAMES_REMEMBERED = 65_536

Removals = dict[int, tuple[str, str]]
"""Which rows of a batch go: row -> task and reason."""


class RowFilter:
    """Decides row by row, and writes down in an audit what it finds.

    Args:
        block: what to remove.
        source: the dataset: its path in `block`, and its name in the audit and in errors.
        columns: the names of the dataset's columns.

    Raises:
        SolarError: no row can be of a task that was asked for by name, or nothing names the task.
    """

    def __init__(self, block: FlanFilterBlock, source: str, columns: list[str]) -> None:
        index = block.opened_index
        wanted = task_names.expand(block.tasks)
        asked = block.columns_of(source)
        self._task, self._prompt = find_columns(source, columns, *asked, index is not None)
        # Where there are several datasets, another of them may have the task.
        if self._task is None and not block.allow_empty and len(block.datasets) == 1:
            refuse_unknown(block.tasks, index)
        self._matcher = None
        self._index: dict | None = None
        if index is not None:
            self._index = {
                "path": index.path,
                "digest": index.digest,
                "tasks": index.tasks,
                "joined": sorted(index.facts["texts"].get(FLAN_INPUTS, {})),
            }
            if self._prompt:
                from solar_plugins.flan_filter.matcher import Matcher

                self._matcher = Matcher(index, block.tasks, block.decontaminates(source))
        self._task_of = lru_cache(NAMES_REMEMBERED)(
            lambda name: wanted.get(task_names.normalised(name))
        )
        self.source, self._tasks = source, list(wanted.values())

    def new_audit(self) -> Audit:
        """An audit of this filter that has seen no row."""
        return Audit(self.source, self._tasks, self._task, list(self._prompt), self._index)

    def kept(self, batches: Iterable[TableRows | JsonRows], audit: Audit) -> Iterator[Any]:
        """The rows of `batches` that stay, in order and as they were: tables, or lists of lines.

        Raises:
            SolarError: a column does not hold text.
        """
        import pyarrow as pa

        for batch in filter(len, batches):
            stays = np.ones(len(batch), bool)
            stays[list(self.removals(batch, audit))] = False
            kept = batch.kept(pa.array(stays))
            if len(kept):
                yield kept

    def removals(self, batch: TableRows | JsonRows, audit: Audit) -> Removals:
        """Which rows of a batch go and why; `audit` counts all of its rows.

        Raises:
            SolarError: a column does not hold text.
        """
        named, removals = np.zeros(len(batch), bool), {}
        if self._task is not None:
            named, removals = self._by_name(batch, self._task, audit)
        audit.rows_unnamed += int(len(batch) - named.sum())
        audit.rows_invalid_utf8 += batch.invalid_utf8
        if self._matcher is not None:
            prompts = prompts_of(batch, self._prompt)
            _count_prompts(prompts, audit)
            for finding in self._matcher.find(prompts):
                # A name that is there is the last word on the task, not on contamination.
                by_task = finding.reason != DECONTAMINATION
                if finding.row not in removals and not (named[finding.row] and by_task):
                    if finding.removes:
                        removals[finding.row] = (finding.task, finding.reason)
                    _record(finding, prompts, audit)
        audit.rows_in += len(batch)
        return removals

    def _by_name(
        self, batch: TableRows | JsonRows, column: str, audit: Audit
    ) -> tuple[np.ndarray, Removals]:
        """Which rows have a name, and which of them go."""
        import pyarrow as pa

        names = batch.names(column)
        if not is_text(names.type):
            raise SolarError(
                f"flan_filter.task_column: {column!r} of {audit.source} holds {names.type}, not "
                "text. Name a column of task names."
            )
        encoded = names.cast(pa.large_string()).dictionary_encode()
        # A row without a name has the last of these.
        spelt = [*encoded.dictionary.to_pylist(), ""]
        indices = encoded.indices.fill_null(len(spelt) - 1).to_numpy(zero_copy_only=False)
        counts = np.bincount(indices, minlength=len(spelt))
        removals: Removals = {}
        for index, name in enumerate(spelt):
            rows, task = int(counts[index]), self._task_of(name)
            if name.strip() and task is not None:
                audit.removed[task][BY_NAME] += rows
                audit.spellings[task][name] += rows
                positions = np.flatnonzero(indices == index).tolist()
                removals |= dict.fromkeys(positions, (task, BY_NAME))
                examples = audit.examples[task][BY_NAME]
                for position in positions[: EXAMPLES_PER_REASON - len(examples)]:
                    shown = (f"{k}: {v}" for k, v in batch.row(position).items() if k != column)
                    text = clipped(re.sub(r"\s+", " ", " | ".join(shown)), EXAMPLE_CHARACTERS)
                    number = audit.rows_in + position
                    examples.append({"row": number, "task_name": name, "text": text})
            elif name.strip():
                audit.count_kept(name, rows)
        is_name = np.array([bool(name.strip()) for name in spelt])
        return is_name[indices], removals


def _record(finding: Finding, prompts: pa.Array, audit: Audit) -> None:
    reason = finding.reason
    if finding.removes:
        audit.removed[finding.task][reason] += 1
        examples = audit.examples[finding.task][reason]
    else:
        is_named = finding.part in ("definition", "inputs")
        kind = "related task" if is_named else "short text alone"
        kind = f"{reason}, {'near the threshold' if finding.share < 1.0 else kind}"
        audit.near[kind] += 1
        examples = audit.near_examples[kind]
    if len(examples) < EXAMPLES_PER_REASON:
        text = " ".join(beginning(prompts[finding.row]).split())
        example = {
            "row": audit.rows_in + finding.row,
            "part": finding.part,
            "found": clipped(finding.text, 120),
            "share": round(finding.share, 3),
            "text": clipped(text, EXAMPLE_CHARACTERS),
        }
        why = {} if finding.removes else {"task": finding.task, "why": finding.why}
        examples.append(example | why)


def _count_prompts(prompts: pa.Array, audit: Audit) -> None:
    import pyarrow as pa

    audit.rows_without_prompt += prompts.null_count
    try:
        prompts.cast(pa.large_string())
    except pa.ArrowInvalid:  # rare: only then is it worth a look at each row
        for text in filter(None, prompts.to_pylist()):
            audit.rows_invalid_utf8 += text.decode("utf-8", "ignore").encode() != text
