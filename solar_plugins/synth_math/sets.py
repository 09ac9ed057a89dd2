"""The two sets, drawn from the accepted candidates, and their data card."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from solar_plugins import __version__, atomic
from solar_plugins.errors import SolarError
from solar_plugins.recipes.data_recipe import SynthMathRecipe
from solar_plugins.render import render
from solar_plugins.synth_math.candidates import REPHRASED, Candidate
from solar_plugins.synth_math.seeds import draw

INSTRUCT = "math_instruct.jsonl"
ALIGNMENT = "math_alignment.jsonl"
CARD = "math_data_card.json"
README = "README.md"

_REASONS: dict[str, str] = yaml.safe_load(
    Path(__file__).with_name("reasons.yml").read_text(encoding="utf-8")
)


def refuse_to_replace(folder: Path) -> None:
    """
    Raises:
        SolarError: one of the files that `write_sets` would write is there already.
    """
    for name in (INSTRUCT, ALIGNMENT, CARD, README):
        if (folder / name).exists():
            raise SolarError(f"{folder / name}: there already. Give another --out, or --overwrite")


def write_sets(
    folder: Path, pool: Sequence[Candidate], recipe: SynthMathRecipe, facts: dict
) -> dict:
    """Draw both sets from `pool`, write them and, last, the data card as JSON and README.md.

    Synth. Math-Instruct is drawn from all candidates, Synth. Math-Alignment from the rephrased
    ones: prompt is the rephrased question, chosen its answer, rejected MATH's own (section 3).

    Returns:
        The card, with `facts` in it. The same pool, sizes and seed give the same bytes.

    Raises:
        SolarError: nothing is left to draw from.
    """
    pairs = [
        {"prompt": one.question, "chosen": one.answer, "rejected": one.problem.solution}
        for one in pool
        if one.kind == REPHRASED
    ]
    same = sum(pair["chosen"].strip() == pair["rejected"].strip() for pair in pairs)
    pairs = [pair for pair in pairs if pair["chosen"].strip() != pair["rejected"].strip()]
    if not pairs:
        why = ", ".join(f"{reason} {n}" for reason, n in facts["rejected"].items()) or "none"
        raise SolarError(f"{folder / ALIGNMENT}: no rephrased question is left. Rejected: {why}")
    instructions = [
        {
            **{"question": one.question, "answer": one.answer, "type": one.kind},
            **{"subject": one.problem.subject, "level": one.problem.level},
        }
        for one in pool
    ]
    card = {
        "solar_plugins": __version__,
        **facts,
        "seed": recipe.seed,
        "candidates": {"accepted": len(pool), **Counter(one.kind for one in pool)},
        "pairs": {"rephrased": len(pairs), "chosen_equals_rejected": same},
        "files": {},
    }
    for name, rows, count in (
        (INSTRUCT, instructions, recipe.instruct_rows),
        (ALIGNMENT, pairs, recipe.alignment_rows),
    ):
        drawn = draw(rows, count, recipe.seed)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in drawn)
        atomic.write_text(folder / name, text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        card["files"][name] = {"rows": len(drawn), "sha256": digest}
    text = render(__file__, "data_card.md", **card, in_words=reason_in_words)
    atomic.write_text(folder / README, text + "\n")
    atomic.write_json(folder / CARD, card)
    return card


def check(folder: Path) -> None:
    """
    Raises:
        SolarError: a set in `folder` is not the one that its data card describes.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SolarError(f"{folder / CARD}: no data card ({error}). Make the sets again") from error
    for name, file in card["files"].items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != file["sha256"]:
            raise SolarError(f"{folder / name}: not as its data card has it. Make the sets again")


def reason_in_words(reason: str) -> str:
    """What a rejection's code means.

    >>> reason_in_words("gsm8k_ngram")
    'shares 13 words in a row with an item of gsm8k'
    """
    benchmark, _, ending = reason.rpartition("_")
    return _REASONS.get(reason) or _REASONS[f"_{ending}"].format(benchmark)
