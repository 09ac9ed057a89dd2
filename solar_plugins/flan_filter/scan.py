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

from solar_plugins.flan_filter.evidence import LEAST_WORDS, NGRAM_WORDS, SPAN_WORDS, WORD_BYTES

EXACT, TOLERANT, ANY_NGRAM = 0, 1, 2
"""How a text is compared: all words in a row; spans of them; any window of `NGRAM_WORDS`."""

LONG_WORDS = 6
"""Anchors have six words, and `LEAST_WORDS` in texts that are shorter than that."""

_LEAST_SHARE = 0.2
"""A shorter span of a tolerant text is not worth adding up."""

Buffer = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Texts: bytes, and where in them each text begins and ends."""

_BASE = np.uint64(0x9E3779B97F4A7C15)
_BASE_2 = np.uint64(0xD6E8FEB86659FD93)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_BYTES = np.frombuffer(WORD_BYTES, dtype=np.uint8)
_SPACE = np.uint8(ord(" "))


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


class Tables(NamedTuple):
    """What `scan` looks for.

    Attributes:
        words, starts: text i has `words[starts[i]:starts[i + 1]]`.
        mode: how it is compared.
        anchors: of `LEAST_WORDS`, `LONG_WORDS` and `NGRAM_WORDS`.
    """

    words: np.ndarray
    starts: np.ndarray
    mode: np.ndarray
    anchors: tuple[Anchors, ...] = ()


@njit(cache=True, nogil=True, inline="always")
def _mixed(value: np.uint64) -> np.uint64:
    """`value`, a number or a new array, with its bits spread."""
    value ^= value >> np.uint64(31)
    value *= _MIX
    return value ^ (value >> np.uint64(29))


@njit(cache=True, nogil=True)
def _word_hashes(data: np.ndarray, begin: int, end: int, out: np.ndarray) -> int:
    """Hashes of the words of `data[begin:end]` into `out`; returns their number."""
    count = 0
    value = np.uint64(0)
    inside = False
    for position in range(begin, end):
        byte = _BYTES[data[position]]
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
def _hash_texts(texts: Buffer, starts: np.ndarray, out: np.ndarray) -> None:
    data, begins, ends = texts
    total = 0
    for text in range(len(begins)):
        total += _word_hashes(data, begins[text], ends[text], out[total:])
        starts[text + 1] = total


@njit(cache=True, nogil=True, inline="always")
def _window(words: np.ndarray, begin: int, length: int) -> np.uint64:
    """The hash of `length` words."""
    value = np.uint64(0)
    for word in range(begin, begin + length):
        value = value * _BASE + words[word]
    return value


@njit(cache=True, nogil=True)
def _choose(
    words: np.ndarray, starts: np.ndarray, mode: np.ndarray, length: int, places: np.ndarray
) -> int:
    """Where the anchors of `length` words begin, into `places`; returns their number.

    The rarest window of each text; of a long tolerant one the rarest of each third; of one that any
    n-gram identifies, all.
    """
    counts = np.zeros(1 << 22, np.uint16)
    for text in range(len(starts) - 1):
        for begin in range(starts[text], starts[text + 1] - length + 1):
            slot = _mixed(_window(words, begin, length)) >> np.uint64(42)
            counts[slot] += np.uint16(counts[slot] < 65535)
    found = 0
    for text in range(len(starts) - 1):
        windows = starts[text + 1] - starts[text] - length + 1
        is_long = windows + length > LONG_WORDS
        of_any = mode[text] == ANY_NGRAM
        if of_any != (length == NGRAM_WORDS) or (is_long and length == LEAST_WORDS):
            continue
        parts = 3 if mode[text] == TOLERANT and windows >= 3 * length else 1
        parts = windows if of_any else parts
        for part in range(parts if windows > 0 else 0):
            least = 70_000
            first, end = windows * part // parts, windows * (part + 1) // parts
            for begin in range(starts[text] + first, starts[text] + end):
                slot = _mixed(_window(words, begin, length)) >> np.uint64(42)
                if counts[slot] < least:
                    places[found], least = begin, np.int64(counts[slot])
            found += 1
    return found


def _anchors(texts: Tables, length: int, common: int) -> Anchors:
    words, starts = texts.words, texts.starts
    places = np.empty(3 * len(starts) + len(words), np.int64)
    places = places[: _choose(words, starts, texts.mode, length, places)]
    keys = np.zeros(len(places), np.uint64)
    for word in range(length):
        keys = keys * _BASE + words[places + word]
    keys = _mixed.py_func(keys)
    if length == NGRAM_WORDS:
        _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
        places, keys = (of_all[counts[which] <= common] for of_all in (places, keys))
    order = np.argsort(keys, kind="stable")
    places, keys = places[order], keys[order]
    bucket_bits = max(8, int(np.ceil(np.log2(len(keys) * 2 + 1))))
    bit_bits = min(26, bucket_bits + 4)  # one bit in 32 is set: most windows end there
    bit_shift, bucket_shift = np.uint64(64 - bit_bits), np.uint64(64 - bucket_bits)
    marked = np.zeros(1 << bit_bits, bool)
    marked[keys >> bit_shift] = True
    first_keys = np.arange(1 << bucket_bits, dtype=np.uint64) << bucket_shift
    buckets = np.append(np.searchsorted(keys, first_keys), len(keys))
    bits = np.packbits(marked, bitorder="little")
    text = np.searchsorted(starts, places, side="right") - 1
    return Anchors(
        length, bits, bit_shift, buckets, bucket_shift, keys, text, places - starts[text]
    )


def build_tables(texts: Buffer, mode: np.ndarray, common: int = 0) -> Tables:
    """The tables for `texts`.

    Args:
        mode: shape (texts,), `EXACT`, `TOLERANT` or `ANY_NGRAM`.
        common: n-grams of more texts than this are left out.
    """
    _, begins, ends = texts
    starts = np.zeros(len(begins) + 1, np.int64)
    words = np.zeros(int((ends - begins).sum()) // 2 + len(begins) + 1, np.uint64)
    _hash_texts(texts, starts, words)
    tables = Tables(words[: starts[-1]].copy(), starts, mode)
    lengths = (LEAST_WORDS, LONG_WORDS, NGRAM_WORDS)
    return tables._replace(anchors=tuple(_anchors(tables, length, common) for length in lengths))


@njit(cache=True, nogil=True)
def _probe(
    words: np.ndarray, row: int, tables: Tables, anchors: Anchors, out: np.ndarray, found: int
) -> int:
    """Looks up all windows of one length in one prompt; returns the new number of hits."""
    # Fields of tuples are read once: in the loop each reading would count references.
    text_words, text_starts, text_mode, _ = tables
    length, bits, bit_shift, buckets, bucket_shift, keys, text_of, place_of = anchors
    count = len(words)
    if count < length or len(keys) == 0:
        return found
    power = np.uint64(1)
    for _ in range(length - 1):
        power *= _BASE
    window = _window(words, 0, length)
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
    prompts: Buffer, tables: Tables, digests: np.ndarray, counts: np.ndarray, out: np.ndarray
) -> int:
    data, begins, ends = prompts
    longest = 0
    for row in range(len(begins)):
        longest = max(longest, ends[row] - begins[row])
    words = np.empty(longest // 2 + 2, np.uint64)
    found = 0
    for row in range(len(begins)):
        count = _word_hashes(data, begins[row], ends[row], words)
        counts[row] = count
        first, second = np.uint64(count), np.uint64(count)
        for word in range(count):
            first = first * _BASE + words[word]
            second = second * _BASE_2 + words[word]
        digests[row, 0] = _mixed(first)
        digests[row, 1] = _mixed(second)
        for anchors in tables.anchors:
            found = _probe(words[:count], row, tables, anchors, out, found)
    return found


def scan(prompts: Buffer, tables: Tables) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Looks for the texts of `tables` in `prompts`.

    Returns:
        The places where texts stand, shape (places, 4): which prompt, which text, and the first
        word and the number of words of the text's span that was found; the 128-bit digest of each
        prompt's words, uint64 of shape (rows, 2); and the number of its words, shape (rows,).
    """
    rows = len(prompts[1])
    digests, counts = np.zeros((rows, 2), np.uint64), np.zeros(rows, np.int64)
    room = 4096
    while True:
        out = np.zeros((room, 4), np.int64)
        found = _scan(prompts, tables, digests, counts, out)
        if found <= room:
            return out[:found], digests, counts
        room = found


@lru_cache(1)
def no_texts() -> Tables:
    """Tables that hold nothing, for digests alone."""
    none = np.zeros(0, np.int64)
    return build_tables((np.zeros(0, np.uint8), none, none), np.zeros(0, np.uint8))
