"""What rows are recognised by: reason codes, thresholds, texts, and how texts are compared.

FLAN, GSM8K and OpenOrca differ in case, spaces, signs and quotes of the same text, and never in its
letters and digits. So texts are compared as words of [a-z0-9]; bytes beyond ASCII count as signs,
and a text may be invalid UTF-8. Pure: the standard library only.
"""

from __future__ import annotations

from typing import NamedTuple

# Reason codes of the audit, in the order in which they are asked.
BY_NAME = "name"
FLAN_INPUTS = "flan_inputs"
NIV2_DEFINITION = "niv2_definition"
INSTANCE_TEXT = "instance_text"
DECONTAMINATION = "decontamination"
REASONS = (BY_NAME, FLAN_INPUTS, NIV2_DEFINITION, INSTANCE_TEXT, DECONTAMINATION)

SPECIFIC_WORDS = 10
"""This number of consecutive words identifies a text; a shorter text needs a second sign."""

ALONE_WORDS = 4
TEMPLATE_WORDS = 24
"""A text of four words is enough where FLAN's template is all that is around it."""

FEW_WORDS_AROUND = 10
"""… and a text of three words only within one of the shorter templates."""

TRAILING_WORDS = 6
"""… and with at most this number of words after it ("The answer should be")."""

COVERED = 0.8
"""The share of a `tolerant` text's words that must be found, in spans of `SPAN_WORDS` and more."""

NEAR = 0.5
"""From this share on a row that stays is reported as near the threshold."""

SPAN_WORDS = 8

LEAST_WORDS = 3
"""Shorter texts and prompts are nobody's, and are not looked for."""

NGRAM_WORDS = 13
"""Decontamination: a row is removed that shares this number of consecutive words with a
test item (GPT-3, app. C); an item with fewer words is compared
as a whole, by the rules for short texts."""

COMMON_NGRAM_ITEMS = 10
"""N-grams of more test items than that are boilerplate and say nothing (GPT-3, app. C)."""


class Text(NamedTuple):
    """One text of one item of a benchmark.

    Attributes:
        text: as FLAN shows it (any case, spaces and signs).
        part: what it is: ``question``, ``context``, ``passage``, ``chain_of_thought``, …
        tasks: FLAN's tasks that show it, the likeliest first; the text cannot tell them apart.
        supports: for a short text: each is enough as the second sign, wherever else it stands in
            the prompt. Several texts in one tuple must all be there.
        ends_prompt: where no support is there, a short text counts only at the end of the prompt.
        specific_words: from this length on the text needs no second sign.
        tolerant: `COVERED` of its words are enough.
    """

    text: str
    part: str
    tasks: tuple[str, ...]
    supports: tuple[tuple[str, ...], ...] = ()
    ends_prompt: bool = False
    specific_words: int = SPECIFIC_WORDS
    tolerant: bool = False


WORD_BYTES = bytes(
    ord(character.lower()) if (character := chr(byte)).isascii() and character.isalnum() else 32
    for byte in range(256)
)
"""Byte -> the byte it is compared as; a space stands for every sign."""


def normalised(text: str | bytes) -> bytes:
    """The words of `text` in lower case, one space between two of them.

    >>> normalised("Natalia sold 48/2 = $24, didn't she?")
    b'natalia sold 48 2 24 didn t she'
    """
    if isinstance(text, str):
        text = text.encode("utf-8", errors="surrogatepass")
    return b" ".join(text.translate(WORD_BYTES).split())


def holds(prompt: bytes, text: bytes) -> bool:
    """Whether the words of `text` stand in `prompt` one after the other; both normalised."""
    return b" " + text + b" " in b" " + prompt + b" "
