"""The contamination guard: what is within reach of a benchmark stays out.

A text is within reach of a benchmark's item when, compared word by word (letters and numbers, case
and marks ignored), it is the item, contains the whole of an item of 8 to 12 words, or shares 13
words in a row with it. Thirteen is what GPT-3 used (arXiv 2005.14165, appendix C). An item of fewer
than 8 words ("Compute sin 60") is met only by its equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

NGRAM = 13
SHORTEST_CONTAINED = 8
DISTINCT_WORDS = 7
"""A run of 13 words with fewer different ones (`1 2 + 1 2 + …`) says nothing about its origin."""

_DRAWING = re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL | re.IGNORECASE)
_SPELLING = re.compile(r"\\(left|right|[!,;: ])")
_WORD = re.compile(r"[a-z]+|\d+")


class Guard:
    """The items of benchmarks, ready for many questions."""

    def __init__(self) -> None:
        self._equal: dict[tuple[str, ...], str] = {}
        self._runs: dict[int, dict[int, str]] = {}  # words -> hash of a run -> benchmark
        self.items: dict[str, int] = {}

    def add(self, benchmark: str, texts: Iterable[str]) -> None:
        """Keep what is within reach of `texts` out from now on, under the benchmark's name."""
        for text in texts:
            found = words(text)
            if not found:
                continue
            self.items[benchmark] = self.items.get(benchmark, 0) + 1
            self._equal.setdefault(tuple(found), benchmark)
            length = min(len(found), NGRAM)
            if length >= SHORTEST_CONTAINED:
                known = self._runs.setdefault(length, {})
                for run in _runs(found, length):
                    if length < NGRAM or len(set(run)) >= DISTINCT_WORDS:
                        known.setdefault(hash(run), benchmark)

    def reason(self, *texts: str) -> str | None:
        """Why one of `texts` must stay out, as `<benchmark>_exact`, `_contained` or `_ngram`."""
        for text in texts:
            found = words(text)
            equal = self._equal.get(tuple(found))
            if equal is not None:
                return f"{equal}_exact"
            for length, known in self._runs.items():
                for run in map(hash, _runs(found, length)):
                    if run in known:
                        return f"{known[run]}_{'ngram' if length == NGRAM else 'contained'}"
        return None


def words(text: str) -> list[str]:
    """The words that are compared, without drawings (`[asy]`), which all use the same commands.

    >>> words(r"What is $\\left(\\dfrac{1}{2}\\right)^2$?")
    ['what', 'is', 'frac', '1', '2', '2']
    """
    text = _SPELLING.sub(" ", _DRAWING.sub(" ", text))
    return _WORD.findall(text.replace("dfrac", "frac").replace("tfrac", "frac").lower())


def _runs(found: list[str], length: int) -> Iterator[tuple[str, ...]]:
    """All runs of this number of consecutive words."""
    return zip(*(found[start:] for start in range(length)), strict=False)
