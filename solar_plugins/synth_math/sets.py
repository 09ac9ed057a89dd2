"""The two sets, drawn from the accepted candidates and written with their data card."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from solar_plugins import __version__, atomic
from solar_plugins.errors import SolarError
from solar_plugins.synth_math.candidates import REPHRASED, Candidate
from solar_plugins.synth_math.data_card import card_text

T = TypeVar("T")

INSTRUCT = "math_instruct.jsonl"
ALIGNMENT = "math_alignment.jsonl"
CARD = "math_data_card.json"
README = "README.md"


def refuse_to_replace(folder: Path) -> None:
    """
    Raises:
        SolarError: one of the files that `write_sets` would write is there already.
    """
    for name in (INSTRUCT, ALIGNMENT, CARD, README):
        if (folder / name).exists():
            raise SolarError(
                f"{folder / name}: there already. Give another --out, or --overwrite to replace it"
            )


def write_sets(
    folder: Path,
    pool: Sequence[Candidate],
    instruct_rows: int,
    alignment_rows: int,
    seed: int,
    facts: dict,
) -> dict:
    """Draw both sets from `pool`, write them and, last, the data card as JSON and README.md.

    Synth. Math-Instruct is drawn from all candidates, Synth. Math-Alignment from the rephrased
    ones: prompt is the rephrased question, chosen its answer, rejected MATH's own (section 3.2).

    Args:
        facts: what the card says besides: how it was made, sources, guard, rejections.

    Returns:
        The card. The same pool, sizes and seed give the same bytes.

    Raises:
        SolarError: nothing is left to draw from.
    """
    pairs = [_pair(one) for one in pool if one.kind == REPHRASED]
    same = sum(pair["chosen"].strip() == pair["rejected"].strip() for pair in pairs)
    pairs = [pair for pair in pairs if pair["chosen"].strip() != pair["rejected"].strip()]
    if not pairs:
        raise SolarError(
            f"{folder / ALIGNMENT}: no rephrased question is left. Rejected: "
            + (", ".join(f"{reason} {n}" for reason, n in facts["rejected"].items()) or "none")
        )
    sets = {
        INSTRUCT: draw([_instruction(one) for one in pool], instruct_rows, seed),
        ALIGNMENT: draw(pairs, alignment_rows, seed),
    }
    card = {
        "solar_plugins": __version__,
        **facts,
        "seed": seed,
        "candidates": {"accepted": len(pool), **Counter(one.kind for one in pool)},
        "pairs": {"rephrased": len(pairs), "chosen_equals_rejected": same},
        "files": {},
    }
    for name, rows in sets.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        atomic.write_text(folder / name, text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        card["files"][name] = {"rows": len(rows), "sha256": digest}
    atomic.write_text(folder / README, card_text(card))
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


def draw(rows: list[T], count: int, seed: int) -> list[T]:
    """`count` of `rows`, drawn without replacement, in their own order; all if there are fewer."""
    if len(rows) <= count:
        return rows
    chosen = sorted(random.Random(seed).sample(range(len(rows)), count))
    return [rows[index] for index in chosen]


def _instruction(one: Candidate) -> dict:
    return {
        "question": one.question,
        "answer": one.answer,
        "type": one.kind,
        "subject": one.problem.subject,
        "level": one.problem.level,
    }


def _pair(one: Candidate) -> dict:
    return {"prompt": one.question, "chosen": one.answer, "rejected": one.problem.solution}
