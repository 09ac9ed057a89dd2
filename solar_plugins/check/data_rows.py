"""The columns and the first row of a dataset that is on this machine, without loading it.

Parquet and Arrow say their columns in the file's schema; of JSON, JSON Lines and CSV the beginning
is read. A dataset of the Hub is looked up in the caches of `huggingface_hub` and `datasets`.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from solar_plugins.check.tool_schemas import known

_BEGINNING = 1 << 20  # characters; a row of training data is shorter
_ROWS = 20
_DECODER = json.JSONDecoder()
_ENDINGS = (".jsonl", ".json", ".parquet", ".csv", ".arrow", ".jsonl.gz", ".json.gz")


@dataclass(frozen=True)
class Rows:
    """What is known of a dataset's rows.

    Attributes:
        where: The file or Hub id, for messages.
        columns: Their names.
        first: The first row, or None where only the columns are known.
    """

    where: str
    columns: tuple[str, ...]
    first: dict[str, Any] | None = None


class UnreadableData(ValueError):
    """A file whose ending promises rows and which has none; the message says what was found."""


def find(entry: dict[str, Any]) -> Rows | None:
    """The rows of a dataset entry of a recipe; None if it is not on this machine.

    Raises:
        UnreadableData: the file is there, and not what its ending says.
    """
    path, files = str(entry.get("path")), entry.get("data_files")
    listed = [files] if isinstance(files, str) else files if isinstance(files, list) else []
    if path in ("json", "csv", "parquet", "arrow") and listed:
        path = str(listed[0])
    here = Path(os.path.expanduser(path))
    if here.is_file():
        return of_file(here)
    if here.is_dir():
        inside = [here / str(name) for name in listed] or _files_of_folder(here)
        return next((of_file(file) for file in inside if file.is_file()), None)
    return _of_hub(path, entry.get("name"))


def of_file(path: Path) -> Rows | None:
    """The rows of one file; None if its ending is not one of rows.

    Raises:
        UnreadableData: the file is not what its ending says.
    """
    if not path.name.lower().endswith(_ENDINGS):
        return None
    return _of_file(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=512)
def _of_file(path: Path, mtime_ns: int) -> Rows | None:
    ending = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if path.stat().st_size == 0:
        raise UnreadableData("is empty")
    read = {"parquet": _parquet, "arrow": _arrow, "csv": _csv}.get(ending, _json)
    try:
        return read(path)
    except UnicodeDecodeError as error:
        raise UnreadableData(f"is not text (UTF-8): {error.reason}") from None


def _text(path: Path) -> str:
    if path.suffix == ".gz":
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return file.read(_BEGINNING)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise UnreadableData(f"is not gzip: {error}") from None
    with path.open(encoding="utf-8-sig", newline="") as file:
        return file.read(_BEGINNING)


def _json(path: Path) -> Rows | None:
    """The first rows of JSON Lines or of one list; a row may lack a column that others have."""
    text = _text(path).lstrip()
    cut = len(text) > _BEGINNING // 2
    text = text[1:] if text.startswith("[") else text
    rows: list[dict[str, Any]] = []
    while len(rows) < _ROWS and (text := text.lstrip(", \t\r\n")) not in ("", "]"):
        try:
            row, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError) as error:
            if rows or cut:  # the rest of a row that is longer than what was read
                break
            fault = error.msg if isinstance(error, json.JSONDecodeError) else _first_line(error)
            raise UnreadableData(f"its first row is not JSON: {fault}") from None
        if not isinstance(row, dict):
            raise UnreadableData(f"its rows are {type(row).__name__}, not mappings of columns")
        rows.append(row)
        text = text[end:]
    if not rows:
        return None
    columns = dict.fromkeys(str(key) for row in rows for key in row)
    return Rows(str(path), tuple(columns), rows[0])


def _csv(path: Path) -> Rows:
    lines = csv.reader(_text(path).splitlines())
    try:
        header = next(lines, [])
        values = next(lines, None)
    except csv.Error as error:
        raise UnreadableData(f"is not CSV: {error}") from None
    row = dict(zip(header, values, strict=False)) if values else None
    return Rows(str(path), tuple(header), row)


def _parquet(path: Path) -> Rows:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            batch = next(file.iter_batches(batch_size=1), None)
            names = tuple(file.schema_arrow.names)
    except (ArrowException, OSError) as error:
        raise UnreadableData(f"is not Parquet: {_first_line(error)}") from None
    return Rows(str(path), names, batch.to_pylist()[0] if batch is not None else None)


def _arrow(path: Path) -> Rows:
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as file:
            try:
                batches = pyarrow.ipc.open_stream(file)
            except pyarrow.ArrowInvalid:
                reader = pyarrow.ipc.open_file(file)
                first = reader.get_batch(0) if reader.num_record_batches else None
                names = reader.schema.names
            else:
                names = batches.schema.names
                first = next(iter(batches), None)
            row = first.slice(0, 1).to_pylist()[0] if first is not None and len(first) else None
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableData(f"is not Arrow: {_first_line(error)}") from None
    return Rows(str(path), tuple(names), row)


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]


def _files_of_folder(folder: Path) -> list[Path]:
    """The data files of a folder, those of `Dataset.save_to_disk` and of a Hub checkout alike."""
    names = (f"**/*{ending}" for ending in (".arrow", ".parquet", ".jsonl", ".csv"))
    return [file for name in names for file in sorted(folder.glob(name))[:1]]


def _of_hub(name: str, config: Any) -> Rows | None:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        return None
    cached = _of_hub_cache(name) or _of_datasets_cache(name, config)
    if cached:
        return cached
    columns = known("datasets")["columns"].get(name)
    return Rows(name, tuple(columns)) if columns else None


def _of_hub_cache(name: str) -> Rows | None:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}" / "snapshots"
    for snapshot in sorted(folder.glob("*")):
        for file in _files_of_folder(snapshot):
            rows = of_file(file)
            if rows:
                return Rows(name, rows.columns, rows.first)
    return None


def _of_datasets_cache(name: str, config: Any) -> Rows | None:
    home = Path(os.path.expanduser(os.environ.get("HF_HOME", "~/.cache/huggingface")))
    folder = Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets"))
    # ownerX___name/config/version/hash/dataset_info.json
    for file in sorted((folder / name.replace("/", "___")).glob("*/*/*/dataset_info.json")):
        if config and file.parts[-4] != str(config):
            continue
        features = json.loads(file.read_text(encoding="utf-8")).get("features")
        if isinstance(features, dict):
            return Rows(name, tuple(features))
    return None
