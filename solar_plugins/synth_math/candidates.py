"""A synthetic question with its answer, and what every one of them has to pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from solar_plugins.synth_math.answers import final_answer, same_answer
from solar_plugins.synth_math.seeds import Problem, Seeds

REPHRASED = "MATH_Rephrased"
AUGMENTED = "MATH_AnsAug"


class Candidate(NamedTuple):
    """A synthetic question and answer, and the problem of MATH that they were made from.

    `kind` is MetaMathQA's `type`: `MATH_Rephrased` (the question was rephrased and then answered),
    `MATH_AnsAug` (the original question, answered anew), …
    """

    kind: str
    question: str
    answer: str
    problem: Problem


def accepted(candidates: Iterable[Candidate], seeds: Seeds) -> list[Candidate]:
    """The candidates that are sound, each once; the others are counted in `seeds.rejected`.

    Reasons: `duplicate`; `no_answer` and `wrong_answer`, where the final answer is missing or is
    not MATH's own (not asked of kinds whose question asks for something else: SV, FOBAR); and the
    guard's.
    """
    kept: list[Candidate] = []
    seen: set[tuple[str, str]] = set()
    of_seed: dict[str, str | None] = {}  # each problem has many candidates
    for candidate in candidates:
        problem, reason = candidate.problem, _fault(candidate, seen)
        if reason is None and seeds.guard is not None:
            if problem.question not in of_seed:
                of_seed[problem.question] = seeds.guard.reason(problem.question, problem.solution)
            reason = seeds.guard.reason(candidate.question, candidate.answer)
            reason = reason or of_seed[problem.question]
        if reason is None:
            kept.append(candidate)
        else:
            seeds.rejected[reason] += 1
    return kept


def _fault(candidate: Candidate, seen: set[tuple[str, str]]) -> str | None:
    pair = (candidate.question.strip(), candidate.answer.strip())
    if not all(pair):
        return "empty"
    if pair in seen:
        return "duplicate"
    seen.add(pair)
    if candidate.kind in (REPHRASED, AUGMENTED):
        answer = final_answer(candidate.answer)
        if answer is None:
            return "no_answer"
        if not same_answer(answer, candidate.problem.answer):
            return "wrong_answer"
    return None
