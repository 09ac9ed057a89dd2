"""Finding a few hundred thousand texts in millions of prompts, without a Python loop over rows.

Every text and prompt becomes an array of word hashes. Of each text, one window of words, the rarest
among all texts, is its anchor. A rolling hash over a prompt asks a small bit map whether a window
is anybody's anchor, and a table whose it is; there, all words of the text are compared in place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from solar_plugins.flan_filter.evidence import NGRAM_WORDS, SPAN_WORDS, WORD_BYTES

EXACT, TOLERANT, ANY_NGRAM = 0, 1, 2
"""How a text is compared: all words in a row; spans of them; any window of `NGRAM_WORDS`."""

SHORT_WORDS = 3
LONG_WORDS = 6
"""Anchors have six words; three in texts that are shorter than that. Shorter ones have none."""

_LEAST_SHARE = 0.2
"""A shorter span of a tolerant text is not worth adding up."""

_BASE = np.uint64(0x9E3779B97F4A7C15)
_BASE_2 = np.uint64(0xD6E8FEB86659FD93)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_BYTES = np.frombuffer(WORD_BYTES, dtype=np.uint8)
_SPACE = np.uint8(ord(" "))
_RARITY_BITS = 22


class Anchors(NamedTuple):
    """The anchors of one window length, sorted by their keys (the mixed hashes of the windows).

    Attributes:
        words: the window's length.
        bits, bit_shift: bit map over the top bits of a key: which have an anchor.
        buckets, bucket_shift: where in `keys` those with equal top bits begin.
        keys, text, place: which text has the window, and at which of its words.
    """

    words: int
    bits: np.ndarray
    bit_shift: np.uint64
    buckets: np.ndarray
    bucket_shift: np.uint64
    keys: np.ndarray
    text: np.ndarray
    place: np.ndarray


class Texts(NamedTuple):
    """All texts: text i has `words[starts[i]:starts[i + 1]]` and is compared by `mode[i]`."""

    words: np.ndarray
    starts: np.ndarray
    mode: np.ndarray


class Tables(NamedTuple):
    """What `scan` looks for."""

    texts: Texts
    short: Anchors
    long: Anchors
    ngram: Anchors


class Hits(NamedTuple):
    """Places where texts stand.

    Attributes:
        row, text: which prompt and which text.
        from_word, words: which span of the text was found, in words.
    """

    row: np.ndarray
    text: np.ndarray
    from_word: np.ndarray
    words: np.ndarray


@njit(cache=True, nogil=True, inline="always")
def _mixed(value: np.uint64) -> np.uint64:
    """`value`, a number or a new array, with its bits spread."""
    value ^= value >> np.uint64(31)
    value *= _MIX
    return value ^ (value >> np.uint64(29))


@njit(cache=True, nogil=True)
def _word_hashes(data: np.ndarray, begin: int, end: int, table: np.ndarray, out: np.ndarray) -> int:
    """Hashes of the words of `data[begin:end]` into `out`; returns their number."""
    count = 0
    value = np.uint64(0)
    inside = False
    for position in range(begin, end):
        byte = table[data[position]]
        if byte != _SPACE:
            value = value * np.uint64(0x100000001B3) + np.uint64(byte)
            inside = True
        elif inside:
            out[count] = _mixed(value)
            count += 1
            value = np.uint64(0)
            inside = False
    if inside:
        out[count] = _mixed(value)
        count += 1
    return count


@njit(cache=True, nogil=True)
def _hash_texts(
    data: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    table: np.ndarray,
    starts: np.ndarray,
    out: np.ndarray,
) -> None:
    total = 0
    for text in range(len(begins)):
        total += _word_hashes(data, begins[text], ends[text], table, out[total:])
        starts[text + 1] = total


def _keys(words: np.ndarray, length: int) -> np.ndarray:
    """The key of every window of `length` words, across the borders of texts too."""
    windows = max(0, len(words) - length + 1)
    value = np.zeros(windows, np.uint64)
    for word in range(length):
        value *= _BASE
        value += words[word : word + windows]
    return _mixed.py_func(value)


def _rarest(texts: Texts, length: int, keys: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Where the rarest window of each text is; of a long tolerant one the rarest of each third."""
    slots = (keys >> np.uint64(64 - _RARITY_BITS)).astype(np.int64)
    counts = np.bincount(slots[inside], minlength=1 << _RARITY_BITS)
    sizes = np.diff(texts.starts)
    windows = sizes - length + 1
    has_anchor = (texts.mode != ANY_NGRAM) & (windows >= 1)
    if length == SHORT_WORDS:
        has_anchor &= sizes < LONG_WORDS
    is_long = (texts.mode == TOLERANT) & (windows >= 3 * length)
    parts = np.where(is_long, 3, 1)[has_anchor]
    part = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    start, size, parts = (
        np.repeat(of_text, parts)
        for of_text in (texts.starts[:-1][has_anchor], windows[has_anchor], parts)
    )
    begins, ends = start + size * part // parts, start + size * (part + 1) // parts
    # One number orders windows by rarity, then by place.
    ranks = np.minimum(counts[slots], 65_535) << 40 | np.arange(len(slots))
    between = np.stack([begins, ends], axis=1).ravel()
    least = np.minimum.reduceat(np.append(ranks, 0), between)[::2]
    return least & ((1 << 40) - 1)


def _anchors(texts: Texts, length: int, common: int) -> Anchors:
    keys = _keys(texts.words, length)
    sizes = np.diff(texts.starts)
    text_of = np.repeat(np.arange(len(sizes)), sizes)[: len(keys)]
    inside = np.arange(len(keys)) + length <= texts.starts[text_of + 1]
    if length == NGRAM_WORDS:
        places = np.flatnonzero(inside & (texts.mode[text_of] == ANY_NGRAM))
        _, which, counts = np.unique(keys[places], return_inverse=True, return_counts=True)
        places = places[counts[which] <= common]
    else:
        places = _rarest(texts, length, keys, inside)
    places = places[np.argsort(keys[places], kind="stable")]
    keys, text_of = keys[places], text_of[places]
    bucket_bits = max(8, int(np.ceil(np.log2(len(keys) * 2 + 1))))
    bit_bits = min(26, bucket_bits + 4)  # one bit in 32 is set: most windows end there
    bit_shift, bucket_shift = np.uint64(64 - bit_bits), np.uint64(64 - bucket_bits)
    marked = np.zeros(1 << bit_bits, bool)
    marked[keys >> bit_shift] = True
    first_keys = np.arange(1 << bucket_bits, dtype=np.uint64) << bucket_shift
    buckets = np.append(np.searchsorted(keys, first_keys), len(keys))
    bits = np.packbits(marked, bitorder="little")
    place = places - texts.starts[text_of]
    return Anchors(length, bits, bit_shift, buckets, bucket_shift, keys, text_of, place)


def build_tables(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, mode: np.ndarray, common: int = 0
) -> Tables:
    """The tables for texts.

    Args:
        data: bytes, uint8.
        begins, ends: shape (texts,), where each text lies in `data`; the number of a text in `Hits`
            is its place here.
        mode: shape (texts,), `EXACT`, `TOLERANT` or `ANY_NGRAM`.
        common: n-grams of more texts than this are left out.
    """
    starts = np.zeros(len(begins) + 1, np.int64)
    words = np.zeros(int((ends - begins).sum()) // 2 + len(begins) + 1, np.uint64)
    _hash_texts(data, begins, ends, _BYTES, starts, words)
    texts = Texts(words[: starts[-1]].copy(), starts, mode)
    lengths = (SHORT_WORDS, LONG_WORDS, NGRAM_WORDS)
    return Tables(texts, *(_anchors(texts, length, common) for length in lengths))


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
    length, bits, bit_shift, buckets, bucket_shift, keys, text_of, place_of = anchors
    if count < length or len(keys) == 0:
        return found
    power = np.uint64(1)
    for _ in range(length - 1):
        power *= _BASE
    window = np.uint64(0)
    for word in range(length):
        window = window * _BASE + words[word]
    for begin in range(count - length + 1):
        if begin:
            window = (window - words[begin - 1] * power) * _BASE + words[begin + length - 1]
        key = _mixed(window)
        bit = key >> bit_shift
        if not (bits[bit >> np.uint64(3)] >> (bit & np.uint64(7))) & np.uint64(1):
            continue
        bucket = key >> bucket_shift
        for entry in range(buckets[bucket], buckets[bucket + np.uint64(1)]):
            if keys[entry] != key:
                continue
            text, at = text_of[entry], place_of[entry]
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
                    out[found, 2] = low
                    out[found, 3] = span
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
        count = _word_hashes(data, begins[row], ends[row], table, words)
        counts[row] = count
        first, second = np.uint64(count), np.uint64(count)
        for word in range(count):
            first = first * _BASE + words[word]
            second = second * _BASE_2 + words[word]
        digests[row, 0] = _mixed(first)
        digests[row, 1] = _mixed(second)
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
        out = np.zeros((room, 4), np.int64)
        found = _scan(data, begins, ends, _BYTES, tables, digests, counts, out)
        if found <= room:
            return Hits(*out[:found].T), digests, counts
        room = found


@lru_cache(1)
def no_texts() -> Tables:
    """Tables that hold nothing, for digests alone."""
    none = np.zeros(0, np.int64)
    return build_tables(np.zeros(0, np.uint8), none, none, np.zeros(0, np.uint8))
