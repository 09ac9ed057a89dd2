"""Rows of a data set: from a file, a folder, or the Hugging Face Hub."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, cast

from solar_plugins.errors import SolarError, nearest

JSON = tuple(f"{name}{packed}" for name in (".jsonl", ".json") for packed in ("", ".gz", ".zst"))
ENDINGS = (".parquet", *JSON)
SPLITS = ("train", "test", "validation")
WHOLE_SETS = ("main", "default", "all")  # a configuration with one of these names holds everything


class Source:
    """One split of a data set, counted and digested while it is read.

    Attributes:
        name: path of a file or folder, or an id on the Hub.
        split: train, test or validation; a single file is that split, whatever it is called.
        config: the Hub's configuration, and the subfolder of a folder that has one of that name;
            None for the one that holds everything.
        count: rows read so far.
    """

    def __init__(self, name: str, split: str, config: str | None = None) -> None:
        self.name, self.split, self.config, self.count = name, split, config, 0
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[dict]:
        """The rows in their own order, once.

        Raises:
            SolarError: there is no such file or data set, or it cannot be read.
        """
        for row in _rows(self.name, self.split, self.config):
            self.count += 1
            text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
            self._digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
            yield row

    def facts(self) -> dict:
        """What a data card says of it; the digest is of the rows, so copies can be compared."""
        return {
            "name": self.name,
            "split": self.split,
            "rows": self.count,
            "sha256": self._digest.hexdigest(),
        }


def column(row: dict, names: tuple[str, ...], source: str) -> object:
    """What the first of the columns `names` with a value says; "" where all of them are empty.

    Raises:
        SolarError: `row` has none of them.
    """
    for name in names:
        if row.get(name) is not None:
            return row[name]
    if any(name in row for name in names):
        return ""
    raise SolarError(f"{source}: columns {', '.join(row) or 'none'}. Needed: {' or '.join(names)}")


def read(file: Path, columns: Sequence[str] = ()) -> Iterator[dict]:
    """The rows of a Parquet file, JSON Lines, or JSON that is one object or a list of them.

    Args:
        columns: each row must have these; of a Parquet file no others are read.

    Raises:
        SolarError: the file is damaged, has something else than rows, or lacks a column.
    """
    if file.suffix == ".parquet":
        yield from read_parquet(file, str(file), columns)
        return
    with file.open("rb") as raw, decompressed(raw, file) as lines:
        for number, (_, row, is_utf8) in enumerate(_json_rows(lines, file), start=1):
            if not is_utf8:
                raise SolarError(f"{file}: row {number} is not UTF-8. Save the file as UTF-8")
            _require(str(file), list(row), columns)
            yield row


def read_parquet(file: Path | IO[bytes], name: str, columns: Sequence[str] = ()) -> Iterator[dict]:
    """`read` for an open Parquet file; `name` is for errors."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            _require(name, opened.schema_arrow.names, columns)
            for batch in opened.iter_batches(4_096, columns=list(columns) or None):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise unreadable(name, "parquet", error) from error


def read_lines(lines: Iterable[bytes], source: str | Path) -> Iterator[tuple[bytes, dict, bool]]:
    """Each line of JSON Lines, the object that it holds, and whether the line is UTF-8.

    Blank lines are left out. Bytes that are not UTF-8 are read as U+FFFD; the line keeps them.

    Raises:
        SolarError: a line is not an object in JSON, or the compressed stream is damaged.
    """
    with _undamaged(source):
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            text = line.decode("utf-8", errors="replace")
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise SolarError(f"{source}:{number}: not a line of JSON: {error}") from error
            if not isinstance(row, dict):
                raise SolarError(
                    f"{source}:{number}: not an object. Each line is one row in {{…}}."
                )
            yield line, row, "\ufffd" not in text or text.encode() == line


@contextmanager
def decompressed(raw: IO[bytes], path: str | Path) -> Iterator[IO[bytes]]:
    """`raw` as the lines it holds, by the ending of `path`."""
    if str(path).endswith(".gz"):
        with gzip.open(raw) as file:
            yield cast(IO[bytes], file)
    elif str(path).endswith(".zst"):
        import pyarrow as pa

        with pa.CompressedInputStream(raw, "zstd") as file:
            yield io.BufferedReader(file)
    else:
        yield raw


def unreadable(name: object, kind: str, error: Exception) -> SolarError:
    """The one line for a file that is not what its name says."""
    return SolarError(f"{name}: not readable as {kind}: {' '.join(str(error).split())}")


@contextmanager
def _undamaged(source: str | Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own complaint, which names its file
        reason = " ".join(str(error).split())
        raise SolarError(f"{source}: the compressed stream is damaged: {reason}") from error


def _json_rows(lines: IO[bytes], file: Path) -> Iterator[tuple[bytes, dict, bool]]:
    """`read_lines`, for a file that may also be one object or a list of them."""
    with _undamaged(file):
        first = lines.readline()
        lists = ".jsonl" not in file.name or first.lstrip().startswith(b"[")
        data = first + lines.read() if lists else b""
    if not lists:
        yield from read_lines(chain([first], lines), file)
        return
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        yield from read_lines(io.BytesIO(data), file)
        return
    for number, row in enumerate(whole if isinstance(whole, list) else [whole], start=1):
        if not isinstance(row, dict):
            raise SolarError(f"{file}: row {number} is a {type(row).__name__}. Needed: an object")
        yield b"", row, True


def _require(name: str, there: Sequence[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in there:
            raise SolarError(
                f"{name}: no column {column!r}; its columns are {', '.join(there)}."
                f"{nearest(column, there)}"
            )


def _rows(name: str, split: str, config: str | None) -> Iterator[dict]:
    path = Path(name)
    if path.is_dir():
        part = path / config if config is not None and (path / config).is_dir() else path
        for file in _files_of(part, split):
            yield from read(file)
    elif path.is_file():
        yield from read(path)
    elif name.startswith((".", "/", "~")) or name.endswith(ENDINGS):
        raise SolarError(f"{name}: no such file or folder")
    else:
        yield from _from_hub(name, split, config)


def _files_of(folder: Path, split: str) -> list[Path]:
    """The files of one split: those that name it in their path, all if no file names any split."""
    files = sorted(file for file in folder.rglob("*") if file.name.endswith(ENDINGS))
    named = {file: _split_of(file.relative_to(folder)) for file in files}
    if any(named.values()):
        files = [file for file in files if named[file] == split]
    if not files:
        raise SolarError(
            f"{folder}: no {split} split here. Needed: .parquet, .jsonl or .json files"
        )
    return files


def _split_of(path: Path) -> str | None:
    """The split that a file's name or folder names: test for `algebra/test-00000-of-00001.parquet`
    and `test/algebra/1.json`."""
    for part in reversed(path.parts):
        for split in SPLITS:
            if part.lower().split(".")[0].split("-")[0].split("_")[0] == split:
                return split
    return None


def _from_hub(name: str, split: str, config: str | None) -> Iterator[dict]:
    from datasets import get_dataset_config_names, load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HTTPError

    # Without network the Hub's client gives up with a RuntimeError: it has closed itself.
    faults = (OSError, ValueError, RuntimeError, DatasetsError, HTTPError)
    try:
        chosen: list[str | None] = [config]
        if config is None:
            known = get_dataset_config_names(name)
            chosen = [*([one for one in WHOLE_SETS if one in known][:1] or known)]
        parts = [load_dataset(name, one, split=split) for one in chosen]
    except faults as error:
        raise SolarError(
            f"{name}: not found locally or on the Hub "
            f"({' '.join(str(error).split())[:200]}). Give a local file or folder"
        ) from error
    for part in parts:
        yield from part
