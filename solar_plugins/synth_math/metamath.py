"""Candidates out of the public MetaMathQA, whose rows made from MATH are joined with MATH.

`meta-math/MetaMathQA` has the columns type, query, original_question and response; 155K of its 395K
rows have a type `MATH_…`, the others were made from GSM8K, a benchmark of H6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from solar_plugins.errors import SolarError, nearest
from solar_plugins.recipes.rows import column
from solar_plugins.synth_math.candidates import AUGMENTED, REPHRASED, Candidate
from solar_plugins.synth_math.problems import Problems

KINDS = (REPHRASED, AUGMENTED, "MATH_SV", "MATH_FOBAR")
DEFAULT_KINDS = (REPHRASED, AUGMENTED)


def check_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    """`kinds` as a tuple.

    Raises:
        SolarError: one is unknown, or made from GSM8K.
    """
    kinds = tuple(kinds)
    for kind in kinds:
        if kind.upper().startswith("GSM"):
            raise SolarError(
                f"--kind: {kind} is made from GSM8K, which the paper keeps out of its math data. "
                f"Choose from {', '.join(KINDS)}"
            )
        if kind not in KINDS:
            raise SolarError(
                f"--kind: {kind!r} is none of {', '.join(KINDS)}.{nearest(kind, KINDS)}"
            )
    return kinds


def candidates(
    rows: Iterable[dict],
    problems: Problems,
    kinds: Sequence[str],
    rejected: Counter[str],
    source: str,
) -> Iterator[Candidate]:
    """The rows of `kinds` whose original question is one of `problems`.

    The others are counted in `rejected`: `made_from_gsm8k`, `other_kind` (made from MATH, but not
    asked for), `unknown_kind` and `not_in_math_train`.

    Raises:
        SolarError: a column is missing.
    """
    for row in rows:
        kind = str(column(row, ("type",), source))
        if kind.upper().startswith("GSM"):
            rejected["made_from_gsm8k"] += 1
        elif kind not in kinds:
            rejected["other_kind" if kind in KINDS else "unknown_kind"] += 1
        else:
            problem = problems.find(str(column(row, ("original_question",), source)))
            if problem is None:
                rejected["not_in_math_train"] += 1
                continue
            question = str(column(row, ("query", "question"), source))
            answer = str(column(row, ("response", "answer"), source))
            yield Candidate(kind, question, answer, problem)
