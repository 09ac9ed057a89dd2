"""Winogrande's partial evaluation: the ending is scored after each of the two people."""

from __future__ import annotations


def text(doc: dict) -> int:
    """Index of the right beginning; lm-eval takes an integer here as "the contexts differ"."""
    return int(doc["answer"]) - 1


def target(doc: dict) -> str:
    """The ending after the gap, which is the same for both."""
    return doc["sentence"].split("_")[1].strip()


def choices(doc: dict) -> list[str]:
    """The two beginnings, each with one person in the gap."""
    opening = doc["sentence"].split("_")[0]
    return [opening + doc["option1"], opening + doc["option2"]]
