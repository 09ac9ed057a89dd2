"""The reference of a step without a reference model.

At the start of a step policy and reference are the same weights, so the policy itself computes
the reference log-probabilities once, before it is trained, and they are read back row by row.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.utils.data import Dataset
from tqdm import tqdm

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


def weights_digest(model: torch.nn.Module) -> str:
    """sha256 over every parameter's name, type, shape and bytes; shared ones count once.

    Works on weights that DeepSpeed ZeRO-3 has sharded: each is gathered for the moment it is
    read, so all processes must call this together.
    """
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        with _whole(parameter):
            value = parameter.detach().to("cpu").contiguous()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _whole(parameter: torch.nn.Parameter):
    if "ds_id" not in vars(parameter):
        return nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters([parameter])


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
def compute(trainer: Any, model: torch.nn.Module, name: str, rows: RowsWithReference):
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
    """
    if name == "train":
        sampler, batch_size = trainer._get_train_sampler(rows), trainer._train_batch_size
    else:
        sampler, batch_size = trainer._get_eval_sampler(rows), trainer.args.eval_batch_size
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


def read(path: Path, key: str) -> dict[str, torch.Tensor] | None:
    """The log-probabilities stored in `path`, by dataset, if they were stored under `key`."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if file.metadata().get("key") != key:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:  # cut short
        return None


def write(path: Path, key: str, logps: dict[str, torch.Tensor]) -> None:
    """Store `logps` in `path` under `key`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    save_file(logps, temporary, metadata={"key": key})
    os.replace(temporary, path)
