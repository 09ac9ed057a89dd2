"""Files of rows: Parquet, Arrow and JSON Lines, read in bounded memory and written whole."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from solar_plugins.errors import SolarError
from solar_plugins.flan_filter.audit import Audit
from solar_plugins.flan_filter.row_filter import TaskNameFilter, find_task_column

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_BATCH = 8_192
BYTES_PER_ROW_GROUP = 64 * 2**20

Progress = Callable[[int], None]
"""Called with the number of bytes of the source that were read since the last call."""


def kind(path: Path) -> str:
    """`parquet`, `arrow` or `jsonl`, by the name of the file.

    Raises:
        SolarError: the name ends in none of the endings that are read.
    """
    name = path.name.lower()
    for ending in (".gz", ".zst"):
        if name.endswith((f".jsonl{ending}", f".json{ending}")):
            return "jsonl"
    kinds = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "jsonl", ".json": "jsonl"}
    if path.suffix.lower() not in kinds:
        raise SolarError(
            f"{path}: unknown kind of file. Name a .parquet, .arrow, .jsonl, .jsonl.gz or "
            ".jsonl.zst file."
        )
    return kinds[path.suffix.lower()]


def filter_file(
    source: Path,
    target: Path,
    tasks: str | list[str],
    task_column: str | None,
    accept: Callable[[Audit], None],
    progress: Progress,
) -> Audit:
    """Copy the rows of `source` that stay to `target`, in order, other columns untouched.

    Parquet and Arrow keep their schema with its metadata; lines of JSON are copied byte for byte.

    Args:
        accept: sees the audit before `target` appears and may refuse by raising.

    Raises:
        SolarError: the file cannot be read as what its name says, or has no task column.
    """
    import pyarrow as pa

    if kind(source) != kind(target):
        raise SolarError(
            f"{target}: a {kind(target)} file cannot take the rows of {source} as they are. Give "
            "both files the same kind."
        )
    try:
        if kind(source) == "jsonl":
            return _filter_lines(source, target, tasks, task_column, accept, progress)
        opened = _open_parquet if kind(source) == "parquet" else _open_arrow
        with opened(source, progress) as (schema, batches):
            column = find_task_column(str(source), schema.names, task_column)
            chosen = TaskNameFilter(tasks, str(source), column)
            with appears_whole(target) as file:
                write = write_parquet if kind(source) == "parquet" else _write_arrow
                write(file, schema, chosen.tables(batches))
                accept(chosen.finish())
            return chosen.audit
    except pa.ArrowInvalid as error:
        raise SolarError(f"{source}: not readable as {kind(source)}: {_line(error)}") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise SolarError(f"{source}: the compressed stream is damaged: {_line(error)}") from error
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's own complaint, which names its file
        raise SolarError(f"{source}: the compressed stream is damaged: {_line(error)}") from error


@contextmanager
def appears_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that stands at `path`, complete, when the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in path.parent.glob(f".{path.name}.*.partial"):  # of a run that was killed
        left_over.unlink(missing_ok=True)
    partial = path.parent / f".{path.name}.{os.getpid()}.partial"
    try:
        with partial.open("wb") as file:
            yield file
        with partial.open("rb+") as file:  # Arrow's streams close the file that they write to
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_parquet(file: IO[bytes], schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write `tables` in row groups of about `BYTES_PER_ROW_GROUP`, however small they come."""
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        for table in tables:
            waiting.append(table.cast(schema) if table.schema != schema else table)
            if sum(part.nbytes for part in waiting) >= BYTES_PER_ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))


def _write_arrow(file: IO[bytes], schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    import pyarrow as pa

    with pa.ipc.new_stream(file, schema) as writer:
        for table in tables:
            writer.write_table(table)


@contextmanager
def _open_parquet(path: Path, progress: Progress) -> Iterator[tuple]:
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        bytes_per_row = path.stat().st_size / max(file.metadata.num_rows, 1)

        def batches() -> Iterator[pa.Table]:
            for batch in file.iter_batches(ROWS_PER_BATCH):
                yield pa.Table.from_batches([batch], file.schema_arrow)
                progress(round(batch.num_rows * bytes_per_row))

        yield file.schema_arrow, batches()


@contextmanager
def _open_arrow(path: Path, progress: Progress) -> Iterator[tuple]:
    """The `datasets` library writes Arrow streams, others Arrow files; both are read."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as mapped:
        magic = mapped.read(6)
        mapped.seek(0)
        if magic == b"ARROW1":
            reader = pa.ipc.open_file(mapped)
            parts = (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            reader = pa.ipc.open_stream(mapped)
            parts = iter(reader)

        def batches() -> Iterator[pa.Table]:
            for part in parts:
                yield pa.Table.from_batches([part], reader.schema)
                progress(part.nbytes)

        yield reader.schema, batches()


def _filter_lines(
    source: Path,
    target: Path,
    tasks: str | list[str],
    task_column: str | None,
    accept: Callable[[Audit], None],
    progress: Progress,
) -> Audit:
    import pyarrow as pa

    with source.open("rb") as raw, _decompressed(raw, source) as file:
        batches = _parsed_lines(file, source)
        first = next(batches, ([], []))
        column = find_task_column(
            str(source), dict.fromkeys(key for row in first[1][:100] for key in row), task_column
        )
        chosen = TaskNameFilter(tasks, str(source), column)
        with appears_whole(target) as out, _compressed(out, target) as sink:
            seen = 0
            lines, rows = first
            while lines:
                names = [row.get(column) for row in rows]
                try:
                    array = pa.array(names)
                except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                    raise SolarError(
                        f"flan_filter.task_column: {column!r} of {source} holds values of "
                        "several kinds. Name a column of task names."
                    ) from error
                for line, stays in zip(
                    lines, chosen.keep(array, rows.__getitem__).to_pylist(), strict=True
                ):
                    if stays:
                        sink.write(line)
                progress(raw.tell() - seen)
                seen = raw.tell()
                lines, rows = next(batches, ([], []))
            accept(chosen.finish())
        return chosen.audit


def _parsed_lines(file: IO[bytes], source: Path) -> Iterator[tuple[list[bytes], list[dict]]]:
    """Batches of lines, each beside the object it holds; blank lines are left out."""
    lines: list[bytes] = []
    rows: list[dict] = []
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise SolarError(f"{source}:{number}: not a line of JSON: {_line(error)}") from error
        if not isinstance(row, dict):
            raise SolarError(f"{source}:{number}: not an object. Each line is one row in {{…}}.")
        lines.append(line)
        rows.append(row)
        if len(lines) == ROWS_PER_BATCH:
            yield lines, rows
            lines, rows = [], []
    if lines:
        yield lines, rows


@contextmanager
def _decompressed(raw: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        with gzip.open(raw) as file:
            yield file
    elif path.suffix == ".zst":
        import pyarrow as pa

        with pa.CompressedInputStream(raw, "zstd") as file:
            yield io.BufferedReader(file)
    else:
        yield raw


@contextmanager
def _compressed(raw: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        # No time of writing in the header: the same rows give the same bytes.
        with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as file:
            yield file
    elif path.suffix == ".zst":
        import pyarrow as pa

        with pa.CompressedOutputStream(raw, "zstd") as file:
            yield file
    else:
        yield raw


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
