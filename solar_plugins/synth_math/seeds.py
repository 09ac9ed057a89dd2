"""What both methods start from: MATH's training problems, and the guard against benchmarks."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from solar_plugins.errors import SolarError
from solar_plugins.recipes.data_recipe import SynthMathRecipe
from solar_plugins.recipes.rows import Source, column
from solar_plugins.synth_math.answers import final_answer
from solar_plugins.synth_math.overlap import Guard

T = TypeVar("T")

TRAIN_PROBLEMS = 7_500
"""How many MATH has (arXiv 2103.03874); a copy with more of them holds test problems too."""

BENCHMARKS = {"math_test": ("test",), "gsm8k": ("train", "test")}
"""What is kept out, and which splits of it. GSM8K's training questions too: none may be a seed."""

_QUESTION = ("problem", "question", "Problem", "Question")
_SOLUTION = ("solution", "Solution", "answer", "Answer")


@dataclass(frozen=True)
class Problem:
    """One problem of MATH; `answer` is what its solution has in ``\\boxed{}``.

    `subject` (Algebra) and `level` (Level 5) are empty where the copy has no such column.
    """

    question: str
    solution: str
    answer: str
    subject: str = ""
    level: str = ""


class Seeds:
    """The training problems and the guard (None to compare with no benchmark), read once.

    Attributes:
        problems: those that have a boxed answer, by their question with single blanks.
        rejected: what was left out so far, by reason; later steps count on in it.

    Raises:
        SolarError: a source cannot be read, is empty, or `math` holds test problems and no guard
            would find them.
    """

    def __init__(self, recipe: SynthMathRecipe, guarded: bool = True) -> None:
        self.rejected: Counter[str] = Counter()
        train = Source(recipe.math, "train")
        self._sources = [train]
        self.problems: dict[str, Problem] = {}
        self._by_words: dict[str, Problem | None] = {}
        for problem in self._read_problems(train):
            known = self.problems.setdefault(_blanks(problem.question), problem)
            words = _words(problem.question)
            if self._by_words.setdefault(words, known) is not known:
                self._by_words[words] = None  # two problems differ in marks alone: -1 and 1
        if not self.problems:
            found = "no problem whose solution has a \\boxed answer"
            raise SolarError(f"{recipe.math}: {found}. Give MATH's training split")
        if not guarded and len(self.problems) > TRAIN_PROBLEMS:
            found = f"{len(self.problems):,} problems, MATH's training split {TRAIN_PROBLEMS:,}"
            way = "the others are test problems. Leave out --no-guard, or give another copy"
            raise SolarError(f"--math: {recipe.math} has {found}: {way}")
        self.guard = self._read_guard(recipe) if guarded else None

    def _read_problems(self, rows: Source) -> Iterator[Problem]:
        for row in rows:
            solution = str(column(row, _SOLUTION, rows.name))
            answer = final_answer(solution)
            if answer is None:
                self.rejected["seed_without_answer"] += 1
                continue
            question = str(column(row, _QUESTION, rows.name))
            level = re.search(r"\d", str(row.get("level")))
            yield Problem(
                *(question, solution, answer, str(row.get("type") or row.get("subject") or "")),
                f"Level {level.group()}" if level else "",
            )

    def _read_guard(self, recipe: SynthMathRecipe) -> Guard:
        guard = Guard()
        for name, splits in BENCHMARKS.items():
            place, option = getattr(recipe, name), f"--{name.replace('_', '-')}"
            for split in splits[-1:] if Path(place).is_file() else splits:
                source = Source(place, split)
                self._sources.append(source)
                try:
                    for row in source:
                        texts = (column(row, _QUESTION, place), column(row, _SOLUTION, place))
                        guard.add(name, map(str, texts))
                except SolarError as error:
                    way = "The guard needs it; --no-guard goes without, as the data card says"
                    raise SolarError(f"{option}: {error}. {way}") from error
            if name not in guard.items:
                raise SolarError(f"{option}: {place} has no rows. Give another copy")
        return guard

    def find(self, question: str) -> Problem | None:
        """The problem that asks `question`, spelled with other blanks or marks.

        None if there is none or it is not clear which.
        """
        found = self.problems.get(_blanks(question))
        return found if found is not None else self._by_words.get(_words(question))

    def chosen(self, count: int | None, seed: int) -> list[Problem]:
        """The problems to ask about: none within reach of a benchmark, `count` drawn by `seed`.

        Raises:
            SolarError: all of them are within reach of a benchmark.
        """
        chosen = list(self.problems.values())
        if self.guard is not None:
            chosen = [p for p in chosen if self.guard.reason(p.question, p.solution) is None]
            if len(chosen) < len(self.problems):
                self.rejected["seed_within_reach"] = len(self.problems) - len(chosen)
        if not chosen:
            raise SolarError("--math: every problem is in --math-test or --gsm8k. Give training's")
        return draw(chosen, count or len(chosen), seed)

    def facts(self, made_by: str, *first: Source) -> dict:
        """What the data card says of sources, guard and rejections."""
        return {
            "made_by": made_by,
            "sources": [source.facts() for source in [*first, *self._sources]],
            "guard": None if self.guard is None else dict(self.guard.items),
            "rejected": dict(sorted(self.rejected.items())),
        }


def draw(rows: list[T], count: int, seed: int) -> list[T]:
    """`count` of `rows`, drawn without replacement, in their own order; all if there are fewer."""
    if len(rows) <= count:
        return rows
    chosen = sorted(random.Random(seed).sample(range(len(rows)), count))
    return [rows[index] for index in chosen]


def _blanks(text: str) -> str:
    return " ".join(text.split())


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z]+|\d+", text.lower()))
