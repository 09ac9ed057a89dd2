"""Builds an index from the public benchmarks on the Hub, a folder of them, or FLAN itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from solar_plugins.errors import SolarError, nearest
from solar_plugins.flan_filter import index_file, niv2, task_names
from solar_plugins.flan_filter.benchmarks import Benchmark, HubSplit, benchmarks
from solar_plugins.flan_filter.evidence import DECONTAMINATION, INSTANCE_TEXT, NIV2_DEFINITION, Text
from solar_plugins.flan_filter.flan_slice import FlanFile, digests, flan_files, is_flan
from solar_plugins.flan_filter.index_file import Entries
from solar_plugins.flan_filter.public_data import hub, hub_rows, local_rows, split_files

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

BENCHMARKS = "benchmarks"
"""The word for the public benchmarks on the Hub."""

Progress = Callable[[str, int], None]
"""Called with what is being read and the rows (FLAN: bytes) since the last call."""


def build(
    sources: Sequence[str], path: Path, parts: Path, progress: Progress
) -> tuple[dict, dict[str, int]]:
    """Write the index of `sources` to `path`.

    Args:
        sources: see `add_source`.
        parts: where what was read of FLAN is kept until the index is written, so that a build that
            was stopped goes on where it was.
        progress: called with what is being read and the rows since the last call.

    Returns:
        The index's facts, and what was read -> rows.

    Raises:
        SolarError: a source is not there or has another shape.
    """
    entries, read = index_file.Entries(), {}
    for source in sources:
        read.update(add_source(source, entries, parts, progress))
    facts = index_file.write(path, entries, read)
    shutil.rmtree(parts, ignore_errors=True)
    return facts, read


def add_source(
    source: str,
    entries: Entries,
    parts: Path,
    progress: Progress,
    filesystem: AbstractFileSystem | None = None,
) -> dict[str, int]:
    """Read `source` into `entries`.

    Args:
        source: `BENCHMARKS`, a folder of benchmarks, a folder of FLAN's Parquet files, or the
            Hub's name of a copy of FLAN.
        parts: where what was read of FLAN is kept, so that the next run need not read it again.
        filesystem: the Hub's; another one in tests.

    Returns:
        What was read -> rows.

    Raises:
        SolarError: there is nothing of the kind at `source`.
    """
    folder = Path(source)
    if source == BENCHMARKS:  # a folder of that name is ./benchmarks
        return _add_benchmarks(_on_the_hub(filesystem or hub()), entries, progress)
    if folder.is_dir():
        parquet = sorted(folder.rglob("*.parquet"))
        if parquet and all(is_flan(file) for file in parquet):
            from fsspec.implementations.local import LocalFileSystem

            place = str(folder.resolve())
            return _add_flan(source, place, LocalFileSystem(), entries, parts, progress)
        found = _add_benchmarks(_in_folder(folder), entries, progress)
        return {**found, **_add_definitions(folder / niv2.FOLDER, entries)}
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        place = f"datasets/{source}"
        return _add_flan(source, place, filesystem or hub(), entries, parts, progress)
    raise SolarError(
        f"--from {source}: no such folder. Write benchmarks (the public data sets on the Hub), a "
        "folder with one folder per benchmark (gsm8k/train.jsonl, …), or Open-Orca/FLAN."
    )


def add_texts(entries: Entries, method: str, texts: Iterator[Text]) -> None:
    """Add texts that anchors can find."""
    from solar_plugins.flan_filter.anchors import SHORT_WORDS

    for text in texts:
        entries.add(method, text, SHORT_WORDS)


def _add_benchmarks(
    splits: Iterator[tuple[Benchmark, str, bool, str, Iterator[dict]]],
    entries: Entries,
    progress: Progress,
) -> dict[str, int]:
    add_texts(entries, NIV2_DEFINITION, niv2.texts())
    read: dict[str, int] = {}
    for benchmark, name, is_test, folder, rows in splits:
        method = DECONTAMINATION if is_test else INSTANCE_TEXT
        number = 0
        for number, row in enumerate(rows, start=1):
            found = benchmark.test_texts(row) if is_test else benchmark.train_texts(row, folder)
            try:
                add_texts(entries, method, found)
            except (TypeError, AttributeError, KeyError) as error:
                raise SolarError(
                    f"{name}: row {number} has not the public shape of {benchmark.NAME}: columns "
                    f"{', '.join(benchmark.COLUMNS)} as on the Hub ({error})."
                ) from error
            progress(name, 1)
        if number == 0:
            raise SolarError(f"{name}: no rows. Give the whole split.")
        read[name] = read.get(name, 0) + number
    return read


def _on_the_hub(filesystem: AbstractFileSystem) -> Iterator[tuple]:
    for benchmark in benchmarks().values():
        for is_test, splits in ((False, benchmark.TRAIN), (True, benchmark.TEST)):
            for split in splits:
                name = f"{split.repository}/{split.config}/{split.split}"
                rows = hub_rows(split, benchmark.COLUMNS, filesystem)
                yield benchmark, name, is_test, split.folder, rows


def _in_folder(folder: Path) -> Iterator[tuple]:
    known = {alias.lower(): b for b in benchmarks().values() for alias in b.FOLDERS}
    places = sorted(place for place in folder.iterdir() if place.is_dir())
    places = [place for place in places if place.name[0] not in "._" and place.name != niv2.FOLDER]
    for place in places:
        if place.name.lower() not in known:
            raise SolarError(
                f"{place}: no benchmark of that name.{nearest(place.name, known)} The folders may "
                f"be {', '.join(b.FOLDERS[0] for b in benchmarks().values())} and {niv2.FOLDER}."
            )
    if not places:
        raise SolarError(
            f"{folder}: no benchmark in it. Put one folder per benchmark there, each with "
            "train.jsonl or Parquet in the public columns, for example gsm8k/train.jsonl."
        )
    for place in places:
        benchmark = known[place.name.lower()]
        train = split_files(place, "train") if benchmark.TRAIN else []
        test = _test_files(benchmark.TEST, place)
        if not train and not test:
            raise SolarError(
                f"{place}: no train.jsonl or train*.parquet in it (nor a test split of H6)."
            )
        for is_test, files in ((False, train), (True, test)):
            for file in files:
                rows = local_rows(file, benchmark.COLUMNS)
                yield benchmark, str(file), is_test, f"{place.name}/{file.parent.name}", rows


def _test_files(splits: tuple[HubSplit, ...], place: Path) -> list[Path]:
    """The files of the split that H6 is measured on."""
    for split in dict.fromkeys(split.split for split in splits):
        files = split_files(place, split)
        if files:
            # H6 has ARC's Challenge part only; where the parts lie apart, Easy stays out.
            apart = [file for file in files if "easy" not in str(file.relative_to(place)).lower()]
            return [] if "easy" in place.name.lower() else apart
    return []


def _add_definitions(folder: Path, entries: Entries) -> dict[str, int]:
    if not folder.is_dir():
        return {}
    files = sorted(folder.glob("task*.json"))
    for file in files:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            add_texts(entries, NIV2_DEFINITION, niv2.text_of_file(file.stem, content))
        except (ValueError, KeyError, TypeError) as error:
            raise SolarError(
                f"{file}: no task file of natural-instructions with a Definition ({error})."
            ) from error
    return {str(folder): len(files)}


def _add_flan(
    source: str,
    place: str,
    filesystem: AbstractFileSystem,
    entries: Entries,
    parts: Path,
    progress: Progress,
) -> dict[str, int]:
    tasks = task_names.expand([task_names.SOLAR, task_names.RELATED])
    files: list[FlanFile] = flan_files(place, filesystem)
    if not files:
        raise SolarError(f"--from {source}: no Parquet file in it. Write Open-Orca/FLAN or a copy.")
    rows = 0
    for task, digest in digests(files, filesystem, tasks, parts, lambda n: progress(source, n)):
        entries.add_digest(task, digest)
        rows += 1
    if rows == 0:
        raise SolarError(
            f"--from {source}: none of its rows is of a task of Table 8 (or related to one)."
        )
    return {source: rows}
