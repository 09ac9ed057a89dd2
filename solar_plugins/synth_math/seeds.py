"""What both methods start from: MATH's training problems, and the guard against benchmarks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from solar_plugins.errors import SolarError
from solar_plugins.recipes.rows import Source, column
from solar_plugins.synth_math.overlap import Guard
from solar_plugins.synth_math.problems import (
    QUESTION,
    SOLUTION,
    TRAIN_PROBLEMS,
    Problem,
    read_problems,
)
from solar_plugins.synth_math.sets import draw

BENCHMARKS = {"math_test": ("test",), "gsm8k": ("train", "test")}
"""What is kept out, and which splits of it. GSM8K's training questions too: none may be a seed."""


class Seeds:
    """The training problems and the guard, read once.

    Args:
        math: where MATH's training split is.
        benchmarks: where each of `BENCHMARKS` is; None to compare with none.

    Attributes:
        problems: the problems that have a boxed answer.
        guard: None to compare with no benchmark.
        rejected: what was left out so far, by reason; later steps count on in it.

    Raises:
        SolarError: a source cannot be read, is empty, or `math` holds test problems and no guard
            would find them.
    """

    def __init__(self, math: str, benchmarks: dict[str, str] | None) -> None:
        self.rejected: Counter[str] = Counter()
        train = Source(math, "train")
        self._sources = [train]
        self.problems, unanswered = read_problems(train, math)
        if unanswered:
            self.rejected["seed_without_answer"] = unanswered
        if benchmarks is None and len(self.problems) > TRAIN_PROBLEMS:
            raise SolarError(
                f"--math: {math} has {len(self.problems):,} problems, MATH's training split "
                f"{TRAIN_PROBLEMS:,}: the others are test problems. Leave out --no-guard, or give "
                "another copy"
            )
        self.guard = None if benchmarks is None else self._read_guard(benchmarks)

    def _read_guard(self, places: dict[str, str]) -> Guard:
        guard = Guard()
        for name, splits in BENCHMARKS.items():
            place, option = places[name], f"--{name.replace('_', '-')}"
            for split in splits[-1:] if Path(place).is_file() else splits:
                source = Source(place, split)
                try:
                    for row in source:
                        texts = (column(row, QUESTION, place), column(row, SOLUTION, place))
                        guard.add(name, map(str, texts))
                except SolarError as error:
                    raise SolarError(
                        f"{option}: {error}. The contamination guard needs it; --no-guard goes "
                        "without, and the data card will say so"
                    ) from error
                self._sources.append(source)
            if name not in guard.items:
                raise SolarError(f"{option}: {place} has no rows. Give another copy")
        return guard

    def chosen(self, count: int | None, seed: int) -> list[Problem]:
        """The problems to ask about: none within reach of a benchmark, `count` drawn by `seed`.

        Raises:
            SolarError: all of them are within reach of a benchmark.
        """
        chosen = list(self.problems)
        if self.guard is not None:
            chosen = [p for p in chosen if self.guard.reason(p.question, p.solution) is None]
            if len(chosen) < len(self.problems):
                self.rejected["seed_within_reach"] = len(self.problems) - len(chosen)
        if not chosen:
            raise SolarError(
                "--math: every problem is within reach of --math-test or --gsm8k. Is it MATH's "
                "training split?"
            )
        return draw(chosen, count or len(chosen), seed)

    def facts(self, made_by: str, first: list[Source]) -> dict:
        """What the data card says of sources, guard and rejections."""
        return {
            "made_by": made_by,
            "sources": [source.facts() for source in [*first, *self._sources]],
            "guard": None if self.guard is None else dict(self.guard.items),
            "rejected": dict(sorted(self.rejected.items())),
        }
