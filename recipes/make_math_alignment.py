"""Make ./data/math_alignment.jsonl, the stand-in for Synth. Math-Alignment (Table 1).

    python recipes/make_math_alignment.py [OUT] [--rows 20100] [--seed 42]

The paper's set is not public. It describes how it was made: the prompt is a rephrased question, the
chosen answer the rephrased one, the rejected answer the original one (section 3.2). This does the
same with public data: MetaMathQA's rephrasings of MATH training problems, joined on the original
problem with MATH's own solutions. Rows made from GSM8K, and rows whose original problem is not in
MATH's training split, stay out. Reads two datasets of the Hugging Face Hub, about 0.4 GB.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from solar_plugins import atomic

REPHRASED = "MATH_Rephrased"
"""MetaMathQA's `type` of rows whose question was rephrased and then answered anew."""

MATH = "EleutherAI/hendrycks_math"
SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)


def pairs(meta_math: Iterable[dict], math_train: Iterable[dict]) -> Iterator[dict]:
    """Preference pairs of the rephrased MATH problems.

    Args:
        meta_math: rows of meta-math/MetaMathQA: type, query, original_question, response.
        math_train: rows of MATH's training split: problem, solution.
    """
    solutions = {_key(row["problem"]): row["solution"] for row in math_train}
    for row in meta_math:
        if row["type"] == REPHRASED and _key(row["original_question"]) in solutions:
            yield {
                "prompt": row["query"],
                "chosen": row["response"],
                "rejected": solutions[_key(row["original_question"])],
            }


def sample(rows: list[dict], count: int, seed: int) -> list[dict]:
    """`count` of `rows`, drawn without replacement, in their own order; all if there are fewer."""
    if len(rows) <= count:
        return rows
    chosen = sorted(random.Random(seed).sample(range(len(rows)), count))
    return [rows[index] for index in chosen]


def _key(problem: str) -> str:
    return " ".join(problem.split())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", nargs="?", type=Path, default=Path("data/math_alignment.jsonl"))
    parser.add_argument("--rows", type=int, default=20_100, help="paper: 20.1K (Table 1)")
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()

    from datasets import load_dataset

    meta_math = load_dataset("meta-math/MetaMathQA", split="train")
    math_train = (row for subject in SUBJECTS for row in load_dataset(MATH, subject, split="train"))
    found = list(pairs(meta_math, math_train))
    kept = sample(found, options.rows, options.seed)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    atomic.write_text(options.out, "".join(lines))
    print(f"{options.out}: {len(kept):,} of {len(found):,} pairs")


if __name__ == "__main__":
    main()
