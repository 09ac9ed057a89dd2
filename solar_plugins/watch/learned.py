"""Did the training learn anything? What can be seen before it, after it, and why it did not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from solar_plugins.errors import SolarError
from solar_plugins.recipes.columns import RowReader

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def sums(model: Any) -> dict[str, torch.Tensor]:
    """A checksum of every tensor that trains, of this process's share of it where it is split.

    One number per row: the sum of its bits read as integers.
    """
    found = {}
    for name, here in _shares(model):
        rows = here.reshape(here.shape[0] if here.dim() > 1 else 1, -1).contiguous()
        bits = rows.view(_INTEGERS.get(here.element_size(), torch.int64))
        found[name] = bits.sum(1, dtype=torch.int64).cpu()
    return found


def _shares(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors that train, by name: what this process holds of them."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # Under ZeRO-3 the parameter itself is empty, under FSDP it is distributed.
            here = getattr(parameter, "ds_tensor", parameter).detach()
            here = here.to_local() if hasattr(here, "to_local") else here
            if here.numel() and here.device.type != "meta":
                yield name, here


def refuse_unlearned(
    cfg: Mapping[str, Any],
    logs: Iterable[Mapping[str, Any]],
    before: Mapping[str, torch.Tensor],
    model: Any,
) -> None:
    """Refuse a training after which the model is the one from before it, or not a model any more.

    Args:
        cfg: The recipe.
        logs: What the trainer has logged.
        before: `sums` of the model at the start.
        model: The model now.

    Raises:
        SolarError: with the cause, where it can be seen.
    """
    after = sums(model)
    changed = any(not torch.equal(after[name], was) for name, was in before.items())
    # The loss of GRPO and its like is about 0 by design.
    is_online = str(getattr(cfg.get("rl"), "value", cfg.get("rl"))) in ("grpo", "gdpo", "ebft")
    for key in ("grad_norm",) if is_online else ("loss", "grad_norm"):
        values = [float(entry[key]) for entry in logs if _is_number(entry.get(key))]
        if key == "loss":
            values += [float(e["train_loss"]) for e in logs if _is_number(e.get("train_loss"))]
            if not values:
                raise SolarError("loss: none was logged, so the training cannot be judged.")
        useful = [value for value in values if math.isfinite(value) and value != 0]
        if values and not useful:
            why = _NOTHING_FLOWS if values[-1] == 0 else _DIVERGED
            found = f"{values[-1]:g} at every step that was logged"
            raise SolarError(f"{key}: {found}, so nothing was learned. {why}")
    if before and not changed:
        rates = [float(e["learning_rate"]) for e in logs if _is_number(e.get("learning_rate"))]
        rate = f"learning_rate {cfg.get('learning_rate')}"
        if rates and max(rates) == 0:
            why = f"{rate}: its schedule gave 0 at every step. Warm up in fewer steps."
        else:
            kinds = {str(p.dtype).removeprefix("torch.") for p in model.parameters()}
            why = f"The updates of {rate} are lost in {', '.join(sorted(kinds))}. Raise it."
        raise SolarError(f"weights: all {len(before)} trained tensors are as they were. {why}")
    for name, here in _shares(model):
        if here.is_floating_point() and not torch.isfinite(here).all():
            raise SolarError(f"weights: {name} holds NaN or infinite values. {_DIVERGED}")


def refuse_no_steps(cfg: Mapping[str, Any], rows: int | None, processes: int) -> None:
    """Raise for a training without a step: what a batch takes, and what there is.

    Raises:
        SolarError: always.
    """
    batch, length = cfg.get("micro_batch_size") or 1, cfg.get("sequence_len") or 1
    have = f"{rows} rows" if rows is not None else "the data"
    if cfg.get("sample_packing"):
        tokens = cfg.get("total_num_tokens")
        need = batch * processes * length
        more = math.ceil(need * (rows or 1) / tokens) if tokens else None
        raise SolarError(
            f"steps: 0 of them. {have} hold {tokens} tokens, and one packed batch takes {need} "
            f"(micro_batch_size {batch} x sequence_len {length}"
            f"{f' x {processes} processes' if processes > 1 else ''}). Give about {more} rows, or "
            f"write a smaller micro_batch_size or sequence_len, or sample_packing: false."
        )
    raise SolarError(
        f"steps: 0 of them. {have} fill no batch of micro_batch_size {batch} on {processes} "
        f"process{'es' if processes > 1 else ''} (max_steps {cfg.get('max_steps')}, num_epochs "
        f"{cfg.get('num_epochs')}). Give more rows, or a smaller batch."
    )


def why_nothing_is_trained(entry: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> str | None:
    """The fault that all of these rows of a supervised data set have, where they show one."""
    reader = RowReader(entry)
    faults = [{fault.text for fault in reader.faults(row) if not fault.is_note} for row in rows]
    shared = set.intersection(*faults) if faults else set()
    return f"in all {len(rows)} rows looked at, {min(shared)}." if shared else None


_NOTHING_FLOWS = "Check that the answers have tokens to train on and the weights are not frozen."
_DIVERGED = "The training diverged: lower learning_rate, or train in bf16 instead of fp16."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
