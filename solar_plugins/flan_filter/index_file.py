"""The index: one Parquet file with every text and digest that identifies a listed task.

It is small (tens of MB for all benchmarks), holds no hash tables, and can be shared: whoever loads
it builds the tables in about a second. Equal sources give equal bytes.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from solar_plugins import __version__, atomic
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter.evidence import FLAN_INPUTS, LEAST_WORDS, Text, normalised
from solar_plugins.flan_filter.places import located, reached

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
"""Counts up when files of the one before can no longer be read."""

_KEY = b"solar_flan_index"


@dataclass
class Entry:
    """One row of the index; the fields are those of `evidence.Text`, normalised."""

    road: str
    part: str
    tasks: list[str]
    text: bytes | None = None
    supports: list[list[bytes]] = field(default_factory=list)
    ends_prompt: bool = False
    specific_words: int = 0
    tolerant: bool = False
    digest: bytes | None = None


class Index(NamedTuple):
    """An index as read: `write`'s facts, and its rows as a table with the columns of `Entry`."""

    path: str
    digest: str
    facts: dict
    entries: pa.Table

    @property
    def tasks(self) -> list[str]:
        """The tasks that the index knows by any method."""
        return sorted({task for counts in self.facts["texts"].values() for task in counts})


class Entries:
    """Collects entries; the same text from several items or tasks becomes one.

    Attributes:
        sources: what was read -> rows.
        too_short: texts of fewer than `LEAST_WORDS` words, which nothing could find.
    """

    def __init__(self) -> None:
        self.sources: Counter[str] = Counter()
        self._by_text: dict[tuple[str, bytes], Entry] = {}
        self._by_digest: dict[bytes, Entry] = {}
        self.too_short = 0

    def add(self, road: str, texts: Iterable[Text]) -> None:
        """Add texts, unless they are too short."""
        for text in texts:
            words = normalised(text.text)
            count = len(words.split())
            if count < LEAST_WORDS:
                self.too_short += 1
                continue
            new = Entry(road, text.part, [], words, [], *text[4:])
            known = self._by_text.setdefault((road, words), new)
            known.tasks += [task for task in text.tasks if task not in known.tasks]
            for support in text.supports if count < text.specific_words else ():
                both = [normalised(part) for part in support]
                if all(both) and both not in known.supports:
                    known.supports.append(both)

    def add_digest(self, task: str, digest: bytes) -> None:
        """Add the digest of the words of a whole prompt."""
        known = self._by_digest.setdefault(digest, Entry(FLAN_INPUTS, "inputs", [], digest=digest))
        if task not in known.tasks:
            known.tasks.append(task)

    def sorted(self) -> list[Entry]:
        texts = [self._by_text[key] for key in sorted(self._by_text)]
        return texts + [self._by_digest[key] for key in sorted(self._by_digest)]


def write(path: Path, entries: Entries) -> dict:
    """Write the index so that it is there whole or not at all.

    Returns:
        Its facts: sources with rows, texts per method and task, how many were left out.
    """
    import pyarrow as pa
    from pyarrow import parquet

    rows = entries.sorted()
    texts: dict[str, Counter[str]] = defaultdict(Counter)
    digest = xxhash.xxh3_128()
    for entry in rows:
        texts[entry.road].update(entry.tasks)
        digest.update(repr(entry).encode())
    facts = {
        "format": FORMAT,
        "solar_plugins": __version__,
        "digest": digest.hexdigest(),
        "sources": entries.sources,
        "texts": texts,
        "too_short": entries.too_short,
    }
    schema = _schema().with_metadata({_KEY: json.dumps(facts).encode()})
    columns = {name: [getattr(entry, name) for entry in rows] for name in schema.names}
    table = pa.table(columns, schema=schema)
    with atomic.new_file(path) as file:
        parquet.write_table(table, file, compression="zstd", write_page_checksum=True)
    return facts


def read_index(path: str | Path) -> Index:
    """Read an index, from a path or from a URL of fsspec.

    Raises:
        SolarError: the file is absent, no index, damaged, or of another version.
    """
    import pyarrow as pa
    from pyarrow import parquet

    build = f"solar flan-index --from benchmarks --out {path}"
    system, place = located(str(path))
    with reached(f"flan_filter.index: {path}"):
        if not system.isfile(place):
            raise SolarError(f"flan_filter.index: {path} is not there. Build it: {build}")
        opened = system.open(place, "rb")
    try:
        with opened, parquet.ParquetFile(opened, page_checksum_verification=True) as file:
            metadata = file.schema_arrow.metadata or {}
            if _KEY not in metadata:
                raise SolarError(f"flan_filter.index: {path} is no index. Build one: {build}")
            facts = json.loads(metadata[_KEY])
            if facts["format"] != FORMAT:
                raise SolarError(
                    f"flan_filter.index: {path} has format {facts['format']} (solar_plugins "
                    f"{facts['solar_plugins']}); this version reads format {FORMAT}. Build it "
                    f"again: {build}"
                )
            entries = file.read()
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())
        raise SolarError(
            f"flan_filter.index: {path} is not readable as an index ({reason}). Build it again: "
            f"{build}"
        ) from error
    return Index(str(path), facts["digest"], facts, entries)


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("road", pa.string()),
            ("part", pa.string()),
            ("tasks", pa.list_(pa.string())),
            ("text", pa.large_binary()),
            ("supports", pa.list_(pa.list_(pa.binary()))),
            ("ends_prompt", pa.bool_()),
            ("specific_words", pa.int16()),
            ("tolerant", pa.bool_()),
            ("digest", pa.binary()),
        ]
    )
