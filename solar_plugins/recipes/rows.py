"""Rows of a data set: from a file, a folder, or the Hugging Face Hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from solar_plugins.errors import SolarError

SUFFIXES = (".parquet", ".jsonl", ".json")
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


def _rows(name: str, split: str, config: str | None) -> Iterator[dict]:
    path = Path(name)
    if path.is_dir():
        part = path / config if config is not None and (path / config).is_dir() else path
        for file in _files_of(part, split):
            yield from _read(file)
    elif path.is_file():
        yield from _read(path)
    elif name.startswith((".", "/", "~")) or path.suffix in SUFFIXES:
        raise SolarError(f"{name}: no such file or folder")
    else:
        yield from _from_hub(name, split, config)


def _files_of(folder: Path, split: str) -> list[Path]:
    """The files of one split: those that name it in their path, all if no file names any split."""
    files = sorted(file for file in folder.rglob("*") if file.suffix in SUFFIXES)
    named = {file: _split_of(file.relative_to(folder)) for file in files}
    if any(named.values()):
        files = [file for file in files if named[file] == split]
    if not files:
        raise SolarError(
            f"{folder}: no {split} split here. Needed: files with a name in {', '.join(SUFFIXES)}"
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


def _read(file: Path) -> Iterator[dict]:
    if file.suffix == ".parquet":
        yield from _read_parquet(file)
        return
    text = file.read_text(encoding="utf-8")
    try:
        whole = json.loads(text)  # one object, or a list of them
        rows: Iterable[object] = whole if isinstance(whole, list) else [whole]
    except json.JSONDecodeError:
        rows = _read_lines(file, text)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise SolarError(f"{file}: row {number} is a {type(row).__name__}. Needed: an object")
        yield row


def _read_lines(file: Path, text: str) -> Iterator[object]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise SolarError(f"{file}: line {number}: not JSON ({error.msg})") from error


def _read_parquet(file: Path) -> Iterator[dict]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches():
                yield from batch.to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise SolarError(f"{file}: not a parquet file ({str(error).splitlines()[0]})") from error


def _from_hub(name: str, split: str, config: str | None) -> Iterator[dict]:
    import httpx
    from datasets import get_dataset_config_names, load_dataset
    from datasets.exceptions import DatasetsError

    # Without network the Hub's client gives up with a RuntimeError: it has closed itself.
    faults = (OSError, ValueError, RuntimeError, DatasetsError, httpx.HTTPError)
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
