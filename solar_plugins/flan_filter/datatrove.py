"""The filter as a block of datatrove pipelines, for its local, SLURM and Ray executors."""

from __future__ import annotations

import json
from collections.abc import Iterator

from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers.disk_base import DiskWriter

from solar_plugins.flan_filter.args import parse
from solar_plugins.flan_filter.audit import Audit
from solar_plugins.flan_filter.places import new_file
from solar_plugins.flan_filter.prompts import JsonRows
from solar_plugins.flan_filter.row_filter import RowFilter


class FlanFilter(BaseFilter):
    """Removes documents of benchmark-derived FLAN tasks, or with test items (SOLAR 10.7B, Table 8).

    The same rows go as with `solar filter`, for the same reasons: a dropped document has its reason
    in the statistics (``dropped_instance_text``) and, where an exclusion writer takes it, in
    ``filter_reason``; its task is in ``task_cot_gsm8k`` and in the metadata, as ``flan_task``.

    Args:
        index: file of `solar flan-index`, a path or any URL of fsspec; each task reads it once.
        tasks: as in the YAML block: ``solar`` (Table 8), ``related``, names of tasks, or a list.
        decontaminate: also drop documents that share 13 words in a row with a test item of H6.
        prompt_key: ``text``, or the keys of the metadata that hold the prompt.
        task_key: the key of the metadata that names the task; `_task_name` and `task_name` are
            looked for.
        audit_folder: where each task writes its audit when it is done; `Audit.merge` joins them.
        source: what the audit and errors call the documents.
        exclusion_writer: as in datatrove's filters.
        batch_size: documents that are filtered at once.

    Raises:
        SolarError: an argument is wrong; in a task: the index cannot be read, or neither a key nor
            an index says what task a document is of.
    """

    name = "🍮 FLAN tasks"
    _requires_dependencies = ("numba", "numpy", "pyarrow", "xxhash")

    def __init__(
        self,
        index: str | None = None,
        tasks: str | list[str] = "solar",
        decontaminate: bool = False,
        prompt_key: str | list[str] = "text",
        task_key: str | None = None,
        audit_folder: str | None = None,
        source: str = "documents",
        exclusion_writer: DiskWriter | None = None,
        batch_size: int = 1_000,
    ) -> None:
        super().__init__(exclusion_writer, batch_size)
        self.block = parse(
            {
                "datasets": [source],
                "tasks": tasks,
                "task_column": task_key,
                "prompt_column": prompt_key,
                "index": index,
                "decontaminate": decontaminate,
            }
        )
        self.audit_folder = audit_folder
        self._chosen: RowFilter | None = None
        self._audit: Audit | None = None

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: list[Document]) -> list[bool | tuple[bool, str]]:
        (source,) = self.block.datasets
        rows = JsonRows(source)
        for document in batch:
            rows.add(b"", {**document.metadata, "text": document.text}, True)
        if self._chosen is None:
            columns = list(dict.fromkeys(key for row in rows.rows for key in row))
            self._chosen = RowFilter(self.block, source, columns)
        self._audit = self._audit or self._chosen.new_audit()
        results: list[bool | tuple[bool, str]] = [True] * len(batch)
        for position, (task, reason) in self._chosen.removals(rows, self._audit).items():
            results[position] = (False, reason)
            batch[position].metadata["flan_task"] = task
            self.stat_update(f"task_{task}")
        return results

    def run(
        self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1
    ) -> Iterator[Document]:
        self._audit = None
        yield from super().run(data, rank, world_size)
        if self.audit_folder and self._audit is not None:
            with new_file(f"{self.audit_folder}/{rank:05d}.json") as file:
                file.write(json.dumps(self._audit.facts()).encode())
