"""Files of rows: Parquet, Arrow and JSON Lines, read in bounded memory and written whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import json_lines

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_BATCH = 8_192
BYTES_PER_BATCH = 16 * 2**20
BYTES_PER_ROW_GROUP = 64 * 2**20
ROWS_PER_ROW_GROUP = 2**20

_READ_BUFFER = 2**20
_ROWS_READ = 32

Progress = Callable[[int], None]
"""Called with the number of bytes of the source that were read since the last call."""


def kind(path: Path) -> str:
    """`parquet`, `arrow` or `jsonl`, by the name of the file.

    Raises:
        SolarError: the name ends in none of the endings that are read.
    """
    name = path.name.lower()
    if name.endswith(json_lines.ENDINGS):
        return "jsonl"
    kinds = {".parquet": "parquet", ".arrow": "arrow"}
    if path.suffix.lower() not in kinds:
        raise SolarError(
            f"{path}: unknown kind of file. Name a .parquet, .arrow, .jsonl, .jsonl.gz or "
            ".jsonl.zst file, or a folder of them."
        )
    return kinds[path.suffix.lower()]


def schema_of(path: Path) -> pa.Schema:
    """The schema of a Parquet or Arrow file.

    Raises:
        SolarError: the file is not what its name says.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if kind(path) == "parquet":
            return parquet.read_schema(path)
        with pa.OSFile(str(path)) as file:
            reader, _ = _arrow_reader(file)
            return reader.schema
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise unreadable(path, error) from error


@contextmanager
def open_parquet(path: Path, progress: Progress) -> Iterator[tuple[pa.Schema, Iterator[pa.Table]]]:
    """The schema and batches of a Parquet file; a batch holds about `BYTES_PER_BATCH` at most."""
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(path, buffer_size=_READ_BUFFER, pre_buffer=False) as file:
        metadata = file.metadata
        bytes_per_row = path.stat().st_size / max(metadata.num_rows, 1)

        def gathered(parts: list[pa.RecordBatch]) -> pa.Table:
            table = pa.Table.from_batches(parts, file.schema_arrow)
            progress(round(table.num_rows * bytes_per_row))
            return table

        def batches() -> Iterator[pa.Table]:
            parts: list[pa.RecordBatch] = []
            rows = size = 0
            for group in range(metadata.num_row_groups):
                # Few at once, whatever the file says of its sizes: a text of 1 MB that is repeated
                # stands in it once.
                for part in file.iter_batches(_ROWS_READ, row_groups=[group], use_threads=False):
                    parts.append(part)
                    rows += part.num_rows
                    size += part.nbytes
                    if rows >= ROWS_PER_BATCH or size >= BYTES_PER_BATCH:
                        yield gathered(parts)
                        parts, rows, size = [], 0, 0
            if parts:
                yield gathered(parts)

        yield file.schema_arrow, batches()


@contextmanager
def open_arrow(path: Path, progress: Progress) -> Iterator[tuple[pa.Schema, Iterator[pa.Table]]]:
    """The same for an Arrow file or stream."""
    import pyarrow as pa

    with pa.OSFile(str(path)) as file:
        reader, parts = _arrow_reader(file)

        def batches() -> Iterator[pa.Table]:
            for part in parts:
                rows = rows_per_batch(part.nbytes / max(part.num_rows, 1))
                for begin in range(0, part.num_rows, rows):
                    piece = part.slice(begin, rows)
                    yield pa.Table.from_batches([piece], reader.schema)
                    progress(piece.nbytes)

        yield reader.schema, batches()


def rows_per_batch(bytes_per_row: float) -> int:
    """So many rows that a batch has about `BYTES_PER_BATCH` at most."""
    return max(1, min(ROWS_PER_BATCH, int(BYTES_PER_BATCH / max(bytes_per_row, 1))))


def _arrow_reader(file: Any) -> tuple:
    """The reader of an Arrow file or stream, and its batches."""
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        reader = pa.ipc.open_stream(file)
        return reader, iter(reader)
    return reader, (reader.get_batch(i) for i in range(reader.num_record_batches))


def write_parquet(
    file: IO[bytes], schema: pa.Schema, tables: Iterable[pa.Table], compression: str = "zstd"
) -> None:
    """Write `tables` in row groups of about `BYTES_PER_ROW_GROUP`, however small they come."""
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetWriter(file, schema, compression=compression) as writer:
        waiting: list[pa.Table] = []
        size = 0
        for table in tables:
            waiting.append(table.cast(schema) if table.schema != schema else table)
            size += table.nbytes
            if size >= BYTES_PER_ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting), row_group_size=ROWS_PER_ROW_GROUP)
                waiting, size = [], 0
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=ROWS_PER_ROW_GROUP)


def write_arrow(file: IO[bytes], schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write `tables` as an Arrow stream."""
    import pyarrow as pa

    with pa.ipc.new_stream(file, schema) as writer:
        for table in tables:
            writer.write_table(table)


def compression_of(path: Path) -> str:
    """How a Parquet file is compressed, to compress its copy alike."""
    from pyarrow import parquet

    metadata = parquet.read_metadata(path)
    if metadata.num_row_groups and metadata.num_columns:
        return metadata.row_group(0).column(0).compression.lower().replace("uncompressed", "none")
    return "zstd"


def unreadable(path: Path, error: Exception) -> SolarError:
    """The one line for a file that is not what its name says."""
    return SolarError(f"{path}: not readable as {kind(path)}: {' '.join(str(error).split())}")
