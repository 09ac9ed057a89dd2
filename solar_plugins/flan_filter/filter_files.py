"""The filter over files: one, or a folder of shards, each copied without the rows that go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import json_lines
from solar_plugins.flan_filter.audit import Audit
from solar_plugins.flan_filter.columns import find_columns, prompt_of_row
from solar_plugins.flan_filter.plan import Plan
from solar_plugins.flan_filter.prefetch import ahead
from solar_plugins.flan_filter.row_files import (
    BYTES_PER_BATCH,
    ROWS_PER_BATCH,
    Progress,
    compression_of,
    kind,
    open_arrow,
    open_parquet,
    schema_of,
    unreadable,
    write_arrow,
    write_parquet,
)
from solar_plugins.flan_filter.row_filter import RowFilter

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS_SEEN_IN = 100
"""A JSON Lines file has the columns of its first rows."""


def shards(source: Path) -> list[Path]:
    """The files of rows in and below a folder, in order; or the file itself.

    Raises:
        SolarError: there is none, they are of several kinds, or their schemas differ.
    """
    if not source.is_dir():
        return [source]
    files = sorted(file for file in source.rglob("*") if _is_rows(file, source))
    if not files:
        raise SolarError(f"{source}: no .parquet, .arrow or .jsonl file in it.")
    first = files[0]
    for file in files[1:]:
        if kind(file) != kind(first):
            raise SolarError(
                f"{file}: a {kind(file)} file beside {first.name}. Filter each kind on its own."
            )
        if kind(file) != "jsonl":
            _refuse_other_schema(first, file)
    return files


def filter_files(
    source: Path,
    target: Path,
    plan: Plan,
    accept: Callable[[Audit], None],
    progress: Progress,
) -> Audit:
    """Copy the rows of `source` that stay to `target`, in order, other columns untouched.

    Parquet and Arrow keep their schema with its metadata; lines of JSON are copied byte for byte.
    A folder becomes a folder with the same file names; one of an earlier run is replaced.

    Args:
        accept: sees the audit before `target` appears and may refuse by raising.

    Raises:
        SolarError: a file cannot be read as what its name says, or the columns are not there.
    """
    files = shards(source)
    if source.is_dir():
        there = {file.relative_to(target) for file in target.rglob("*") if file.is_file()}
        if there and there != {file.relative_to(source) for file in files}:
            raise SolarError(
                f"{target}: is there and holds other files than {source}. Name another folder."
            )
        with atomic.replaced_directory(target) as folder:
            chosen = None
            for file in files:
                copy = folder / file.relative_to(source)
                chosen = _filter_file(file, copy, plan, chosen, str(source), progress)
            if chosen is None:
                raise SolarError(f"{source}: its files have no row.")
            accept(chosen.finish())
        return chosen.audit
    if kind(source) != kind(target):
        raise SolarError(
            f"{target}: a {kind(target)} file cannot take the rows of {source} as they are. Give "
            "both files the same kind."
        )
    chosen = _filter_file(source, target, plan, None, str(source), progress, accept)
    if chosen is None:
        raise SolarError(f"{source}: it has no row.")
    return chosen.audit


def _filter_file(
    source: Path,
    target: Path,
    plan: Plan,
    chosen: RowFilter | None,
    name: str,
    progress: Progress,
    accept: Callable[[Audit], None] | None = None,
) -> RowFilter | None:
    """Filter one file; `chosen` goes on counting where a folder has several.

    None comes back as long as no row of JSON Lines has shown which columns there are.
    """
    import pyarrow as pa

    try:
        if kind(source) == "jsonl":
            return _filter_lines(source, target, plan, chosen, name, progress, accept)
        opened = open_parquet if kind(source) == "parquet" else open_arrow
        with opened(source, progress) as (schema, batches):
            chosen = chosen or _row_filter(plan, name, schema.names)
            with atomic.new_file(target) as file, ExitStack() as threads:
                read = threads.enter_context(ahead(batches))
                kept = threads.enter_context(ahead(chosen.tables(read)))
                if kind(source) == "parquet":
                    write_parquet(file, schema, kept, compression_of(source))
                else:
                    write_arrow(file, schema, kept)
                if accept:
                    accept(chosen.finish())
        return chosen
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise unreadable(source, error) from error
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's own complaint, which names its file
        raise unreadable(source, error) from error


def _filter_lines(
    source: Path,
    target: Path,
    plan: Plan,
    chosen: RowFilter | None,
    name: str,
    progress: Progress,
    accept: Callable[[Audit], None] | None,
) -> RowFilter | None:
    import pyarrow as pa

    with source.open("rb") as raw, json_lines.decompressed(raw, source) as file:
        batches = json_lines.batches(file, source, ROWS_PER_BATCH, BYTES_PER_BATCH)
        lines, rows, invalid = next(batches, ([], [], 0))
        if not lines and chosen is None:
            if accept is None:  # an empty shard stays one
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
            return None
        if chosen is None:
            keys = dict.fromkeys(key for row in rows[:_COLUMNS_SEEN_IN] for key in row)
            chosen = _row_filter(plan, name, list(keys))
        columns = chosen.columns
        prompt_of = prompt_of_row(columns, str(source)) if columns.prompt else None
        with atomic.new_file(target) as out, json_lines.compressed(out, target) as sink:
            seen = 0
            while lines:
                names = _names(rows, columns.task, source) if columns.task else None
                prompts = None
                if prompt_of:
                    prompts = pa.array([prompt_of(row) for row in rows], pa.large_binary())
                stays = chosen.keep(names, prompts, rows.__getitem__, len(rows))
                chosen.audit.rows_invalid_utf8 += invalid
                sink.writelines(
                    line if line.endswith(b"\n") else line + b"\n"
                    for line, stay in zip(lines, stays.to_pylist(), strict=True)
                    if stay
                )
                progress(raw.tell() - seen)
                seen = raw.tell()
                lines, rows, invalid = next(batches, ([], [], 0))
            if accept:
                accept(chosen.finish())
    return chosen


def _row_filter(plan: Plan, name: str, columns: list[str]) -> RowFilter:
    found = find_columns(
        name, columns, plan.task_column, plan.prompt_columns, plan.index is not None
    )
    return RowFilter(plan, name, found)


def _names(rows: list[dict], column: str, source: Path) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array([row.get(column) for row in rows])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SolarError(
            f"flan_filter.task_column: {column!r} of {source} holds values of several kinds. Name "
            "a column of task names."
        ) from error


def _is_rows(file: Path, folder: Path) -> bool:
    hidden = any(part[0] in "._" for part in file.relative_to(folder).parts)
    endings = (".parquet", ".arrow", *json_lines.ENDINGS)
    return not hidden and file.is_file() and file.name.lower().endswith(endings)


def _refuse_other_schema(first: Path, file: Path) -> None:
    one, other = schema_of(first), schema_of(file)
    if one.equals(other):
        return
    for name in dict.fromkeys([*one.names, *other.names]):
        kinds = [s.field(name).type if name in s.names else "absent" for s in (one, other)]
        if kinds[0] != kinds[1]:
            raise SolarError(
                f"{file}: column {name!r} is {kinds[1]} here and {kinds[0]} in {first.name}. Give "
                "all shards one schema, or filter them one by one."
            )
