"""How far merges are from the plain average of two models, and how parallel these two are.

    python benchmarks/merge_distance.py PARENT_1 PARENT_2 MERGE [MERGE ...] [--minus MODEL]

For each merge: the distance from the average of the parents, relative to the parents' own distance
(0: the average; 0.5: as far as a parent is), and how many of its weights differ from the average
once both are rounded to bfloat16. `--minus` also prints the cosine of the task vectors against
MODEL. One pass over the safetensors, a tensor at a time, in float64; no GPU.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open


def tensors(folder: Path) -> dict[str, Path]:
    """Name -> the file that holds it."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            found |= {name: file for name in opened.keys()}  # noqa: SIM118, not a dict
    return found


def read(places: list[dict[str, Path]]) -> Iterator[list[torch.Tensor]]:
    """Each tensor of all models, as float64 vectors."""
    for name in places[0]:
        values = []
        for place in places:
            with safe_open(place[name], "pt") as opened:
                values.append(opened.get_tensor(name).double().flatten())
        yield values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parents", nargs=2, type=Path)
    parser.add_argument("merges", nargs="+", type=Path)
    parser.add_argument("--minus", type=Path)
    options = parser.parse_args()
    folders = [*options.parents, *options.merges, *([options.minus] if options.minus else [])]
    apart, differ, weights = [0.0] * len(options.merges), [0] * len(options.merges), 0
    cosines, squares, dots = [], 0.0, [0.0, 0.0, 0.0]
    for a, b, *rest in read([tensors(folder) for folder in folders]):
        mean = (a + b) / 2
        weights += len(a)
        squares += float((a - b).square().sum())
        cosines.append(float(torch.dot(a, b) / (a.norm() * b.norm())))
        for index, merge in enumerate(rest[: len(apart)]):
            apart[index] += float((merge - mean).square().sum())
            differ[index] += int((merge.bfloat16() != mean.bfloat16()).sum())
        if options.minus:
            u, v = a - rest[-1], b - rest[-1]
            pairs = ((u, v), (u, u), (v, v))
            dots = [d + float(torch.dot(x, y)) for d, (x, y) in zip(dots, pairs, strict=True)]
    print(f"{weights:,} weights in {len(cosines)} tensors")
    low, middle = min(cosines), statistics.median(cosines)
    print(f"cosine of the parents' tensors: lowest {low:.6f}, median {middle:.6f}")
    if options.minus:
        cosine = dots[0] / math.sqrt(dots[1] * dots[2])
        print(f"cosine of the task vectors against {options.minus.name}: {cosine:.3f}")
    for merge, square, count in zip(options.merges, apart, differ, strict=True):
        distance, share = math.sqrt(square / squares), count / weights
        print(f"{merge.name}: {distance:.2e} of the parents' distance, {share:.2%} differ in bf16")


if __name__ == "__main__":
    main()
