"""Builds an index from the public benchmarks on the Hub, a folder of them, or FLAN itself."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from solar_plugins.errors import SolarError, nearest
from solar_plugins.flan_filter import index_file
from solar_plugins.flan_filter.benchmarks import BENCHMARKS, DEFINITIONS, Benchmark
from solar_plugins.flan_filter.evidence import DECONTAMINATION, INSTANCE_TEXT, NIV2_DEFINITION, Text
from solar_plugins.flan_filter.flan_slice import WITHOUT_NETWORK, digests, is_flan
from solar_plugins.flan_filter.index_file import Entries
from solar_plugins.flan_filter.places import reached
from solar_plugins.recipes import rows

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

NIV2 = "niv2"
"""The folder of natural-instructions' task files beside those of the benchmarks."""

Progress = Callable[[str, int], None]
"""Called with what is being read and the rows (FLAN: bytes) since the last call."""

_Split = tuple[Benchmark, str, bool, str, Iterator[dict]]
"""Benchmark, name of what is read, whether it is a test split, folder, rows."""


def build(
    sources: Sequence[str], path: Path, parts: Path, progress: Progress
) -> tuple[dict, dict[str, int]]:
    """Write the index of `sources` to `path`; returns its facts, and what was read -> rows.

    Args:
        sources: see `add_source`.
        parts: where what was read of FLAN is kept until the index is written, so that a build that
            was stopped goes on where it was.

    Raises:
        SolarError: a source is not there or has another shape.
    """
    entries = Entries()
    for source in sources:
        add_source(source, entries, parts, progress)
    facts = index_file.write(path, entries)
    shutil.rmtree(parts, ignore_errors=True)
    return facts, dict(entries.sources)


def add_source(
    source: str,
    entries: Entries,
    parts: Path,
    progress: Progress,
    filesystem: AbstractFileSystem | None = None,
) -> None:
    """Read `source` into `entries`.

    Args:
        source: ``benchmarks`` (those on the Hub), a folder of them, a folder of FLAN's Parquet
            files, or the Hub's name of a copy of FLAN.
        parts: see `build`.
        filesystem: the Hub's; another one in tests.

    Raises:
        SolarError: there is nothing of the kind at `source`.
    """
    folder = Path(source)
    if source == "benchmarks":  # a folder of that name is ./benchmarks
        _add_benchmarks(_on_the_hub(filesystem or _hub()), entries, progress)
        return
    if folder.is_dir():
        parquet = sorted(folder.rglob("*.parquet"))
        if parquet and all(is_flan(file) for file in parquet):
            from fsspec.implementations.local import LocalFileSystem

            place, filesystem = str(folder.resolve()), LocalFileSystem()
        else:
            _add_benchmarks(_in_folder(folder), entries, progress)
            _add_definitions(folder / NIV2, entries)
            return
    elif source.count("/") == 1 and not source.startswith((".", "/", "~")):
        place, filesystem = f"datasets/{source}", filesystem or _hub()
    else:
        raise SolarError(
            f"--from {source}: no such folder. Write benchmarks (the public data sets on the Hub), "
            "a folder with one folder per benchmark (gsm8k/train.jsonl, …), or Open-Orca/FLAN."
        )
    for task, digest in digests(place, filesystem, parts, lambda size: progress(source, size)):
        entries.add_digest(task, digest)
        entries.sources[source] += 1
    if source not in entries.sources:
        raise SolarError(
            f"--from {source}: no Parquet file in it with rows of a task of Table 8 (or related to "
            "one). Write Open-Orca/FLAN or a copy of it."
        )


def _hub() -> AbstractFileSystem:
    """The Hub as a file system; a token of the environment or of `hf auth login` is used."""
    from huggingface_hub import HfFileSystem

    return HfFileSystem()


def _add_benchmarks(splits: Iterator[_Split], entries: Entries, progress: Progress) -> None:
    for task, stem in DEFINITIONS.items():
        entries.add(NIV2_DEFINITION, [Text(stem, "definition", (task,))])
    for benchmark, name, is_test, folder, items in splits:
        number = 0
        for number, row in enumerate(items, start=1):
            try:
                if is_test:
                    entries.add(DECONTAMINATION, benchmark.texts(row, (benchmark.name,)))
                else:
                    entries.add(INSTANCE_TEXT, benchmark.train_texts(row, folder))
            except (TypeError, AttributeError, KeyError) as error:
                raise SolarError(
                    f"{name}: row {number} has not the public shape of {benchmark.name}: columns "
                    f"{', '.join(benchmark.columns)} as on the Hub ({error})."
                ) from error
            progress(name, 1)
        if number == 0:
            raise SolarError(f"{name}: no rows. Give the whole split.")
        entries.sources[name] += number


def _on_the_hub(filesystem: AbstractFileSystem) -> Iterator[_Split]:
    for benchmark in BENCHMARKS:
        for split in (*benchmark.train, *benchmark.test):
            items = _hub_rows(split, benchmark.columns, filesystem)
            yield benchmark, split, split in benchmark.test, split, items


def _hub_rows(
    split: str, columns: tuple[str, ...], filesystem: AbstractFileSystem
) -> Iterator[dict]:
    """The rows of one split on the Hub, only `columns` of it fetched."""
    repository, config, part = split.rsplit("/", 2)
    # The branch where the Hub keeps each public dataset as Parquet.
    pattern = f"datasets/{repository}@refs/convert/parquet/{config}/{part}/*.parquet"
    with reached(repository, hint=WITHOUT_NETWORK):
        files = sorted(filesystem.glob(pattern))
        if not files:
            raise SolarError(f"{repository}: the Hub has no {pattern}.")
        for name in files:
            with filesystem.open(name, "rb") as raw:
                yield from rows.read_parquet(raw, name, columns)


def _in_folder(folder: Path) -> Iterator[_Split]:
    known = {alias.lower(): b for b in BENCHMARKS for alias in b.folders}
    places = sorted(place for place in folder.iterdir() if place.is_dir())
    places = [place for place in places if place.name[0] not in "._" and place.name != NIV2]
    for place in places:
        if place.name.lower() not in known:
            raise SolarError(
                f"{place}: no benchmark of that name.{nearest(place.name, known)} The folders may "
                f"be {', '.join(b.folders[0] for b in BENCHMARKS)} and {NIV2}."
            )
    if not places:
        raise SolarError(
            f"{folder}: no benchmark in it. Put one folder per benchmark there, each with "
            "train.jsonl or Parquet in the public columns, for example gsm8k/train.jsonl."
        )
    for place in places:
        benchmark = known[place.name.lower()]
        train = _split_files(place, "train") if benchmark.train else []
        test = [
            file
            for split in benchmark.test
            for file in _split_files(place, split.rpartition("/")[2])
            # H6 has ARC's Challenge part only; where the parts lie apart, Easy stays out.
            if "easy" not in str(file.relative_to(folder)).lower()
        ]
        if not train and not test:
            raise SolarError(
                f"{place}: no train.jsonl or train*.parquet in it (nor a test split of H6)."
            )
        for file in (*train, *test):
            items = rows.read(file, benchmark.columns)
            yield benchmark, str(file), file in test, f"{place.name}/{file.parent.name}", items


def _split_files(folder: Path, split: str) -> list[Path]:
    """The files of a split in or below `folder`: ``train.jsonl``, ``train/0000.parquet``, …"""
    begins = re.compile(rf"{split}[\W_]")
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and file.name.endswith(rows.ENDINGS)
        and (begins.match(file.name) or file.parent.name == split)
    )


def _add_definitions(folder: Path, entries: Entries) -> None:
    files = sorted(folder.glob("task*.json"))
    for file in files:
        try:
            wordings = json.loads(file.read_text(encoding="utf-8"))["Definition"]
            for wording in [wordings] if isinstance(wordings, str) else wordings:
                # Releases differ in the first word.
                text = " ".join(wording.split()[1:30])
                entries.add(NIV2_DEFINITION, [Text(text, "definition", (file.stem,))])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SolarError(
                f"{file}: no task file of natural-instructions with a Definition ({error})."
            ) from error
    if folder.is_dir():
        entries.sources[str(folder)] = len(files)
