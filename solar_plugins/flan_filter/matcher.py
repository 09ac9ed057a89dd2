"""From prompts to tasks: which row shows what of which task, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from solar_plugins.flan_filter import task_names
from solar_plugins.flan_filter.anchors import ANY_NGRAM, EXACT, TOLERANT, build_tables
from solar_plugins.flan_filter.columns import buffer_of
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
)
from solar_plugins.flan_filter.scan import Hits, scan
from solar_plugins.flan_filter.words import holds, normalised

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
        why: for a row that stays: what it lacked.
    """

    row: int
    removes: bool
    reason: str
    task: str
    part: str
    text: str
    share: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """One text of the index."""

    text: bytes
    words: int
    method: str
    part: str
    task: str
    listed: bool
    supports: tuple[tuple[bytes, ...], ...]
    ends_prompt: bool
    specific_words: int


class Matcher:
    """Finds the rows of listed tasks in batches of prompts.

    Args:
        index: as read.
        wanted: the tasks to remove: normalised name -> name as reported.
        decontaminate: also look for the test splits in the index.
    """

    def __init__(self, index: Index, wanted: dict[str, str], decontaminate: bool) -> None:
        self._wanted = wanted
        self._reported = lru_cache(None)(self._look_up)
        methods = [NIV2_DEFINITION, INSTANCE_TEXT, *([DECONTAMINATION] if decontaminate else [])]
        rows = _rows(index, methods)
        # Definitions of tasks that are not listed are kept: they say whose the row is.
        asked = np.array(rows["road"].to_pylist()) != INSTANCE_TEXT
        self._texts = rows.filter(asked | self._listed(rows["tasks"])).combine_chunks()
        texts = self._texts["text"].combine_chunks()
        data, begins, ends = buffer_of(texts)
        method = np.array(self._texts["road"].to_pylist())
        words = np.array([text.count(b" ") + 1 for text in texts.to_pylist()])
        modes = np.where(self._texts["tolerant"].to_numpy(), TOLERANT, EXACT).astype(np.uint8)
        modes[(method == DECONTAMINATION) & (words >= NGRAM_WORDS)] = ANY_NGRAM
        self._modes = modes
        self._tables = build_tables(data, begins, ends, modes, COMMON_NGRAM_ITEMS)
        self._known = lru_cache(_TEXTS_REMEMBERED)(self._read)
        self._digests, self._digest_tasks = self._inputs(index)

    def find(self, prompts: pa.Array) -> list[Finding]:
        """Findings of a batch, at most one that removes per row, in the order of the rows.

        Args:
            prompts: shape (rows,), large_binary; null where there is none.
        """
        data, begins, ends = buffer_of(prompts)
        hits, digests, counts = scan(data, begins, ends, self._tables)
        joined = self._joined(digests, counts)
        of_row = np.split(np.arange(len(hits.row)), np.flatnonzero(np.diff(hits.row)) + 1)
        by_row = {int(hits.row[places[0]]): places for places in of_row if len(places)}
        findings: list[Finding] = []
        for row in sorted(joined.keys() | by_row.keys()):
            prompt = normalised(data[begins[row] : ends[row]].tobytes())
            found = self._judge(row, prompt, joined.get(row), hits, by_row.get(row, ()))
            findings += found
        return findings

    def _judge(
        self, row: int, prompt: bytes, joined: str | None, hits: Hits, places: np.ndarray
    ) -> list[Finding]:
        spans: dict[int, list[tuple[int, int]]] = {}
        for place in places:
            span = (int(hits.from_word[place]), int(hits.words[place]))
            spans.setdefault(int(hits.text[place]), []).append(span)
        by_method: dict[str, list[int]] = {}
        for text in sorted(spans, key=lambda text: (-self._known(text).words, text)):
            by_method.setdefault(self._known(text).method, []).append(text)

        named = self._named(row, prompt, joined, by_method.get(NIV2_DEFINITION, []))
        if named is not None and named.removes:
            return [named]
        stays = [] if named is None else [named]
        # A row that is known to be of another task is not guessed at by what it shows.
        methods = (DECONTAMINATION,) if named is not None else (INSTANCE_TEXT, DECONTAMINATION)
        for method in methods:
            for text in by_method.get(method, []):
                finding = self._weigh(row, prompt, text, spans[text])
                if finding is None:
                    continue
                if finding.removes:
                    return [finding]
                if not any(other.reason == method for other in stays):
                    stays.append(finding)
        return stays

    def _named(
        self, row: int, prompt: bytes, joined: str | None, definitions: list[int]
    ) -> Finding | None:
        """The task as FLAN's own row or the definition says it."""
        if joined is not None:
            listed = task_names.normalised(joined) in self._wanted
            found = (FLAN_INPUTS, joined, "inputs", prompt[:200].decode())
            return Finding(row, listed, *found, 1.0, _OTHER_TASK)
        for text in definitions:
            known = self._known(text)
            if holds(prompt, known.text):
                found = (NIV2_DEFINITION, known.task, known.part, known.text.decode())
                return Finding(row, known.listed, *found, 1.0, _OTHER_TASK)
        return None

    def _weigh(
        self, row: int, prompt: bytes, text: int, spans: list[tuple[int, int]]
    ) -> Finding | None:
        known, mode = self._known(text), self._modes[text]
        shown = known.text.decode()
        if mode == ANY_NGRAM:
            first, length = spans[0]
            shown = " ".join(shown.split(" ")[first : first + length])
            return Finding(row, True, known.method, known.task, known.part, shown, 1.0)
        share = _union(spans) / known.words
        if share < 1.0:
            if share < NEAR:
                return None
            why = f"{share:.0%} of its words, {COVERED:.0%} are needed"
            return Finding(
                row, share >= COVERED, known.method, known.task, known.part, shown, share, why
            )
        if not holds(prompt, known.text):
            return None
        removes = known.words >= known.specific_words or _corroborated(prompt, known)
        why = f"{known.words} words and no second sign"
        return Finding(row, removes, known.method, known.task, known.part, shown, 1.0, why)

    def _read(self, text: int) -> _Known:
        entry = self._texts.slice(text, 1).to_pylist()[0]
        task, listed = self._reported(tuple(entry["tasks"]))
        return _Known(
            entry["text"],
            entry["text"].count(b" ") + 1,
            entry["road"],
            entry["part"],
            task,
            listed,
            tuple(tuple(support) for support in entry["supports"]),
            entry["ends_prompt"],
            entry["specific_words"],
        )

    def _look_up(self, tasks: tuple[str, ...]) -> tuple[str, bool]:
        """The first of `tasks` that is listed, else the first; and whether one is."""
        for task in tasks:
            if task_names.normalised(task) in self._wanted:
                return self._wanted[task_names.normalised(task)], True
        return tasks[0], False

    def _listed(self, tasks: pa.ChunkedArray) -> np.ndarray:
        """Which of these lists of tasks hold one that is to be removed."""
        return np.array([self._reported(tuple(some))[1] for some in tasks.to_pylist()], bool)

    def _inputs(self, index: Index) -> tuple[np.ndarray, list[str]]:
        rows = _rows(index, [FLAN_INPUTS])
        digests = rows.column("digest").to_pylist()
        tasks = [self._reported(tuple(some))[0] for some in rows.column("tasks").to_pylist()]
        both = np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)
        order = np.argsort(both[:, 0], kind="stable")
        return both[order], [tasks[place] for place in order]

    def _joined(self, digests: np.ndarray, counts: np.ndarray) -> dict[int, str]:
        """Row -> task, for prompts whose words are those of a row of FLAN."""
        if not len(self._digests):
            return {}
        first = self._digests[:, 0]
        places = np.minimum(np.searchsorted(first, digests[:, 0]), len(first) - 1)
        same = (self._digests[places] == digests).all(axis=1) & (counts > 0)
        return {int(row): self._digest_tasks[places[row]] for row in np.flatnonzero(same)}


_OTHER_TASK = "of a task that is not listed"


def _corroborated(prompt: bytes, known: _Known) -> bool:
    """Whether a short text is its item's and not anybody's; `prompt` holds it."""
    before, _, after = (b" " + prompt + b" ").partition(b" " + known.text + b" ")
    elsewhere = before + b" | " + after  # a support may not lie across the gap
    for support in known.supports:
        if all(b" " + part + b" " in b" " + elsewhere + b" " for part in support):
            return True
    around = before.count(b" ") + after.count(b" ")
    at_the_end = not known.ends_prompt or after.count(b" ") <= TRAILING_WORDS
    allowed = TEMPLATE_WORDS if known.words >= ALONE_WORDS else FEW_WORDS_AROUND
    return around <= allowed and at_the_end


def _union(spans: list[tuple[int, int]]) -> int:
    """How many words `spans` of (first word, words) cover together."""
    covered, reached = 0, 0
    for first, length in sorted(spans):
        end = first + length
        covered += max(0, end - max(first, reached))
        reached = max(reached, end)
    return covered


def _rows(index: Index, methods: list[str]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import compute

    return index.entries.filter(compute.is_in(index.entries["road"], pa.array(methods)))
