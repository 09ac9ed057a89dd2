"""Is what a row trains exactly its answers? Of chat templates, which may change a text or drop it.

Axolotl's ``chat_template`` types look for each answer in the rendered conversation; all other types
join the tokens of prompt and answer, and mask the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets

LOOKED_AT = 10_000
"""At most so many rows of a data set are compared, evenly spread: about a second."""
_SHOWN = 60


@dataclass(frozen=True)
class OtherTexts:
    """Rows that train another text than their answers: how many of those looked at, and one."""

    rows: int
    looked_at: int
    place: int
    trained: str
    answer: str

    def line(self) -> str:
        return (
            f"{self.rows} of {self.looked_at} rows train another text than their answer, as row "
            f"{self.place + 1}: {_short(self.trained)}, not {_short(self.answer)}. Look at "
            "chat_template: it changes the answers, or leaves some out."
        )


def other_texts(
    tokenizer: Any,
    rows: datasets.Dataset,
    tokens: datasets.Dataset,
    answers_of: Callable[[dict[str, Any]], list[str] | None],
    length: int,
) -> OtherTexts | None:
    """Compare what `tokens` trains with the answers in `rows`; blanks and special tokens aside.

    Args:
        tokenizer: Of the model.
        rows: As they were read.
        tokens: The same rows tokenised, with ``labels``.
        answers_of: The texts that a row should train; None where that cannot be said.
        length: The tokens from which on a row may be cut.

    Returns:
        The rows that differ, if any.
    """
    longest_first = sorted(tokenizer.get_added_vocab(), key=len, reverse=True)
    special = re.compile("|".join([r"\s", *map(re.escape, longest_first)]))

    def plain(ids: Sequence[int]) -> str:
        return special.sub("", tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    places = range(0, len(rows), -(-len(rows) // LOOKED_AT) or 1)
    differing: list[tuple[int, str, str]] = []
    looked_at = 0
    for place, row, labels in zip(
        places, rows.select(places), tokens.select(places)["labels"], strict=True
    ):
        answers = answers_of(row)
        if answers is None or len(labels) >= length:
            continue
        looked_at += 1
        trained = plain([label for label in labels if label != -100])
        if trained == special.sub("", "".join(answers)):
            continue
        # A tokenizer may write a text otherwise than it reads it: by its own decoding, then.
        encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in answers]
        if trained != "".join(plain(ids) for ids in encoded):
            differing.append((place, trained, "".join(answers)))
    return OtherTexts(len(differing), looked_at, *differing[0]) if differing else None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
