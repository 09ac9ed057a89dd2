"""Where the rows of a training went: how many were read, left out (and why), and trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pyarrow.compute as pc
import yaml

from solar_plugins.errors import SolarError
from solar_plugins.recipes.columns import RowReader
from solar_plugins.recipes.text_columns import gap, text_columns
from solar_plugins.watch.content import local_files

_LENGTH = "Raise sequence_len (now {sequence_len}), shorten them, or write "
_LENGTH += "excess_length_strategy: truncate."
_KNOWN: dict[str, list[str]] = yaml.safe_load(
    Path(__file__).with_name("causes.yml").read_text(encoding="utf-8")
)
_CAUSES = {word: texts[0] for word, texts in _KNOWN.items()}
_WAY_OUT = {
    cause: way.replace("LENGTH", _LENGTH) for cause, *ways in _KNOWN.values() for way in ways
}


@dataclass
class RowCount:
    """The rows of one preparation of data.

    Attributes:
        read: Rows of the sources.
        dropped: Rows that are not trained, by cause.
        trained: Rows that are left, once they are prepared; some may be held out for evaluation.
        other_texts: Rows that train another text than their answers, see `masks`.
    """

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    trained: int | None = None
    other_texts: int = 0

    def drop(self, name: str | None, rows: int) -> None:
        """Count rows that a filter called `name` has left out."""
        if not rows:
            return
        if self.trained is not None:
            self.trained -= rows
        cause = next((text for word, text in _CAUSES.items() if word in (name or "")), None)
        self.dropped[cause or name or "left out by a filter"] += rows

    def facts(self) -> dict[str, Any]:
        return {
            **{"read": self.read, "trained": self.trained, "other_texts": self.other_texts},
            "dropped": dict(self.dropped),
        }

    def line(self) -> str:
        """``"rows: 40 read, 2 trained; 38 longer than sequence_len"``"""
        causes = "".join(f"; {rows} {cause}" for cause, rows in self.dropped.items() if rows)
        other = f"; {self.other_texts} train another text than their answer"
        lines = f"rows: {self.read} read, {self.trained} trained{causes}"
        return lines + (other if self.other_texts else "")

    def way_out(self, cfg: Mapping[str, Any]) -> str:
        """What to do about the cause that took the most rows."""
        if not self.dropped:
            return "Check the data."
        cause = max(self.dropped, key=lambda name: self.dropped[name])
        text = _WAY_OUT.get(cause, _LENGTH if "sequence_len" in cause else "Check the data.")
        return text.format(sequence_len=cfg.get("sequence_len"))

    def warning(self, cfg: Mapping[str, Any]) -> str | None:
        """The line for a share of dropped rows above ``max_dropped_share``.

        Raises:
            SolarError: no row is left.
        """
        lost = self.read and self.dropped.total() / self.read
        if self.trained == 0 or (lost and lost >= 1):
            raise SolarError(f"{self.line()}. No row is left to train. {self.way_out(cfg)}")
        most = cfg.get("max_dropped_share")
        if lost <= (0.1 if most is None else most):
            return None
        return f"{lost:.0%} of the rows are not trained. {self.line()}. {self.way_out(cfg)}"


def count(rows: Any, entry: Mapping[str, Any]) -> int:
    """The rows that Axolotl goes on with: with ``shards`` a sample of them, by wish."""
    shards, index = int(entry.get("shards") or 1), int(entry.get("shards_idx") or 0)
    return len(rows) // shards + (index < len(rows) % shards)


def empty_texts(rows: datasets.Dataset, entry: Mapping[str, Any]) -> int:
    """How many texts of a completion set are empty: tokenising leaves nothing of those rows."""
    columns = [name for name in text_columns(entry) if name in rows.column_names]
    if not str(entry.get("type")).startswith("completion") or not columns:
        return 0
    batches = rows.select_columns(columns).with_format("arrow").iter(1000)
    return sum(pc.sum(pc.equal(batch.column(columns[0]), "")).as_py() or 0 for batch in batches)


def same_answers(rows: datasets.Dataset) -> int:
    """How many prepared pairs have the same text as chosen and as rejected."""
    if not {"chosen", "rejected"} <= set(rows.column_names):
        return 0
    batches = rows.select_columns(["chosen", "rejected"]).iter(1000)
    return sum(a == b for batch in batches for a, b in zip(*batch.values(), strict=True))


def without_labels(rows: datasets.Dataset, tokenizer: Any) -> int:
    """How many tokenised rows have no label but blanks and special tokens: no word is learned."""
    every = [[token] for token in range(len(tokenizer))]
    texts = tokenizer.batch_decode(every, skip_special_tokens=True)
    nothing = [-100, *(token for token, text in enumerate(texts) if not text.strip())]
    found = 0
    for batch in rows.select_columns(["labels"]).with_format("arrow").iter(1000):
        labels = batch.column("labels").combine_chunks()
        if not pyarrow.types.is_list(labels.type) and not pyarrow.types.is_large_list(labels.type):
            return 0  # a class per row
        flat = np.asarray(pc.list_flatten(labels))
        before = np.concatenate([[0], np.cumsum(~np.isin(flat, nothing))])
        ends = np.cumsum(np.asarray(pc.fill_null(pc.list_value_length(labels), 0)))
        found += int((np.diff(before[np.concatenate([[0], ends])]) == 0).sum())
    return found


def refuse_gaps(
    rows: datasets.Dataset,
    entry: Mapping[str, Any],
    rl: str,
    load: Callable[[Mapping[str, Any]], Any],
) -> None:
    """Refuse rows without a column that their type reads, or with nothing in one of its texts.

    Args:
        load: Loads another entry: of the single files, to say which of them it is.

    Raises:
        SolarError: with the file, the row's number in it, and the column.
    """
    there = rows.column_names
    for column in RowReader(entry, rl).columns if not rl else ():  # sDPO has its own line
        if not column.may_be_missing and not {*column.names} & {*there}:
            found = f"no column {column.names[0]!r}, the rows have {', '.join(there)}"
            raise SolarError(f"{entry['path']}: {found}. Name one of them, or choose another type.")
    columns = [name for name in text_columns(entry, rl) if name in there]
    if not columns:
        return
    number = 0
    more = ("tool_calls", "reasoning_content", "thinking")
    for batch in rows.select_columns(columns).with_format("arrow").iter(1000):
        if any(_may_have_gap(batch.column(name), bool(rl), more) for name in columns):
            for place, row in enumerate(batch.to_pylist(), number):
                if fault := gap(row, entry, rl):
                    raise SolarError(_gap_line(*_place(place, entry, load), fault))
        number += len(batch)


def refusing_gaps(rows: Any, entry: Mapping[str, Any], rl: str) -> Any:
    """A stream whose rows are looked at while they are read, as by `refuse_gaps`.

    Empty texts are left out: the model would fail on a batch of them.
    """
    name = ", ".join(map(str, local_files(entry))) or str(entry.get("path"))

    def look(row: dict[str, Any], place: int) -> dict[str, Any]:
        if fault := gap(row, entry, rl):
            raise SolarError(_gap_line(name, place, fault))
        return row

    looked_at = rows.map(look, with_indices=True, features=rows.features)
    columns = text_columns(entry, rl)
    return looked_at.filter(lambda row: any(row.get(c) != "" for c in columns) or not columns)


def _gap_line(name: str, place: int, fault: str) -> str:
    return f"{name}: row {place + 1}: {fault}. Fill it in, or remove the row."


def _may_have_gap(column: Any, also_empty: bool, optional: tuple[str, ...]) -> bool:
    kind = column.type
    if column.null_count or pyarrow.types.is_null(kind):
        return len(column) > 0
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        if also_empty and pc.any(pc.equal(pc.list_value_length(column), 0)).as_py():
            return True
        return _may_have_gap(pc.list_flatten(column), False, optional)
    if pyarrow.types.is_struct(kind):
        names = [field.name for field in kind if field.name not in optional]
        return any(_may_have_gap(pc.struct_field(column, name), False, optional) for name in names)
    if also_empty and (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        return bool(pc.any(pc.equal(column, "")).as_py())
    return False


def _place(
    place: int, entry: Mapping[str, Any], load: Callable[[Mapping[str, Any]], Any]
) -> tuple[str, int]:
    """The file that row `place` of an entry's rows stands in, and its place there."""
    files = local_files(entry)
    if len(files) < 2:
        return str(files[0] if files else entry.get("path")), place
    for file, rows in _sizes(files, entry, load):
        if place < rows:
            return file, place
        place -= rows
    return str(entry.get("path")), place


def _sizes(
    files: list[Path], entry: Mapping[str, Any], load: Callable[[Mapping[str, Any]], Any]
) -> Iterator[tuple[str, int]]:
    for file in files:
        try:
            alone = {**entry, "path": str(file), "data_files": None, "split": ""}
            yield str(file), len(load(alone))
        except (ValueError, OSError):  # a README, or a split's note beside the data
            continue
