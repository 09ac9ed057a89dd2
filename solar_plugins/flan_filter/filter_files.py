"""The filter over files: one, or a folder of shards, each copied without the rows that go.

Reading, filtering and writing go on at the same time, each in its own thread: Arrow's readers and
writers and the compiled scan leave the interpreter free. Memory is bounded by the size of batches.
"""

from __future__ import annotations

import gzip
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter.args import FlanFilterBlock
from solar_plugins.flan_filter.prompts import JsonRows, TableRows
from solar_plugins.flan_filter.row_filter import RowFilter
from solar_plugins.recipes import rows

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

Progress = Callable[[int], None]
"""Called with the number of bytes of the source that were read since the last call."""

_ROWS_PER_BATCH = 8_192
_BYTES_PER_BATCH = 16 * 2**20
_BYTES_PER_ROW_GROUP = 64 * 2**20
_ROWS_PER_ROW_GROUP = 2**20

_END: Any = object()


def shards(source: Path) -> list[Path]:
    """The files of rows in and below a folder, in order; or the file itself.

    Raises:
        SolarError: there is none, they are of several kinds, or their schemas differ.
    """
    if not source.is_dir():
        return [source]
    files = sorted(
        file
        for file in source.rglob("*")
        if file.is_file()
        and file.name.lower().endswith((".parquet", ".arrow", *rows.JSON))
        and not any(part[0] in "._" for part in file.relative_to(source).parts)
    )
    if not files:
        raise SolarError(f"{source}: no .parquet, .arrow or .jsonl file in it.")
    first = files[0]
    for file in files[1:]:
        if _kind(file) != _kind(first):
            raise SolarError(
                f"{file}: a {_kind(file)} file beside {first.name}. Filter each kind on its own."
            )
        (one, columns), (other, others) = _schema(first), _schema(file)
        for name in dict.fromkeys([*columns, *others] if one else ()):
            kinds = [s.field(name).type if name in s.names else "absent" for s in (one, other)]
            if kinds[0] != kinds[1]:
                raise SolarError(
                    f"{file}: column {name!r} is {kinds[1]} here and {kinds[0]} in {first.name}. "
                    "Give all shards one schema, or filter them one by one."
                )
    return files


def filter_files(
    source: Path,
    target: Path,
    block: FlanFilterBlock,
    accept: Callable[[dict], None],
    progress: Progress,
) -> dict:
    """Copy the rows of `source` that stay to `target`, in order, other columns untouched.

    Parquet and Arrow keep their schema with its metadata; lines of JSON are copied byte for byte.
    A folder becomes a folder with the same file names; one of an earlier run is replaced.

    Args:
        accept: sees the audit before `target` appears and may refuse by raising.

    Returns:
        The audit.

    Raises:
        SolarError: a file cannot be read as what its name says, or the columns are not there.
    """
    chosen: RowFilter | None = None
    files, is_folder = shards(source), source.is_dir()
    if not is_folder and _kind(source) != _kind(target):
        raise SolarError(
            f"{target}: a {_kind(target)} file cannot take the rows of {source} as they are. Give "
            "both files the same kind."
        )
    there = {file.relative_to(target) for file in target.rglob("*") if file.is_file()}
    if is_folder and there and there != {file.relative_to(source) for file in files}:
        raise SolarError(
            f"{target}: is there and holds other files than {source}. Name another folder."
        )
    facts: dict = {}
    with atomic.replaced_directory(target) if is_folder else nullcontext(target) as place:
        for file in files:
            path = place / file.relative_to(source) if is_folder else place
            schema, columns = _schema(file)
            if columns:  # JSON Lines without a row show none; an empty shard stays one
                chosen = chosen or RowFilter(block, str(source), columns)
            with (
                _readable(file),
                atomic.new_file(path) as opened,
                ahead(_batches(file, str(source), progress)) as read,
                ahead(chosen.kept(read) if chosen else ()) as kept,
            ):
                _write(opened, path, file, schema, kept)
                if file == files[-1]:
                    if chosen is None:
                        raise SolarError(f"{source}: it has no row.")
                    facts = chosen.audit.facts()
                    accept(facts)
    return facts


@contextmanager
def ahead(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Iterate over `items` in a thread that is at most two of them ahead.

    An exception of `items` is raised where they are taken. When the block ends, the thread ends.
    """
    iterator = iter(items)
    thread = ThreadPoolExecutor(1)

    def taken() -> Iterator[T]:
        waiting = deque(thread.submit(next, iterator, _END) for _ in range(2))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(thread.submit(next, iterator, _END))
            yield item

    try:
        yield taken()
    finally:
        thread.shutdown(cancel_futures=True)


def rows_per_batch(bytes_per_row: float) -> int:
    """So many rows that a batch has about 16 MiB at most."""
    return max(1, min(_ROWS_PER_BATCH, int(_BYTES_PER_BATCH / max(bytes_per_row, 1))))


def write_parquet(
    file: IO[bytes], schema: pa.Schema, tables: Iterable[pa.Table], compression: str = "zstd"
) -> None:
    """Write `tables` in row groups of about 64 MiB, however small they come."""
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetWriter(file, schema, compression=compression) as writer:
        waiting: list[pa.Table] = []
        size = 0
        for table in tables:
            waiting.append(table.cast(schema) if table.schema != schema else table)
            size += table.nbytes
            if size >= _BYTES_PER_ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting), row_group_size=_ROWS_PER_ROW_GROUP)
                waiting, size = [], 0
        if waiting:
            writer.write_table(pa.concat_tables(waiting), row_group_size=_ROWS_PER_ROW_GROUP)


def _kind(path: Path) -> str:
    """`parquet`, `arrow` or `jsonl`, by the name of the file.

    Raises:
        SolarError: the name ends in none of the endings that are read.
    """
    name = path.name.lower()
    if name.endswith(rows.JSON):
        return "jsonl"
    if not name.endswith((".parquet", ".arrow")):
        raise SolarError(
            f"{path}: unknown kind of file. Name a .parquet, .arrow, .jsonl, .jsonl.gz or "
            ".jsonl.zst file, or a folder of them."
        )
    return path.suffix.lower()[1:]


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own complaint, which names its file
        raise rows.unreadable(file, _kind(file), error) from error


def _schema(path: Path) -> tuple[Any, list[str]]:
    """The schema, None for JSON Lines, and the columns: there those of the first rows."""
    import pyarrow as pa
    from pyarrow import parquet

    with _readable(path):
        if _kind(path) == "jsonl":
            with path.open("rb") as raw, rows.decompressed(raw, path) as lines:
                some = islice(rows.read_lines(lines, path), 100)
                return None, list(dict.fromkeys(key for _, row, _ in some for key in row))
        if _kind(path) == "parquet":
            schema = parquet.read_schema(path)
        else:
            with pa.OSFile(str(path)) as file:
                schema, _ = _arrow_reader(file)
        return schema, schema.names


def _batches(path: Path, source: str, progress: Progress) -> Iterator[TableRows | JsonRows]:
    """The rows of a file, in batches of bounded size."""
    import pyarrow as pa
    from pyarrow import parquet

    if _kind(path) == "parquet":
        with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            bytes_per_row = path.stat().st_size / max(file.metadata.num_rows, 1)
            for table in _gathered(file):
                yield TableRows(table, source)
                progress(round(len(table) * bytes_per_row))
    elif _kind(path) == "arrow":
        with pa.OSFile(str(path)) as file:
            for part in _arrow_reader(file)[1]:
                size = rows_per_batch(part.nbytes / max(part.num_rows, 1))
                for begin in range(0, part.num_rows, size):
                    piece = part.slice(begin, size)
                    yield TableRows(pa.Table.from_batches([piece]), source)
                    progress(piece.nbytes)
    else:
        with path.open("rb") as raw, rows.decompressed(raw, path) as lines:
            batch, seen = JsonRows(source), 0
            for line in rows.read_lines(lines, path):
                batch.add(*line)
                if len(batch) == _ROWS_PER_BATCH or batch.bytes >= _BYTES_PER_BATCH:
                    yield batch
                    progress(raw.tell() - seen)
                    batch, seen = JsonRows(source), raw.tell()
            yield batch


def _gathered(file: Any) -> Iterator[pa.Table]:
    """The tables of a Parquet file.

    Few rows are read at once, whatever the file says of its sizes: a text of 1 MB that is repeated
    stands in it once.
    """
    import pyarrow as pa

    parts: list[pa.RecordBatch] = []
    number = size = 0
    for group in range(file.num_row_groups):
        for part in file.iter_batches(32, row_groups=[group], use_threads=False):
            parts.append(part)
            number, size = number + part.num_rows, size + part.nbytes
            if number >= _ROWS_PER_BATCH or size >= _BYTES_PER_BATCH:
                yield pa.Table.from_batches(parts, file.schema_arrow)
                parts, number, size = [], 0, 0
    if parts:
        yield pa.Table.from_batches(parts, file.schema_arrow)


def _arrow_reader(file: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The schema of an Arrow file or stream, and its batches."""
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        stream = pa.ipc.open_stream(file)
        return stream.schema, iter(stream)
    return reader.schema, map(reader.get_batch, range(reader.num_record_batches))


def _write(
    file: IO[bytes], path: Path, source: Path, schema: pa.Schema | None, kept: Iterable
) -> None:
    """Write what stays of `source` to `file`, which becomes `path`."""
    import pyarrow as pa
    from pyarrow import parquet

    if _kind(path) == "parquet":
        metadata = parquet.read_metadata(source)
        compression = "zstd"
        if metadata.num_row_groups and metadata.num_columns:
            compression = metadata.row_group(0).column(0).compression.lower()
        write_parquet(file, schema, kept, compression.replace("uncompressed", "none"))
    elif _kind(path) == "arrow":
        with pa.ipc.new_stream(file, schema) as writer:
            for table in kept:
                writer.write_table(table)
    else:
        packed: dict[str, Callable[[], Any]] = {
            # No time of writing in the header: the same rows give the same bytes.
            ".gz": lambda: gzip.GzipFile("", "wb", 6, file, mtime=0),
            ".zst": lambda: pa.CompressedOutputStream(file, "zstd"),
        }
        with packed.get(path.suffix, lambda: nullcontext(file))() as out:
            for lines in kept:
                out.writelines(lines)
