"""The reference of a step without a reference model.

At the start of a step policy and reference are the same weights, so the policy itself computes
the reference log-probabilities once, before it is trained, and they are read back row by row.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.utils.data import Dataset
from tqdm import tqdm

from solar_plugins.seams.trl import sampler_of, train_batch_size

COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")
TOKENS = ("prompt_ids", "chosen_ids", "rejected_ids")


class RowsWithReference(Dataset):
    """A tokenised preference dataset whose rows know their number and, once set, their reference.

    Attributes:
        logps: float32, shape (rows, 2): log-probability of chosen and of rejected under the
            reference; None until the reference pass has run.
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

    def lengths(self) -> list[int]:
        """Tokens of each row's longer answer, its prompt included."""
        columns = (self.rows[name] for name in TOKENS)
        return [len(p) + max(len(c), len(r)) for p, c, r in zip(*columns, strict=True)]


def rows_digest(rows: Any) -> str:
    """sha256 over the token ids of a tokenised dataset, whatever file or cache it came from."""
    digest = hashlib.sha256()
    for batch in rows.select_columns(list(TOKENS)).with_format("arrow").iter(batch_size=1000):
        for name in TOKENS:
            column = batch[name].combine_chunks()
            digest.update(column.value_lengths().to_numpy(zero_copy_only=False).tobytes())
            digest.update(column.flatten().to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()


@torch.no_grad()
def compute(
    trainer: Any, model: torch.nn.Module, name: str, rows: RowsWithReference, by_length: bool
) -> torch.Tensor:
    """The reference log-probabilities of all rows, float32, shape (rows, 2).

    The batches are those of the first training epoch (those of the evaluation, for `eval` sets).
    Padding and batching change fp32 results in the last digits; so policy and reference see the
    very same tensors, the first loss is ln 2 exactly, and one epoch trains bit for bit as with a
    live reference model.

    Args:
        trainer: a TRL DPOTrainer with its model prepared for training.
        model: the prepared (wrapped) model, still with the reference's weights.
        name: "train", or the name of an evaluation set.
        rows: the dataset.
        by_length: batch rows of like length instead: less padding, and the last digits differ.

    Raises:
        FloatingPointError: the reference gives some rows no log-probability.
    """
    is_train = name == "train"
    batch_size = train_batch_size(trainer) if is_train else trainer.args.eval_batch_size
    if by_length:
        lengths = rows.lengths()
        sampler = sorted(range(len(rows)), key=lengths.__getitem__, reverse=True)
    else:
        sampler = sampler_of(trainer, rows, is_train)
    loader = trainer.accelerator.prepare(
        torch.utils.data.DataLoader(
            rows,
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=NumberedCollator(trainer.data_collator),
            num_workers=trainer.args.dataloader_num_workers,
        )
    )
    found = torch.full((len(rows), 2), torch.nan)
    was_training = model.training
    model.eval()
    # The loader draws from the random state; what training draws must not depend on that.
    with torch.random.fork_rng():
        for batch in tqdm(
            loader,
            desc=f"Reference log-probabilities ({name})",
            disable=trainer.args.disable_tqdm or not trainer.accelerator.is_main_process,
        ):
            numbers = batch.pop("row")
            with trainer.compute_loss_context_manager():
                chosen, rejected = trainer.compute_ref_log_probs(model, batch)
            numbers, chosen, rejected = trainer.accelerator.gather_for_metrics(
                (numbers, chosen, rejected)
            )
            found[numbers.cpu()] = torch.stack([chosen, rejected], dim=1).float().cpu()
    model.train(was_training)
    if found.isnan().any():
        raise FloatingPointError(
            f"The reference gives {int(found.isnan().any(dim=1).sum())} of {len(rows)} rows of "
            f"{name!r} no log-probability (NaN): its weights or its precision are broken."
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


class Store:
    """Files of reference log-probabilities: one in the step's folder, one for later runs.

    The step's own goes with the run and is what a killed step goes on from. The other lies under
    its key in a folder that runs share, so that the same run made anew need not compute it again.

    Args:
        step_file: the step's own file; None where no step is trained.
        shared: the folder for later runs; None for none.
    """

    def __init__(self, step_file: Path | None, shared: Path | None = None):
        self.step_file = step_file
        self.shared = shared

    def read(self, key: str) -> torch.Tensor | None:
        """The log-probabilities stored under `key`, shape (rows, 2)."""
        for path in (self.step_file, self._shared_file(key)):
            found = read(path, key) if path else None
            if found is not None:
                return found
        return None

    def write(self, key: str, logps: torch.Tensor) -> None:
        """Store `logps` under `key`, whole or not at all."""
        for path in (self._shared_file(key), self.step_file):
            if path and read(path, key) is None:
                write(path, key, logps)

    def _shared_file(self, key: str) -> Path | None:
        return self.shared and self.shared / f"{key[:32]}.safetensors"


def read(path: Path, key: str) -> torch.Tensor | None:
    """The log-probabilities stored in `path`, if they were stored under `key`."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return file.get_tensor("logps")
    except SafetensorError:  # cut short
        return None


def write(path: Path, key: str, logps: torch.Tensor) -> None:
    """Store `logps` in `path` under `key`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({"logps": logps}, temporary, metadata={"key": key})
    os.replace(temporary, path)
