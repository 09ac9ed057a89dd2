"""N-gram lookup tables for matching known texts; `scan` queries them.

Every text becomes an array of word hashes. Of each, one window of words, the rarest among all
texts, is its anchor; a small bit map says at once that a window is nobody's anchor, a table whose
it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from solar_plugins.flan_filter.evidence import NGRAM_WORDS
from solar_plugins.flan_filter.words import TABLE

EXACT, TOLERANT, ANY_NGRAM = 0, 1, 2
"""How a text is compared: all words in a row; spans of them; any window of `NGRAM_WORDS`."""

SHORT_WORDS = 3
LONG_WORDS = 6
"""Anchors have six words; three in texts that are shorter than that. Shorter ones have none."""

BASE = np.uint64(0x9E3779B97F4A7C15)
BASE_2 = np.uint64(0xD6E8FEB86659FD93)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
BYTES = np.frombuffer(TABLE, dtype=np.uint8)
_SPACE = np.uint8(ord(" "))


class Anchors(NamedTuple):
    """The anchors of one window length, as a bit map and an open-addressing table.

    Attributes:
        words: the window's length.
        shift: how far a key is shifted to give its bit.
        bits: bit map over the top bits of a key, uint64.
        keys: shape (slots,), the window hash of a slot, 0 if free.
        first: shape (slots,), where the slot's places begin in `text` and `place`.
        count: shape (slots,), number of places.
        text: which text has the window.
        place: at which of its words.
    """

    words: int
    shift: np.uint64
    bits: np.ndarray
    keys: np.ndarray
    first: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # a tuple has a method of this name
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


@njit(cache=True, nogil=True, inline="always")
def mixed(value: np.uint64) -> np.uint64:
    """`value` with its bits spread."""
    value ^= value >> np.uint64(31)
    value *= _MIX
    return value ^ (value >> np.uint64(29))


@njit(cache=True, nogil=True)
def word_hashes(data: np.ndarray, begin: int, end: int, table: np.ndarray, out: np.ndarray) -> int:
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
            out[count] = mixed(value)
            count += 1
            value = np.uint64(0)
            inside = False
    if inside:
        out[count] = mixed(value)
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
) -> int:
    total = 0
    for text in range(len(begins)):
        starts[text] = total
        total += word_hashes(data, begins[text], ends[text], table, out[total:])
    starts[len(begins)] = total
    return total


@njit(cache=True, nogil=True, inline="always")
def window_hash(words: np.ndarray, begin: int, length: int) -> np.uint64:
    """The hash of `length` words."""
    value = np.uint64(0)
    for word in range(begin, begin + length):
        value = value * BASE + words[word]
    return value


@njit(cache=True, nogil=True, inline="always")
def window_key(window: np.uint64) -> np.uint64:
    """The hash that tables are asked with; never 0, which marks a free slot."""
    key = mixed(window)
    return key if key != np.uint64(0) else np.uint64(1)


@njit(cache=True, nogil=True)
def _frequencies(words: np.ndarray, starts: np.ndarray, length: int, counts: np.ndarray) -> None:
    """How often each window occurs in all texts, by the top 22 bits of its key."""
    for text in range(len(starts) - 1):
        for begin in range(starts[text], starts[text + 1] - length + 1):
            slot = window_key(window_hash(words, begin, length)) >> np.uint64(42)
            if counts[slot] < np.uint16(65535):
                counts[slot] += np.uint16(1)


@njit(cache=True, nogil=True)
def _choose_anchors(
    words: np.ndarray,
    starts: np.ndarray,
    mode: np.ndarray,
    short: bool,
    length: int,
    counts: np.ndarray,
    keys: np.ndarray,
    text_of: np.ndarray,
    place_of: np.ndarray,
) -> int:
    """The rarest window of each text; of a tolerant one the rarest of each third."""
    found = 0
    for text in range(len(starts) - 1):
        begin, end = starts[text], starts[text + 1]
        windows = end - begin - length + 1
        if mode[text] == ANY_NGRAM or windows < 1 or (short and end - begin >= LONG_WORDS):
            continue
        parts = 3 if mode[text] == TOLERANT and windows >= 3 * length else 1
        for part in range(parts):
            best, best_count = -1, 70000
            for place in range(windows * part // parts, windows * (part + 1) // parts):
                slot = window_key(window_hash(words, begin + place, length)) >> np.uint64(42)
                if counts[slot] < best_count:
                    best, best_count = place, np.int64(counts[slot])
            keys[found] = window_key(window_hash(words, begin + best, length))
            text_of[found] = text
            place_of[found] = best
            found += 1
    return found


@njit(cache=True, nogil=True)
def _all_ngrams(
    words: np.ndarray,
    starts: np.ndarray,
    mode: np.ndarray,
    length: int,
    keys: np.ndarray,
    text_of: np.ndarray,
    place_of: np.ndarray,
) -> int:
    found = 0
    for text in range(len(starts) - 1):
        if mode[text] != ANY_NGRAM:
            continue
        for begin in range(starts[text], starts[text + 1] - length + 1):
            keys[found] = window_key(window_hash(words, begin, length))
            text_of[found] = text
            place_of[found] = begin - starts[text]
            found += 1
    return found


@njit(cache=True, nogil=True)
def _fill(
    keys: np.ndarray,
    firsts: np.ndarray,
    counts: np.ndarray,
    bits: np.ndarray,
    bit_shift: np.uint64,
    slot_keys: np.ndarray,
    slot_first: np.ndarray,
    slot_count: np.ndarray,
) -> None:
    mask = np.uint64(len(slot_keys) - 1)
    for index in range(len(keys)):
        key = keys[index]
        bit = key >> bit_shift
        bits[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
        slot = key & mask
        while slot_keys[slot] != np.uint64(0):
            slot = (slot + np.uint64(1)) & mask
        slot_keys[slot] = key
        slot_first[slot] = firsts[index]
        slot_count[slot] = counts[index]


def _anchors(length: int, keys: np.ndarray, text: np.ndarray, place: np.ndarray) -> Anchors:
    order = np.argsort(keys, kind="stable")
    keys, text, place = keys[order], text[order], place[order]
    unique, firsts, counts = np.unique(keys, return_index=True, return_counts=True)
    slot_bits = max(8, int(np.ceil(np.log2(max(len(unique), 1) * 2 + 1))))
    map_bits = min(26, slot_bits + 4)  # one bit in 32 is set: most windows end there
    slots = 1 << slot_bits
    bits = np.zeros((1 << map_bits) // 64, np.uint64)
    slot_keys = np.zeros(slots, np.uint64)
    slot_first, slot_count = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
    shift = np.uint64(64 - map_bits)
    _fill(unique, firsts, counts, bits, shift, slot_keys, slot_first, slot_count)
    return Anchors(length, shift, bits, slot_keys, slot_first, slot_count, text, place)


def build_tables(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, mode: np.ndarray, common: int
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
    total = _hash_texts(data, begins, ends, BYTES, starts, words)
    words = words[:total].copy()

    tables = []
    for length in (SHORT_WORDS, LONG_WORDS):
        counts = np.zeros(1 << 22, np.uint16)
        _frequencies(words, starts, length, counts)
        keys = np.zeros(3 * len(begins), np.uint64)
        text_of, place_of = np.zeros(len(keys), np.int32), np.zeros(len(keys), np.int32)
        short = length == SHORT_WORDS
        found = _choose_anchors(words, starts, mode, short, length, counts, keys, text_of, place_of)
        tables.append(_anchors(length, keys[:found], text_of[:found], place_of[:found]))

    keys = np.zeros(max(1, int(np.diff(starts)[mode == ANY_NGRAM].sum())), np.uint64)
    text_of, place_of = np.zeros(len(keys), np.int32), np.zeros(len(keys), np.int32)
    found = _all_ngrams(words, starts, mode, NGRAM_WORDS, keys, text_of, place_of)
    keys, text_of, place_of = keys[:found], text_of[:found], place_of[:found]
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    telling = counts[inverse] <= common if found else np.zeros(0, bool)
    tables.append(_anchors(NGRAM_WORDS, keys[telling], text_of[telling], place_of[telling]))
    return Tables(Texts(words, starts, mode), *tables)


def no_texts() -> Tables:
    """Tables that hold nothing, for digests alone."""
    none = np.zeros(0, np.int64)
    return build_tables(np.zeros(0, np.uint8), none, none, np.zeros(0, np.uint8), 0)
