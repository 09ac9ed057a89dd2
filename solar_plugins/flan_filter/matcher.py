"""From prompts to tasks: which row shows what of which task, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.evidence import (
    ALONE_WORDS,
    COMMON_NGRAM_ITEMS,
    COVERED,
    DECONTAMINATION,
    FEW_WORDS_AROUND,
    FLAN_INPUTS,
    INSTANCE_TEXT,
    NEAR,
    NGRAM_WORDS,
    NIV2_DEFINITION,
    TEMPLATE_WORDS,
    TRAILING_WORDS,
    holds,
    normalised,
)
from solar_plugins.flan_filter.prompts import as_bytes, buffer_of
from solar_plugins.flan_filter.scan import ANY_NGRAM, EXACT, TOLERANT, build_tables, scan

if TYPE_CHECKING:
    import pyarrow as pa

    from solar_plugins.flan_filter.index_file import Index

_TEXTS_REMEMBERED = 65_536


class Finding(NamedTuple):
    """What identifies one row as a listed task's, or nearly.

    Attributes:
        row: of the batch.
        removes: whether the row goes; otherwise it is a related task's, or near a threshold.
        reason: one of `evidence.REASONS`.
        task: as reported; the likeliest where several show the same text.
        part: of the item: question, context, definition, …
        text: the words that were found.
        share: how much of the text was found, 0 to 1.
        why: what it lacks, or would lack, to be removed.
    """

    row: int
    removes: bool
    reason: str
    task: str
    part: str
    text: str
    share: float
    why: str = ""


class _Known(NamedTuple):
    """One text of the index: its row, and the task as it is reported."""

    number: int
    words: int
    entry: dict
    task: str
    listed: bool


_Spans = list[tuple[int, int]]
"""Places in a text: first word, words."""


class Matcher:
    """Finds the rows of listed tasks in batches of prompts.

    Args:
        index: as `read_index` gives it.
        tasks: those to remove, as in the YAML block: ``solar``, ``related``, names, or a list.
        decontaminate: also look for the test splits in the index.

    Raises:
        SolarError: `tasks` has none, or one that is no name.
    """

    def __init__(
        self, index: Index, tasks: str | list[str] = task_names.SOLAR, decontaminate: bool = False
    ) -> None:
        self._wanted = task_names.expand(tasks)
        self._reported = lru_cache(None)(self._look_up)
        self._known = lru_cache(_TEXTS_REMEMBERED)(self._read)
        rows = index.entries
        method = np.array(rows["road"].to_pylist(), dtype=object)
        tasks_of = [tuple(some) for some in rows["tasks"].to_pylist()]
        # Definitions of tasks that are not listed are kept: they say whose the row is.
        listed = np.array([self._reported(some)[1] for some in tasks_of], bool)
        asked = (method == NIV2_DEFINITION) | (method == INSTANCE_TEXT) & listed
        asked |= (method == DECONTAMINATION) & decontaminate
        self._texts = rows.filter(asked).combine_chunks()
        texts = self._texts["text"].combine_chunks()
        words = np.array([text.count(b" ") + 1 for text in texts.to_pylist()])
        self._modes = np.where(self._texts["tolerant"].to_numpy(), TOLERANT, EXACT).astype(np.uint8)
        self._modes[(method[asked] == DECONTAMINATION) & (words >= NGRAM_WORDS)] = ANY_NGRAM
        self._tables = build_tables(buffer_of(texts), self._modes, COMMON_NGRAM_ITEMS)
        self._task_of_prompt = {
            digest: self._reported(some)[0]
            for digest, some in zip(rows["digest"].to_pylist(), tasks_of, strict=True)
            if digest is not None
        }

    def find(self, prompts: pa.Array | Sequence[str | None]) -> list[Finding]:
        """Findings of a batch, at most one that removes per row, in the order of the rows.

        Args:
            prompts: shape (rows,), text or large_binary; null where there is none.
        """
        import pyarrow as pa

        if not isinstance(prompts, pa.Array):
            encoded = (p if p is None else p.encode("utf-8", "surrogatepass") for p in prompts)
            prompts = pa.array(encoded, pa.large_binary())
        data, begins, ends = buffer_of(as_bytes(prompts))
        hits, digests, _ = scan((data, begins, ends), self._tables)
        of_row, known = digests.view("V16").ravel().tolist(), self._task_of_prompt
        joined = {row: known[digest] for row, digest in enumerate(of_row) if digest in known}
        spans: dict[int, dict[int, _Spans]] = {row: {} for row in joined}
        for row, text, first, words in hits.tolist():
            spans.setdefault(row, {}).setdefault(text, []).append((first, words))
        return [
            finding
            for row in sorted(spans)
            for finding in self._judge(
                row,
                normalised(data[begins[row] : ends[row]].tobytes()),
                joined.get(row),
                spans[row],
            )
        ]

    def _judge(
        self, row: int, prompt: bytes, joined: str | None, spans: dict[int, _Spans]
    ) -> list[Finding]:
        shown = sorted(map(self._known, spans), key=lambda known: (-known.words, known.number))
        found: list[Finding] = []
        if joined is not None:
            listed = task_names.normalised(joined) in self._wanted
            text = prompt[:200].decode()
            found = [Finding(row, listed, FLAN_INPUTS, joined, "inputs", text, 1.0, _OTHER_TASK)]
            if listed:
                return found
        for method in (NIV2_DEFINITION, INSTANCE_TEXT, DECONTAMINATION):
            # A row that is known to be of another task is not guessed at by what it shows.
            if found and method != DECONTAMINATION:
                continue
            near: list[Finding] = []
            for known in (known for known in shown if known.entry["road"] == method):
                finding = self._weigh(row, prompt, known, spans[known.number])
                if finding is not None and finding.removes:
                    return [finding]
                if finding is not None:
                    near.append(finding)
                    if method == NIV2_DEFINITION:  # the longest names the task
                        break
            found += near[:1]
        return found

    def _weigh(self, row: int, prompt: bytes, known: _Known, spans: _Spans) -> Finding | None:
        method, part, text = (known.entry[key] for key in ("road", "part", "text"))
        shown = text.decode()
        covered = {word for first, length in spans for word in range(first, first + length)}
        share, removes, why = len(covered) / known.words, True, ""
        if self._modes[known.number] == ANY_NGRAM:
            first, length = spans[0]
            shown = " ".join(shown.split(" ")[first : first + length])
            share = 1.0
        elif NEAR <= share < 1.0:
            removes, why = share >= COVERED, f"{share:.0%} of its words, {COVERED:.0%} are needed"
        elif share < NEAR or not holds(prompt, text):
            return None
        elif method == NIV2_DEFINITION:
            removes, why = known.listed, _OTHER_TASK
        else:
            is_specific = known.words >= known.entry["specific_words"]
            removes = is_specific or _corroborated(prompt, known)
            why = f"{known.words} words and no second sign"
        return Finding(row, removes, method, known.task, part, shown, share, why)

    def _read(self, number: int) -> _Known:
        entry = self._texts.slice(number, 1).to_pylist()[0]
        words = entry["text"].count(b" ") + 1
        return _Known(number, words, entry, *self._reported(tuple(entry["tasks"])))

    def _look_up(self, tasks: tuple[str, ...]) -> tuple[str, bool]:
        """The first of `tasks` that is listed, else the first; and whether one is."""
        for task in tasks:
            if task_names.normalised(task) in self._wanted:
                return self._wanted[task_names.normalised(task)], True
        return tasks[0], False


_OTHER_TASK = "of a task that is not listed"


def _corroborated(prompt: bytes, known: _Known) -> bool:
    """Whether a short text is its item's and not anybody's; `prompt` holds it."""
    before, _, after = (b" " + prompt + b" ").partition(b" " + known.entry["text"] + b" ")
    elsewhere = before + b" | " + after  # a support may not lie across the gap
    for support in known.entry["supports"]:
        if all(holds(elsewhere, part) for part in support):
            return True
    around = before.count(b" ") + after.count(b" ")
    at_the_end = not known.entry["ends_prompt"] or after.count(b" ") <= TRAILING_WORDS
    allowed = TEMPLATE_WORDS if known.words >= ALONE_WORDS else FEW_WORDS_AROUND
    return around <= allowed and at_the_end
