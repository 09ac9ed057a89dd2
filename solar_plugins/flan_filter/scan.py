"""Finding a few hundred thousand texts in millions of prompts, without a Python loop over rows.

Every prompt becomes an array of word hashes. A rolling hash over them asks the tables of `anchors`;
where an anchor is met, all words of the text are compared in place. What is returned are the few
places where a text stands, or most of a tolerant one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from solar_plugins.flan_filter.anchors import (
    ANY_NGRAM,
    BASE,
    BASE_2,
    BYTES,
    TOLERANT,
    Anchors,
    Tables,
    Texts,
    mixed,
    window_hash,
    window_key,
    word_hashes,
)
from solar_plugins.flan_filter.evidence import SPAN_WORDS

_LEAST_SHARE = 0.2
"""A shorter span of a tolerant text is not worth adding up."""


class Hits(NamedTuple):
    """Places where texts stand.

    Attributes:
        row, text: which prompt and which text.
        begin: the first word of the prompt that is part of it.
        from_word, words: which span of the text was found, in words.
    """

    row: np.ndarray
    text: np.ndarray
    begin: np.ndarray
    from_word: np.ndarray
    words: np.ndarray


@njit(cache=True, nogil=True)
def _probe(
    words: np.ndarray,
    count: int,
    row: int,
    texts: Texts,
    anchors: Anchors,
    out: np.ndarray,
    found: int,
) -> int:
    """Looks up all windows of one length in one prompt; returns the new number of hits."""
    # Fields of tuples are read once: in the loop each reading would count references.
    text_words, text_starts, text_mode = texts
    length, shift, bits, keys, firsts, places, text_of, place_of = anchors
    if count < length or len(text_of) == 0:
        return found
    mask = np.uint64(len(keys) - 1)
    power = np.uint64(1)
    for _ in range(length - 1):
        power *= BASE
    window = window_hash(words, 0, length)
    for begin in range(count - length + 1):
        if begin:
            window = (window - words[begin - 1] * power) * BASE + words[begin + length - 1]
        key = window_key(window)
        bit = key >> shift
        if not (bits[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1):
            continue
        slot = key & mask
        while keys[slot] != np.uint64(0) and keys[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        if keys[slot] == np.uint64(0):
            continue
        for place in range(firsts[slot], firsts[slot] + places[slot]):
            text, at = text_of[place], place_of[place]
            # Of the text its word 0 would be the prompt's word `origin`.
            origin = begin - at
            text_begin = text_starts[text]
            whole = text_starts[text + 1] - text_begin
            mode = text_mode[text]
            low, high = at, at
            most_low = at if mode == ANY_NGRAM else max(0, -origin)
            most_high = at + length if mode == ANY_NGRAM else min(whole, count - origin)
            while low > most_low and text_words[text_begin + low - 1] == words[origin + low - 1]:
                low -= 1
            while high < most_high and text_words[text_begin + high] == words[origin + high]:
                high += 1
            span = high - low
            enough = (
                span == whole
                or (mode == ANY_NGRAM and span == length)
                or (mode == TOLERANT and span >= SPAN_WORDS and span >= _LEAST_SHARE * whole)
            )
            if enough:
                if found < len(out):
                    out[found, 0] = row
                    out[found, 1] = text
                    out[found, 2] = origin + low
                    out[found, 3] = low
                    out[found, 4] = span
                found += 1
    return found


@njit(cache=True, nogil=True)
def _scan(
    data: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    table: np.ndarray,
    tables: Tables,
    digests: np.ndarray,
    counts: np.ndarray,
    out: np.ndarray,
) -> int:
    longest = 0
    for row in range(len(begins)):
        longest = max(longest, ends[row] - begins[row])
    words = np.empty(longest // 2 + 2, np.uint64)
    found = 0
    for row in range(len(begins)):
        count = word_hashes(data, begins[row], ends[row], table, words)
        counts[row] = count
        first, second = np.uint64(count), np.uint64(count)
        for word in range(count):
            first = first * BASE + words[word]
            second = second * BASE_2 + words[word]
        digests[row, 0] = mixed(first)
        digests[row, 1] = mixed(second)
        found = _probe(words, count, row, tables.texts, tables.short, out, found)
        found = _probe(words, count, row, tables.texts, tables.long, out, found)
        found = _probe(words, count, row, tables.texts, tables.ngram, out, found)
    return found


def scan(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, tables: Tables
) -> tuple[Hits, np.ndarray, np.ndarray]:
    """Looks for the texts of `tables` in prompts.

    Args:
        data: bytes, uint8.
        begins, ends: shape (rows,), where each prompt lies in `data`.

    Returns:
        `Hits`; the 128-bit digest of each prompt's words, uint64 of shape (rows, 2); and the
        number of words of each prompt, shape (rows,).
    """
    digests = np.zeros((len(begins), 2), np.uint64)
    counts = np.zeros(len(begins), np.int64)
    room = 4096
    while True:
        out = np.zeros((room, 5), np.int64)
        found = _scan(data, begins, ends, BYTES, tables, digests, counts, out)
        if found <= room:
            out = out[:found]
            return Hits(*(out[:, column] for column in range(5))), digests, counts
        room = found
