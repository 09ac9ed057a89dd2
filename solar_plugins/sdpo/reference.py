"""The reference of a step without a reference model.

At the start of a step policy and reference are the same weights, so the policy itself computes
the reference log-probabilities once, before it is trained, and they are read back row by row.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from solar_plugins import atomic, run_record
from solar_plugins.seams.trl import sampler_of, train_batch_size

COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")
TOKENS = ("prompt_ids", "chosen_ids", "rejected_ids")


class RowsWithReference(Dataset):
    """A tokenised preference dataset whose rows know their number and, once set, their reference.

    `logps` is float32, shape (rows, 2): of chosen and of rejected, under the reference.
    """

    def __init__(self, rows: Any, logps: torch.Tensor | None = None):
        self.rows = rows
        self.logps = logps

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index] | {"row": index}
        if self.logps is not None:
            row |= dict(zip(COLUMNS, self.logps[index].tolist(), strict=True))
        return row

    @cached_property
    def digest(self) -> str:
        """sha256 over the token ids, whatever file or cache they came from."""
        digest = hashlib.sha256()
        rows = self.rows.select_columns(list(TOKENS)).with_format("arrow")
        for batch in rows.iter(batch_size=1000):
            for name in TOKENS:
                column = batch[name].combine_chunks()
                digest.update(column.value_lengths().to_numpy(zero_copy_only=False).tobytes())
                digest.update(column.flatten().to_numpy(zero_copy_only=False).tobytes())
        return digest.hexdigest()

    def longest_first(self) -> list[int]:
        """The rows by falling length of prompt and longer answer, in tokens."""
        columns = (self.rows[name] for name in TOKENS)
        lengths = [len(p) + max(len(c), len(r)) for p, c, r in zip(*columns, strict=True)]
        return sorted(range(len(self)), key=lengths.__getitem__, reverse=True)


@torch.no_grad()
def compute(
    trainer: Any, name: str, rows: RowsWithReference, by_length: bool, batches: int | None
) -> torch.Tensor:
    """The log-probabilities of `rows` by the trainer's prepared model, float32, shape (rows, 2).

    The batches are those of the first training epoch (those of the evaluation, for `eval` sets).
    Padding and batching change fp32 results in the last digits; so policy and reference see the
    very same tensors, the first loss is ln 2 exactly, and one epoch trains bit for bit as with a
    live reference model.

    Args:
        name: "train", or the name of an evaluation set.
        by_length: batch rows of like length instead: less padding, and the last digits differ.
        batches: compute so many batches of each process, the other rows are NaN; None for all.

    Raises:
        FloatingPointError: the reference gives some rows no log-probability.
    """
    is_train = name == "train"
    model, accelerator = trainer.model_wrapped, trainer.accelerator
    loader = accelerator.prepare(
        DataLoader(
            rows,
            batch_size=train_batch_size(trainer) if is_train else trainer.args.eval_batch_size,
            sampler=rows.longest_first() if by_length else sampler_of(trainer, rows, is_train),
            collate_fn=NumberedCollator(trainer.data_collator),
            num_workers=trainer.args.dataloader_num_workers,
        )
    )
    found = torch.full((len(rows), 2), torch.nan)
    empty, total = 0, len(loader) if batches is None else min(batches, len(loader))
    shows = accelerator.is_main_process
    bar = tqdm(
        total=total,
        desc=f"Reference log-probabilities ({name})",
        disable=trainer.args.disable_tqdm or not shows,
    )
    was_training = model.training
    model.eval()
    # The loader draws from the random state; what training draws must not depend on that.
    with (
        torch.random.fork_rng(),
        bar,
        run_record.progress(f"reference ({name})", total, shows) as at,
    ):
        for place, batch in enumerate(loader):
            if place >= total:
                continue  # and no break, which would leave accelerate in the midst of an epoch
            numbers = batch.pop("row")
            with trainer.compute_loss_context_manager():
                chosen, rejected = trainer.logps_of(model, batch)
            numbers, chosen, rejected = accelerator.gather_for_metrics((numbers, chosen, rejected))
            logps = torch.stack([chosen, rejected], dim=1).float().cpu()
            found[numbers.cpu()] = logps
            empty += int(logps.isnan().any(dim=1).sum())
            bar.update()
            at(place + 1)
    model.train(was_training)
    if empty:
        raise FloatingPointError(
            f"The reference gives {empty} of {len(rows)} rows of {name!r} no log-probability "
            "(NaN): its weights or its precision are broken."
        )
    return found


class NumberedCollator:
    """A collator that passes the rows' numbers through beside what the real one makes."""

    def __init__(self, collator: Any):
        self.collator = collator

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.collator(examples)
        batch["row"] = torch.tensor([example["row"] for example in examples])
        return batch


def read(paths: Sequence[Path], key: str, batches: int | None = None) -> torch.Tensor | None:
    """The log-probabilities that a file of `paths` has under `key`, of `batches` or more batches.

    None stands for all batches, as in `compute`.
    """
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
                stored = int(facts.get("batches", sys.maxsize))
                if facts.get("key") == key and stored >= (batches or sys.maxsize):
                    return file.get_tensor("logps")
        except (FileNotFoundError, SafetensorError):  # none there, or cut short
            continue
    return None


def write(paths: Sequence[Path], key: str, batches: int | None, logps: torch.Tensor) -> None:
    """Store `logps` of `batches` under `key` in each of `paths` that has them not."""
    metadata = {"key": key, **({"batches": str(batches)} if batches else {})}
    for path in paths:
        if read([path], key, batches) is None:
            atomic.write_bytes(path, save({"logps": logps}, metadata))
