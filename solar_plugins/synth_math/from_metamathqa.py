"""Both sets from the public MetaMathQA, for `solar synth-math` and for a chain's stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from solar_plugins.recipes.rows import Source
from solar_plugins.synth_math import candidates, metamath, sets
from solar_plugins.synth_math.seeds import Seeds


def make(
    metamathqa: str,
    kinds: Sequence[str],
    seeds: Seeds,
    out: Path,
    instruct_rows: int,
    alignment_rows: int,
    seed: int,
    advance: Callable[[], None],
) -> dict:
    """Join MetaMathQA with MATH's own solutions and write both sets to `out`.

    Args:
        metamathqa: an id on the Hub, a folder or a file.
        kinds: types of rows to take, see `metamath.check_kinds`.
        seeds: MATH's training problems and the guard.
        instruct_rows, alignment_rows: of the two sets, drawn with `seed`.
        advance: called for every row of MetaMathQA.

    Returns:
        The data card.

    Raises:
        SolarError: a source cannot be read, or nothing is left of it.
    """
    source = Source(metamathqa, "train")
    rows = _counted(source, advance)
    found = metamath.candidates(rows, seeds.problems, kinds, seeds.rejected, metamathqa)
    pool = list(candidates.accepted(found, seeds.guard, seeds.rejected))
    facts = seeds.facts("solar synth-math from-metamathqa", [source])
    return sets.write_sets(out, pool, instruct_rows, alignment_rows, seed, facts)


def _counted(rows: Iterable[dict], advance: Callable[[], None]) -> Iterator[dict]:
    for row in rows:
        advance()
        yield row
