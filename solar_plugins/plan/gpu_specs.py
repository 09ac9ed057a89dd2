"""What GPUs can do at most, and how much of it a training is taken to reach."""

from __future__ import annotations

PEAK_FLOPS = {"H100 80GB HBM3": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 FLOP/s of NVIDIA's data sheets, by a part of the name that CUDA gives the GPU."""

UTILISATION = 0.40
"""Share of the peak on full sequences, what gradient checkpointing computes again included."""


def of_device(name: str) -> float | None:
    """The peak of a device by its name; None where it is not known.

    >>> of_device("NVIDIA A100-SXM4-80GB"), of_device("cpu")
    (312000000000000.0, None)
    """
    return next((flops for part, flops in PEAK_FLOPS.items() if part in name), None)
