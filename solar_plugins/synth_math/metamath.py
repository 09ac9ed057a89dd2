"""Both sets from the public MetaMathQA, whose rows made from MATH are joined with MATH.

`meta-math/MetaMathQA` has the columns type, query, original_question and response; 155K of its 395K
rows have a type `MATH_…`, the others were made from GSM8K, a benchmark of H6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from solar_plugins.errors import SolarError, nearest
from solar_plugins.recipes.data_recipe import SynthMathRecipe
from solar_plugins.recipes.rows import Source, column
from solar_plugins.synth_math.candidates import AUGMENTED, REPHRASED, Candidate, accepted
from solar_plugins.synth_math.seeds import Seeds
from solar_plugins.synth_math.sets import write_sets

KINDS = (REPHRASED, AUGMENTED, "MATH_SV", "MATH_FOBAR")


def make(
    recipe: SynthMathRecipe,
    out: Path,
    kinds: Sequence[str] = (),
    guarded: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> dict:
    """Join MetaMathQA with MATH's own solutions and write both sets to `out`.

    Args:
        kinds: types of rows to take; none for `MATH_Rephrased` and `MATH_AnsAug`.
        guarded: False to compare with no benchmark.
        advance: called for every row of MetaMathQA.

    Returns:
        The data card.

    Raises:
        SolarError: a kind is unknown or made from GSM8K, a source cannot be read, or nothing is
            left of it.
    """
    for kind in kinds:
        if kind.upper().startswith("GSM"):
            found = f"{kind} is made from GSM8K, which the paper keeps out"
            raise SolarError(f"--kind: {found}. Choose from {', '.join(KINDS)}")
        if kind not in KINDS:
            known = f"none of {', '.join(KINDS)}.{nearest(kind, KINDS)}"
            raise SolarError(f"--kind: {kind!r} is {known}")
    seeds = Seeds(recipe, guarded)
    source = Source(recipe.metamathqa, "train")
    pool = accepted(_joined(source, seeds, kinds or KINDS[:2], advance), seeds)
    return write_sets(out, pool, recipe, seeds.facts("solar synth-math from-metamathqa", source))


def _joined(
    source: Source, seeds: Seeds, kinds: Sequence[str], advance: Callable[[], None]
) -> Iterator[Candidate]:
    """The rows of `kinds` whose original question is one of MATH's problems."""

    for row in source:
        advance()
        read = partial(_text, row, source.name)
        kind = read("type")
        if kind.upper().startswith("GSM"):
            seeds.rejected["made_from_gsm8k"] += 1
        elif kind not in kinds:
            seeds.rejected["other_kind" if kind in KINDS else "unknown_kind"] += 1
        elif (problem := seeds.find(read("original_question"))) is None:
            seeds.rejected["not_in_math_train"] += 1
        else:
            yield Candidate(kind, read("query", "question"), read("response", "answer"), problem)


def _text(row: dict, source: str, *names: str) -> str:
    return str(column(row, names, source))
