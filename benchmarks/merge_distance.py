"""How far merges are from the plain average of two models, and how parallel these two are.

    python benchmarks/merge_distance.py PARENT_1 PARENT_2 MERGE [MERGE ...] [--minus MODEL]

For each merge: the distance from the average of the parents, relative to the parents' own distance
(0: the average; 0.5: as far as a parent is), and how many of its weights differ from the average
once both are rounded to bfloat16. `--minus` also prints the cosine of the task vectors against
MODEL. A tensor at a time, in float64, without torch; models of one architecture.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

import numpy as np

from solar_plugins.models.safetensors_header import Tensor, read_model

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def values(tensor: Tensor) -> np.ndarray:
    """Its elements as a float64 vector."""
    raw = np.fromfile(tensor.file, DTYPES[tensor.dtype], tensor.elements, offset=tensor.offset)
    if tensor.dtype == "BF16":  # the upper half of a float32
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float64)


def bfloat16(vector: np.ndarray) -> np.ndarray:
    """The bits of each element rounded to bfloat16, to the nearest and ties to even."""
    bits = vector.astype(np.float32).view(np.uint32)
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parents", nargs=2, type=Path)
    parser.add_argument("merges", nargs="+", type=Path)
    parser.add_argument("--minus", type=Path)
    options = parser.parse_args()
    folders = [*options.parents, *options.merges, *([options.minus] if options.minus else [])]
    models = [read_model(folder) for folder in folders]
    apart, differ = np.zeros(len(options.merges)), np.zeros(len(options.merges))
    cosines, squares, weights, products = [], 0.0, 0, np.zeros(3)
    for name in models[0]:
        a, b, *rest = (values(model[name]) for model in models)
        mean = (a + b) / 2
        weights += len(a)
        squares += np.sum((a - b) ** 2)
        cosines.append(a @ b / math.sqrt((a @ a) * (b @ b)))
        for index in range(len(apart)):
            apart[index] += np.sum((rest[index] - mean) ** 2)
            differ[index] += np.sum(bfloat16(rest[index]) != bfloat16(mean))
        if options.minus:
            u, v = a - rest[-1], b - rest[-1]
            products += u @ v, u @ u, v @ v
    print(f"{weights:,} weights in {len(cosines)} tensors")
    low, middle = min(cosines), statistics.median(cosines)
    print(f"cosine of the parents' tensors: lowest {low:.6f}, median {middle:.6f}")
    if options.minus:
        cosine = products[0] / math.sqrt(products[1] * products[2])
        print(f"cosine of the task vectors against {options.minus.name}: {cosine:.3f}")
    for merge, square, count in zip(options.merges, apart, differ, strict=True):
        distance, share = math.sqrt(square / squares), count / weights
        print(f"{merge.name}: {distance:.2e} of the parents' distance, {share:.2%} differ in bf16")


if __name__ == "__main__":
    main()
