"""The order of the rows as a function of seed and epoch alone.

With sample packing, Axolotl shuffles by PyTorch's global random state at the moment an epoch
begins. A training that goes on from a checkpoint in its second epoch shuffles that epoch from
another state, and so trains on other batches than it would have without the interruption.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from accelerate.data_loader import SeedableRandomSampler
from axolotl.utils.samplers import MultipackBatchSampler
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler


class EpochOrder(Sampler[int]):
    """A permutation of `rows` rows, drawn from `seed` and the epoch.

    Attributes:
        epoch: Set before each epoch, see `set_epoch`.
    """

    def __init__(self, rows: int, seed: int) -> None:
        self.rows = rows
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        yield from torch.randperm(self.rows, generator=generator).tolist()


def begin_epoch(loader: DataLoader, epoch: int, seed: int) -> None:
    """Give every sampler below `loader` the epoch, and a packing one an `EpochOrder`.

    A loader that skips the batches trained before the interruption hides its samplers from
    ``set_epoch``; so each sampler gets the epoch here.
    """
    for sampler in _samplers(loader):
        if isinstance(sampler, MultipackBatchSampler) and isinstance(
            sampler.sampler, RandomSampler
        ):
            sampler.sampler = EpochOrder(len(sampler.sampler), seed)
    for sampler in _samplers(loader):
        if isinstance(sampler, EpochOrder | SeedableRandomSampler | MultipackBatchSampler):
            sampler.set_epoch(epoch)


def _samplers(loader: DataLoader) -> list[Any]:
    """The loader's batch sampler and what it wraps, outermost first."""
    found: list[Any] = []
    ahead: list[Any] = [loader.batch_sampler]
    while ahead:
        sampler = ahead.pop(0)
        if isinstance(sampler, Sampler | BatchSampler) and sampler not in found:
            found.append(sampler)
            wrapped = vars(sampler)
            ahead += [wrapped.get("batch_sampler"), wrapped.get("sampler")]
    return found
