"""GPUs by name: dense bf16 FLOP/s and memory, and the share of the peak that training reaches."""

from __future__ import annotations

import os
from dataclasses import dataclass

UTILISATION = 0.40
"""Share of the peak on full sequences; what gradient checkpointing computes again is included."""


@dataclass(frozen=True)
class GpuSpec:
    """One preset of ``solar plan --gpu``."""

    cuda_name: str  # part of the name that CUDA gives the GPU; empty for the CPU
    flops: float  # dense bf16 FLOP/s with float32 accumulation
    memory_gib: float  # nominal
    watts: float | None = None  # the most that it draws


# NVIDIA's data sheets. H100 SXM and H200: 1,979 TFLOP/s bf16 with sparsity, half of it dense. A100:
# 312 dense. RTX 4090: Ada architecture white paper, appendix A, 165.2 with FP32 accumulate. Watts:
# the same sheets' maximum thermal design power, of the SXM forms, and the card's total board power.
GPUS = {
    "h100": GpuSpec("H100 80GB HBM3", 989e12, 80, 700),
    "h200": GpuSpec("H200", 989e12, 141, 700),
    "a100": GpuSpec("A100", 312e12, 80, 400),
    "rtx4090": GpuSpec("RTX 4090", 165.2e12, 24, 450),
}
PRESETS = (*GPUS, "cpu")


def preset(name: str) -> GpuSpec:
    """The specification of one of `PRESETS`.

    ``cpu`` is this machine: its memory, and 96 GFLOP/s per core (two 8-wide float32 FMA units at
    3 GHz), which is an assumption.
    """
    if name != "cpu":
        return GPUS[name]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return GpuSpec("", 96e9 * (os.cpu_count() or 1), memory / 1024**3)


def of_device(name: str) -> GpuSpec | None:
    """A device by the name that CUDA gives it; None where it is not known.

    >>> of_device("NVIDIA A100-SXM4-80GB").watts, of_device("cpu")
    (400, None)
    """
    return next((gpu for gpu in GPUS.values() if gpu.cuda_name in name), None)
