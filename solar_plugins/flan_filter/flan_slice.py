"""The listed tasks' rows of FLAN itself, as digests of their `inputs`, for the exact join.

Open-Orca/FLAN is 296 GB; of a Parquet file only the column of task names is read, and `inputs` only
of row groups that hold a listed task. Every file's digests are kept until the index is written, so
that an interrupted build goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.columns import as_bytes, buffer_of
from solar_plugins.flan_filter.public_data import read_from, unreadable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

RULE = 1
"""Counts up when equal inputs would get another digest."""

TASK_COLUMNS = ("_task_name", "task_name")
TEMPLATE_COLUMNS = ("_template_type", "template_type")
INPUTS = "inputs"

ROWS_PER_BATCH = 8_192

_MINIMUM_WORDS = 3


@dataclass(frozen=True)
class FlanFile:
    """One Parquet file of FLAN."""

    name: str
    size: int


def flan_files(folder: str, filesystem: AbstractFileSystem) -> list[FlanFile]:
    """All Parquet files below `folder`, in order."""
    with read_from(folder):
        found = filesystem.find(folder, detail=True)
    files = [FlanFile(name, f["size"]) for name, f in found.items() if name.endswith(".parquet")]
    return sorted(files, key=lambda file: file.name)


def is_flan(file: Path) -> bool:
    """Whether a local Parquet file has FLAN's columns."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        names = parquet.read_schema(file).names
    except pa.ArrowInvalid as error:
        raise unreadable(str(file), error) from error
    return INPUTS in names and any(column in names for column in TASK_COLUMNS)


def digests(
    files: list[FlanFile],
    filesystem: AbstractFileSystem,
    tasks: dict[str, str],
    parts: Path,
    progress: Callable[[int], None],
) -> Iterator[tuple[str, bytes]]:
    """The digest of every zero-shot prompt of `tasks`; each file is read once, whatever happens.

    Args:
        tasks: normalised name -> name as reported.
        parts: folder for what was read already.
        progress: called with the size of each file when it is done.
    """
    import pyarrow as pa
    from pyarrow import parquet

    for file in files:
        identity = repr((RULE, file.name, file.size, sorted(tasks)))
        part = parts / f"{xxhash.xxh3_128_hexdigest(identity.encode())}.parquet"
        if not part.exists():
            with read_from(file.name):
                names, found = _read(file, filesystem, tasks)
            table = pa.table({"task": pa.array(names, pa.string()), "digest": found})
            with atomic.new_file(part) as target:
                parquet.write_table(table, target, compression="zstd")
        table = parquet.read_table(part)
        yield from zip(table["task"].to_pylist(), table["digest"].to_pylist(), strict=True)
        progress(file.size)


def _read(
    file: FlanFile, filesystem: AbstractFileSystem, tasks: dict[str, str]
) -> tuple[list[str], list[bytes]]:
    import pyarrow as pa
    from pyarrow import parquet

    names: list[str] = []
    found: list[bytes] = []
    try:
        with filesystem.open(file.name, "rb") as raw, parquet.ParquetFile(raw) as opened:
            columns = opened.schema_arrow.names
            task_column = next((c for c in TASK_COLUMNS if c in columns), None)
            template_column = next((c for c in TEMPLATE_COLUMNS if c in columns), None)
            if task_column is None or INPUTS not in columns:
                raise SolarError(
                    f"{file.name}: its columns are {', '.join(columns)}. FLAN's rows have "
                    f"{INPUTS} and {' or '.join(TASK_COLUMNS)}."
                )
            for group in range(opened.num_row_groups):
                spelt = opened.read_row_group(group, columns=[task_column])[task_column]
                listed = {
                    name
                    for name in spelt.unique().to_pylist()
                    if name and task_names.normalised(name) in tasks
                }
                if not listed:
                    continue
                wanted = [task_column, INPUTS, *([template_column] if template_column else [])]
                for batch in opened.iter_batches(
                    ROWS_PER_BATCH, row_groups=[group], columns=wanted
                ):
                    rows = pa.Table.from_batches([batch])
                    stays = np.isin(rows[task_column].to_numpy(), list(listed))
                    if template_column:  # OpenOrca was made from the zero-shot prompts only
                        shots = rows[template_column].to_pylist()
                        stays &= ~np.array([str(shot).startswith("fs") for shot in shots])
                    rows = rows.filter(pa.array(stays))
                    for name, digest in zip(
                        rows[task_column].to_pylist(), _prompt_digests(rows[INPUTS]), strict=True
                    ):
                        if digest is not None:
                            names.append(tasks[task_names.normalised(name)])
                            found.append(digest)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise unreadable(file.name, error) from error
    return names, found


def _prompt_digests(column: Any) -> list[bytes | None]:
    from solar_plugins.flan_filter.anchors import no_texts
    from solar_plugins.flan_filter.scan import scan

    prompts = as_bytes(column.combine_chunks())
    _, both, counts = scan(*buffer_of(prompts), no_texts())
    return [
        both[row].tobytes() if counts[row] >= _MINIMUM_WORDS else None for row in range(len(both))
    ]
