"""Whether `solar check --fix` makes a recipe worse: many are spoilt at random and fixed.

Worse is a fault that was not there, or another meaning than the spoilt or the good recipe's.

    python benchmarks/check/fixes.py [--count 300] [--seed 1]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "check")]

import mutations  # noqa: E402
import planted_files  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        planted_files.write(Path(folder))
        os.chdir(folder)
        texts = {name: text for name, text in planted_files.FILES.items() if name.endswith(".yml")}
        done = list(mutations.outcomes(texts, arguments.count, arguments.seed))
        os.chdir("/")
    worse = [outcome for outcome in done if outcome.faults or not outcome.means_well]
    for outcome in worse:
        print(outcome.spoilt, "--- became", outcome.fixed, outcome.faults, sep="\n")
    changed = sum(outcome.fixed != outcome.spoilt for outcome in done)
    print(f"{len(done)} recipes, {changed} fixed, {len(worse)} worse")
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
