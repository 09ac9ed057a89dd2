"""Files of rows, one or a folder of shards: found, read in batches of bounded size, and written."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from solar_plugins.errors import SolarError
from solar_plugins.flan_filter.places import located, opened, reached
from solar_plugins.flan_filter.prompts import JsonRows, TableRows
from solar_plugins.recipes import rows

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[int], None]
"""Called with the number of bytes of the source that were read since the last call."""

_ROWS_PER_BATCH = 8_192
_BYTES_PER_BATCH = 16 * 2**20
_BYTES_PER_ROW_GROUP = 64 * 2**20
_ROWS_PER_ROW_GROUP = 2**20
_OPENED_AT_ONCE = 16


class Shard(NamedTuple):
    """One file of rows.

    Attributes:
        url: its path or URL.
        name: its path in the folder that was named; empty where the file itself was.
        size: bytes.
        version: changes when the file does.
        schema: None for JSON Lines.
        columns: their names; of JSON Lines those of the first rows.
        compression: of a Parquet file, which its copy has too.
    """

    url: str
    name: str
    size: int
    version: str
    schema: pa.Schema | None
    columns: list[str]
    compression: str = "zstd"

    @property
    def kind(self) -> str:
        return kind_of(self.url)


def kind_of(url: str) -> str:
    """`parquet`, `arrow` or `jsonl`, by the name of the file.

    Raises:
        SolarError: the name ends in none of the endings that are read.
    """
    name = url.lower()
    if name.endswith(rows.JSON):
        return "jsonl"
    if not name.endswith((".parquet", ".arrow")):
        raise SolarError(
            f"{url}: unknown kind of file. Name a .parquet, .arrow, .jsonl, .jsonl.gz or "
            ".jsonl.zst file, or a folder of them."
        )
    return name.rpartition(".")[2]


def found(source: str) -> list[Shard]:
    """The files of rows in and below a folder, in the order of their names; or the file itself.

    Args:
        source: path or URL of the folder or file.

    Raises:
        SolarError: there is none, they are of several kinds, or their schemas differ.
    """
    system, path = located(source)
    with reached(source):
        infos = {path: system.info(path)}
        is_folder = infos[path]["type"] == "directory"
        if is_folder:
            infos = system.find(path, detail=True)
    files: list[tuple[str, str, int, str]] = []
    for file, info in sorted(infos.items()):
        name = file.removeprefix(path).lstrip("/")
        is_read = name.lower().endswith((".parquet", ".arrow", *rows.JSON))
        if not is_folder or (is_read and not any(part[0] in "._" for part in name.split("/"))):
            info = system.info(file) if info.get("islink") else info
            url = f"{source.rstrip('/')}/{name}" if is_folder else source
            files.append((url, name, info["size"] or 0, str(sorted(info.items(), key=str))))
    if not files:
        raise SolarError(f"{source}: no .parquet, .arrow or .jsonl file in it.")
    first = files[0][0]
    for url, *_ in files:
        if kind_of(url) != kind_of(first):
            raise SolarError(
                f"{url}: a {kind_of(url)} file beside {first}. Filter each kind on its own."
            )
    with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
        shards = [
            Shard(*file, *shape)
            for file, shape in zip(
                files, pool.map(_shape, [file[0] for file in files]), strict=True
            )
        ]
    for shard in shards[1:]:
        _refuse_other_schema(shard, shards[0])
    return shards


def _refuse_other_schema(shard: Shard, first: Shard) -> None:
    one, other = first.schema, shard.schema
    if one is None or other is None:
        return
    for name in dict.fromkeys([*first.columns, *shard.columns]):
        kinds = [s.field(name).type if name in s.names else "absent" for s in (one, other)]
        if kinds[0] != kinds[1]:
            raise SolarError(
                f"{shard.url}: column {name!r} is {kinds[1]} here and {kinds[0]} in {first.url}. "
                "Give all shards one schema, or filter them one by one."
            )


def rows_per_batch(bytes_per_row: float) -> int:
    """So many rows that a batch has about 16 MiB at most."""
    return max(1, min(_ROWS_PER_BATCH, int(_BYTES_PER_BATCH / max(bytes_per_row, 1))))


@contextmanager
def _opened(url: str) -> Iterator[IO[bytes]]:
    """The file at `url`; what is wrong in it is said in one line."""
    import pyarrow as pa

    try:
        with opened(url) as file:
            yield file
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own complaint, which names its file
        raise rows.unreadable(url, kind_of(url), error) from error


def _shape(url: str) -> tuple:
    """`schema`, `columns` and, of Parquet, `compression` of a shard."""
    from pyarrow import parquet

    with _opened(url) as file:
        if kind_of(url) == "jsonl":
            with rows.decompressed(file, url) as lines:
                some = islice(rows.read_lines(lines, url), 100)
                return None, list(dict.fromkeys(key for _, row, _ in some for key in row))
        if kind_of(url) == "arrow":
            schema, _ = _arrow_reader(file)
            return schema, schema.names
        metadata = parquet.read_metadata(file)
        schema, packed = metadata.schema.to_arrow_schema(), "zstd"
        if metadata.num_row_groups and metadata.num_columns:
            packed = metadata.row_group(0).column(0).compression.lower()
        return schema, schema.names, packed.replace("uncompressed", "none")


def batches(shard: Shard, source: str, progress: Progress) -> Iterator[TableRows | JsonRows]:
    """The rows of a file, in batches of bounded size.

    Args:
        source: what errors call the data.

    Raises:
        SolarError: the file cannot be read as what its name says.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with _opened(shard.url) as raw:
        if shard.kind == "parquet":
            with parquet.ParquetFile(raw, buffer_size=2**20, pre_buffer=False) as file:
                bytes_per_row = shard.size / max(file.metadata.num_rows, 1)
                for table in _gathered(file):
                    yield TableRows(table, source)
                    progress(round(len(table) * bytes_per_row))
        elif shard.kind == "arrow":
            for part in _arrow_reader(raw)[1]:
                size = rows_per_batch(part.nbytes / max(part.num_rows, 1))
                for begin in range(0, part.num_rows, size):
                    piece = part.slice(begin, size)
                    yield TableRows(pa.Table.from_batches([piece]), source)
                    progress(piece.nbytes)
        else:
            with rows.decompressed(raw, shard.url) as lines:
                batch, seen = JsonRows(source), 0
                for line in rows.read_lines(lines, shard.url):
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


def write(file: IO[bytes], url: str, shard: Shard, kept: Iterable) -> None:
    """Write what is `kept` of `shard` to `file`, which becomes `url`: a file of the same kind."""
    import pyarrow as pa

    if shard.kind == "parquet":
        write_parquet(file, shard.schema, kept, shard.compression)
    elif shard.kind == "arrow":
        with pa.ipc.new_stream(file, shard.schema) as writer:
            for table in kept:
                writer.write_table(table)
    else:
        packed: dict[str, Callable[[], Any]] = {
            # No time of writing in the header: the same rows give the same bytes.
            "gz": lambda: gzip.GzipFile("", "wb", 6, file, mtime=0),
            "zst": lambda: pa.CompressedOutputStream(file, "zstd"),
        }
        with packed.get(url.rpartition(".")[2], lambda: nullcontext(file))() as out:
            for lines in kept:
                out.writelines(lines)


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
