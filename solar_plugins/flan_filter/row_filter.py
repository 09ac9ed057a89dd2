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
NAMES_RECORDED = 20_000


class RowFilter:
    """Decides row by row, and keeps the audit while doing so.

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
        self.audit = Audit(source, list(wanted.values()), self._task, list(self._prompt))
        if index is not None:
            self.audit.index = {
                "path": index.path,
                "digest": index.digest,
                "tasks": index.tasks,
                "joined": sorted(index.facts["texts"].get(FLAN_INPUTS, {})),
            }
            if self._prompt:
                from solar_plugins.flan_filter.matcher import Matcher

                self._matcher = Matcher(index, wanted, block.decontaminates(source))
        self._task_of = lru_cache(NAMES_REMEMBERED)(
            lambda name: wanted.get(task_names.normalised(name))
        )

    def kept(self, batches: Iterable[TableRows | JsonRows]) -> Iterator[Any]:
        """The rows of `batches` that stay, in order and as they were: tables, or lists of lines.

        Raises:
            SolarError: a column does not hold text.
        """
        import pyarrow as pa

        for batch in filter(len, batches):
            named, stays = np.zeros(len(batch), bool), np.ones(len(batch), bool)
            if self._task is not None:
                named, stays = self._by_name(batch, self._task)
            self.audit.rows_unnamed += int(len(batch) - named.sum())
            self.audit.rows_invalid_utf8 += batch.invalid_utf8
            if self._matcher is not None:
                prompts = prompts_of(batch, self._prompt)
                self._count_prompts(prompts)
                for finding in self._matcher.find(prompts):
                    # A name that is there is the last word on the task, not on contamination.
                    by_task = finding.reason != DECONTAMINATION
                    if stays[finding.row] and not (named[finding.row] and by_task):
                        stays[finding.row] = not finding.removes
                        self._record(finding, prompts)
            self.audit.rows_in += len(batch)
            kept = batch.kept(pa.array(stays))
            if len(kept):
                yield kept

    def _by_name(self, batch: TableRows | JsonRows, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Which rows have a name, and which of them stay."""
        import pyarrow as pa

        audit = self.audit
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
        tasks = [self._task_of(name) for name in spelt]
        counts = np.bincount(indices, minlength=len(spelt))
        for index, (name, task) in enumerate(zip(spelt, tasks, strict=True)):
            rows = int(counts[index])
            if name.strip() and task is not None:
                audit.removed[task][BY_NAME] += rows
                audit.spellings[task][name] += rows
                examples = audit.examples[task][BY_NAME]
                room = EXAMPLES_PER_REASON - len(examples)
                for position in np.flatnonzero(indices == index)[:room].tolist() if room else ():
                    shown = (f"{k}: {v}" for k, v in batch.row(position).items() if k != column)
                    text = clipped(re.sub(r"\s+", " ", " | ".join(shown)), EXAMPLE_CHARACTERS)
                    number = audit.rows_in + position
                    examples.append({"row": number, "task_name": name, "text": text})
            elif name.strip() and (name in audit.kept or len(audit.kept) < NAMES_RECORDED):
                audit.kept[name] += rows
        is_name = np.array([bool(name.strip()) for name in spelt])
        stays = np.array([task is None for task in tasks])
        return is_name[indices], stays[indices]

    def _record(self, finding: Finding, prompts: pa.Array) -> None:
        audit, reason = self.audit, finding.reason
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

    def _count_prompts(self, prompts: pa.Array) -> None:
        import pyarrow as pa

        self.audit.rows_without_prompt += prompts.null_count
        try:
            prompts.cast(pa.large_string())
        except pa.ArrowInvalid:  # rare: only then is it worth a look at each row
            for text in filter(None, prompts.to_pylist()):
                self.audit.rows_invalid_utf8 += text.decode("utf-8", "ignore").encode() != text
