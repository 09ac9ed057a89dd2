"""The listed tasks' rows of FLAN itself, as digests of their `inputs`, for the exact join.

Open-Orca/FLAN is 296 GB; of a Parquet file only the column of task names is read, and `inputs` only
of row groups that hold a listed task. Every file's digests are kept until the index is written, so
that an interrupted build goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.evidence import LEAST_WORDS
from solar_plugins.flan_filter.places import reached
from solar_plugins.flan_filter.prompts import TASK_COLUMNS, as_bytes, buffer_of
from solar_plugins.flan_filter.scan import no_texts, scan
from solar_plugins.recipes.rows import unreadable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

RULE = 1
"""Counts up when equal inputs would get another digest."""

TEMPLATE_COLUMNS = ("_template_type", "template_type")
INPUTS = "inputs"
WITHOUT_NETWORK = " Without a network, build from a folder: solar flan-index --from DIR --out INDEX"

_ROWS_PER_BATCH = 8_192


def is_flan(file: Path) -> bool:
    """Whether a local Parquet file has FLAN's columns."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        names = parquet.read_schema(file).names
    except pa.ArrowInvalid as error:
        raise unreadable(file, "parquet", error) from error
    return INPUTS in names and any(column in names for column in TASK_COLUMNS)


def digests(
    folder: str, filesystem: AbstractFileSystem, parts: Path, progress: Callable[[int], None]
) -> Iterator[tuple[str, bytes]]:
    """The digest of every zero-shot prompt of a listed or related task in the files of `folder`.

    Args:
        parts: folder for what was read already: each file is read once, whatever happens.
        progress: called with the size of each file when it is done.

    Raises:
        SolarError: the files cannot be read, or are not FLAN's.
    """
    import pyarrow as pa
    from pyarrow import parquet

    tasks = task_names.expand([task_names.SOLAR, task_names.RELATED])
    with reached(folder, hint=WITHOUT_NETWORK):
        files = filesystem.find(folder, detail=True)
    for name in sorted(name for name in files if name.endswith(".parquet")):
        size = files[name]["size"]
        identity = repr((RULE, name, size, sorted(tasks)))
        part = parts / f"{xxhash.xxh3_128_hexdigest(identity.encode())}.parquet"
        if not part.exists():
            with reached(name, hint=WITHOUT_NETWORK):
                found = list(_read(name, filesystem, tasks))
            schema = pa.schema([("task", pa.string()), ("digest", pa.binary())])
            rows = [dict(zip(schema.names, one, strict=True)) for one in found]
            with atomic.new_file(part) as target:
                parquet.write_table(pa.Table.from_pylist(rows, schema), target, compression="zstd")
        table = parquet.read_table(part)
        yield from zip(table["task"].to_pylist(), table["digest"].to_pylist(), strict=True)
        progress(size)


def _read(
    name: str, filesystem: AbstractFileSystem, tasks: dict[str, str]
) -> Iterator[tuple[str, bytes]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with filesystem.open(name, "rb") as raw, parquet.ParquetFile(raw) as opened:
            columns = opened.schema_arrow.names
            task_column, template_column = (
                next((column for column in known if column in columns), None)
                for known in (TASK_COLUMNS, TEMPLATE_COLUMNS)
            )
            if task_column is None or INPUTS not in columns:
                raise SolarError(
                    f"{name}: its columns are {', '.join(columns)}. FLAN's rows have {INPUTS} and "
                    f"{' or '.join(TASK_COLUMNS)}."
                )
            wanted = [column for column in (task_column, INPUTS, template_column) if column]
            for group in range(opened.num_row_groups):
                spelt = opened.read_row_group(group, columns=[task_column])[task_column]
                listed = {
                    one: tasks[key]
                    for one in spelt.unique().to_pylist()
                    if (key := task_names.normalised(one or "")) in tasks
                }
                if not listed:
                    continue
                for batch in opened.iter_batches(
                    _ROWS_PER_BATCH, row_groups=[group], columns=wanted
                ):
                    _, both, counts = scan(buffer_of(as_bytes(batch[INPUTS])), no_texts())
                    shots = batch[template_column or task_column].to_pylist()
                    rows = zip(batch[task_column].to_pylist(), shots, both, counts, strict=True)
                    for task, template, digest, words in rows:
                        # OpenOrca was made from the zero-shot prompts only.
                        few_shots = template_column and str(template).startswith("fs")
                        if task in listed and words >= LEAST_WORDS and not few_shots:
                            yield listed[task], digest.tobytes()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise unreadable(name, "parquet", error) from error
