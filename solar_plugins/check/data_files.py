"""The rows of local data files, read without loading a data set.

Parquet and Arrow give their columns in the file's schema; JSON, JSON Lines and CSV in their rows. A
dataset of the Hub is looked up in the caches of `huggingface_hub` and `datasets`.
"""

from __future__ import annotations

import csv
import glob
import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from solar_plugins.check.tool_schemas import known

WHOLE = 32 << 20  # bytes of an entry; of a larger one, its beginning is read
_BEGINNING = 1 << 20  # of a file in the Hub's cache
_LOADERS = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv", ".txt": "text",
            ".jsonl": "json", ".json": "json"}  # fmt: skip
_BETWEEN_ROWS = re.compile(r"[\s,\[\]]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Rows:
    """What is known of the rows of a file, or of a dataset of the Hub.

    Attributes:
        where: The file or Hub id, for messages.
        columns: Their names.
        rows: All of them, or those at the beginning; none where only the columns are known.
        is_whole: Whether `rows` are all rows.
    """

    where: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...] = ()
    is_whole: bool = True


class UnreadableData(ValueError):
    """A file whose ending promises rows and which has none; the message says what was found."""


def loader_of(name: str) -> str | None:
    """Which of the loaders of `datasets` reads a file with this name; None for another ending."""
    return _LOADERS.get(Path(name.lower().removesuffix(".gz")).suffix)


def named_files(entry: dict[str, Any]) -> list[str]:
    """The files that a dataset entry names: in ``data_files``, else its ``path``."""
    given = entry.get("data_files")
    if given:
        return [str(name) for name in (given if isinstance(given, list) else [given])]
    return [str(entry.get("path"))]


def find(entry: dict[str, Any]) -> Iterator[Rows]:
    """The rows of a dataset entry of a recipe, file by file; nothing if it is not here.

    Raises:
        UnreadableData: a file is there, and not what its ending says.
    """
    names = [os.path.expanduser(name) for name in named_files(entry)]
    files = [Path(file) for name in names for file in sorted(glob.glob(name))]
    folder = Path(os.path.expanduser(str(entry.get("path"))))
    if not files and folder.is_dir():
        files = [folder / name for name in named_files(entry)]
    paths = [
        path
        for file in files
        for path in (_files_of_folder(file) if file.is_dir() else [file])
        if path.is_file()
    ]
    left = WHOLE
    for path in paths:
        if left > 0 and (rows := of_file(path, left)) is not None:
            yield rows
        left -= path.stat().st_size
    if not paths and (cached := _of_hub(str(entry.get("path")), entry.get("name"))):
        yield cached


def of_file(path: Path, most: int) -> Rows | None:
    """The rows of one file; None if its ending is not one of rows.

    Args:
        most: Bytes to read.

    Raises:
        UnreadableData: the file is not what its ending says.
    """
    if loader_of(path.name) in (None, "text"):
        return None
    status = path.stat()
    if status.st_size == 0:
        raise UnreadableData("is empty")
    return _of_file(path, status.st_mtime_ns, most)


@lru_cache(maxsize=4)  # a chain's stages are read again for its `set`
def _of_file(path: Path, mtime_ns: int, most: int) -> Rows | None:
    read = {"parquet": _parquet, "arrow": _arrow, "csv": _csv}.get(str(loader_of(path.name)), _json)
    try:
        columns, rows, is_whole = read(path, most)
    except UnicodeDecodeError as error:
        raise UnreadableData(f"is not text (UTF-8): {error.reason}") from None
    return Rows(str(path), tuple(columns), tuple(rows), is_whole) if columns else None


_Read = tuple[Iterable[str], list[dict[str, Any]], bool]


def _text(path: Path, most: int) -> tuple[str, bool]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(most)
            is_whole = not file.read(1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UnreadableData(f"is not gzip: {error}") from None
    return raw.decode("utf-8-sig", "strict" if is_whole else "ignore"), is_whole


def _json(path: Path, most: int) -> _Read:
    """The rows of JSON Lines or of one list; a row may lack a column that others have."""
    text, is_whole = _text(path, most)
    rows: list[dict[str, Any]] = []
    at = _BETWEEN_ROWS.match(text).end()  # type: ignore[union-attr]
    while at < len(text):
        try:
            row, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            if not is_whole:  # the last row goes on behind what was read
                break
            fault = error.msg if isinstance(error, json.JSONDecodeError) else _first_line(error)
            which = f"row {len(rows) + 1}" if rows else "its first row"
            raise UnreadableData(f"{which} is not JSON: {fault}") from None
        if not isinstance(row, dict):
            raise UnreadableData(f"its rows are {type(row).__name__}, not mappings of columns")
        rows.append(row)
        at = _BETWEEN_ROWS.match(text, at).end()  # type: ignore[union-attr]
    return dict.fromkeys(str(key) for row in rows for key in row), rows, is_whole


def _csv(path: Path, most: int) -> _Read:
    text, is_whole = _text(path, most)
    csv.field_size_limit(most)
    lines = csv.reader(text.splitlines(keepends=True))
    try:
        header = next(lines, [])
        # An empty cell of a CSV is null for `datasets`.
        rows = [{k: v or None for k, v in zip(header, line, strict=False)} for line in lines]
    except csv.Error as error:
        raise UnreadableData(f"is not CSV: {error}") from None
    return header, rows[: None if is_whole else -1], is_whole


def _parquet(path: Path, most: int) -> _Read:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            return file.schema_arrow.names, *_batches(file.iter_batches(1000), most)
    except (ArrowException, OSError) as error:
        raise UnreadableData(f"is not Parquet: {_first_line(error)}") from None


def _arrow(path: Path, most: int) -> _Read:
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as file:
            try:
                stream = pyarrow.ipc.open_stream(file)
            except pyarrow.ArrowInvalid:
                whole = pyarrow.ipc.open_file(file)
                numbers = range(whole.num_record_batches)
                return whole.schema.names, *_batches(map(whole.get_batch, numbers), most)
            return stream.schema.names, *_batches(stream, most)
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableData(f"is not Arrow: {_first_line(error)}") from None


def _batches(batches: Iterable[Any], most: int) -> tuple[list[dict[str, Any]], bool]:
    rows: list[dict[str, Any]] = []
    read = 0
    for batch in batches:
        if read > most:
            return rows, False
        rows += batch.to_pylist()
        read += batch.nbytes
    return rows, True


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]


def _files_of_folder(folder: Path) -> list[Path]:
    """The data files of a folder, those of `Dataset.save_to_disk` and of a Hub checkout alike."""
    for ending in (".arrow", ".parquet", ".jsonl", ".json", ".csv"):
        files = [f for f in sorted(folder.glob(f"**/*{ending}")) if f.name not in _NO_DATA]
        if files:
            return files
    return []


_NO_DATA = ("dataset_info.json", "state.json", "dataset_dict.json")


def _of_hub(name: str, config: Any) -> Rows | None:
    """What the caches of `huggingface_hub` and `datasets`, or our list, say of a Hub dataset."""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        return None
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}" / "snapshots"
    for file in (f for snapshot in sorted(folder.glob("*")) for f in _files_of_folder(snapshot)):
        if (rows := of_file(file, _BEGINNING)) is not None:
            return replace(rows, where=name)
    home = Path(os.path.expanduser(os.environ.get("HF_HOME", "~/.cache/huggingface")))
    folder = Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets"))
    # ownerX___name/config/version/hash/dataset_info.json
    for file in sorted((folder / name.replace("/", "___")).glob("*/*/*/dataset_info.json")):
        features = json.loads(file.read_text(encoding="utf-8")).get("features")
        if isinstance(features, dict) and (not config or file.parts[-4] == str(config)):
            return Rows(name, tuple(features))
    columns = known("datasets")["columns"].get(name)
    return Rows(name, tuple(columns)) if columns else None
