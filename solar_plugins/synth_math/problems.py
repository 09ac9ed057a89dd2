"""MATH's training problems, from whichever copy the user has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from solar_plugins.errors import SolarError
from solar_plugins.recipes.rows import column
from solar_plugins.synth_math.answers import final_answer

TRAIN_PROBLEMS = 7_500
"""How many MATH has (arXiv 2103.03874); a copy with more of them holds test problems too."""

QUESTION = ("problem", "question", "Problem", "Question")
SOLUTION = ("solution", "Solution", "answer", "Answer")
SUBJECT = ("type", "subject")


@dataclass(frozen=True)
class Problem:
    """One problem of MATH.

    Attributes:
        question: as MATH states it.
        solution: MATH's own, with the answer in ``\\boxed{}``.
        answer: what stands in the box.
        subject, level: `Algebra`, `Level 5`; empty where the copy has no such column.
    """

    question: str
    solution: str
    answer: str
    subject: str = ""
    level: str = ""


class Problems:
    """The problems by their question, spelled in any way that differs in blanks or marks only."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self._by_blanks: dict[str, Problem] = {}
        self._by_words: dict[str, Problem | None] = {}
        for problem in problems:
            known = self._by_blanks.setdefault(_blanks(problem.question), problem)
            words = _words(problem.question)
            if self._by_words.setdefault(words, known) is not known:
                self._by_words[words] = None  # two problems differ in marks alone: -1 and 1

    def __len__(self) -> int:
        return len(self._by_blanks)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._by_blanks.values())

    def find(self, question: str) -> Problem | None:
        """The problem that asks `question`, None if there is none or it is not clear which."""
        found = self._by_blanks.get(_blanks(question))
        return found if found is not None else self._by_words.get(_words(question))


def read_problems(rows: Iterable[dict], source: str) -> tuple[Problems, int]:
    """MATH's problems from rows with `problem` and `solution`, and how many had no boxed answer.

    Raises:
        SolarError: a column is missing, or there is no problem at all.
    """
    problems, unanswered = [], 0
    for row in rows:
        solution = str(column(row, SOLUTION, source))
        answer = final_answer(solution)
        if answer is None:
            unanswered += 1
            continue
        problems.append(
            Problem(
                question=str(column(row, QUESTION, source)),
                solution=solution,
                answer=answer,
                subject=str(next((row[name] for name in SUBJECT if row.get(name)), "")),
                level=_level(row.get("level")),
            )
        )
    if not problems:
        raise SolarError(
            f"{source}: no problem whose solution has a \\boxed answer. Give MATH's training split"
        )
    return Problems(problems), unanswered


def _level(value: object) -> str:
    found = re.search(r"\d", str(value))
    return f"Level {found.group()}" if found else ""


def _blanks(text: str) -> str:
    return " ".join(text.split())


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z]+|\d+", text.lower()))
