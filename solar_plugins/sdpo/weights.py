"""The weights of a model that may be sharded over processes: their digest, a copy, its return.

Every function is called by all processes together: DeepSpeed ZeRO-3 and FSDP2 keep each weight in
parts, which are gathered one weight at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor, distribute_tensor

from solar_plugins.errors import SolarError


def digest(model: torch.nn.Module) -> str:
    """sha256 over every parameter's name, type, shape and bytes; shared ones count once.

    Left out are the bytes of quantised weights: they never change, but their kernels pack them
    anew at first use. Embeddings, norms and adapters are not quantised and tell models apart.
    """
    result = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            result.update(f"{_plain(name)} quantised\n".encode())
            continue
        with _whole(parameter) as value:
            value = value.to("cpu").contiguous()
            result.update(f"{_plain(name)} {value.dtype} {tuple(value.shape)}\n".encode())
            result.update(value.flatten().view(torch.uint8).numpy())
    return result.hexdigest()


def save_trainable(model: torch.nn.Module, path: Path, writes: bool) -> None:
    """Store the trainable weights in `path`, whole or not at all, if this process `writes`."""
    tensors = {}
    for name, parameter in _trainable(model):
        with _whole(parameter) as value:
            if writes:
                tensors[name] = value.to("cpu", copy=True).contiguous()
    if writes:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        save_file(tensors, temporary)
        temporary.replace(path)


@torch.no_grad()
def restore_trainable(model: torch.nn.Module, path: Path) -> None:
    """Put the weights that `save_trainable` stored in `path` back into the model.

    Raises:
        SolarError: the file is gone.
    """
    if not path.is_file():
        raise SolarError(
            f"{path}: gone, though a step with `policy: base` starts from it. Delete the step_* "
            "folders beside it to start anew."
        )
    with safe_open(path, framework="pt") as file:
        for name, parameter in _trainable(model):
            value = file.get_tensor(name)
            if isinstance(parameter, DTensor):
                value = value.to(parameter.device, parameter.dtype)
                value = distribute_tensor(value, parameter.device_mesh, parameter.placements)
            with _gathered(parameter, modifier_rank=0):
                parameter.copy_(value)


def _trainable(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield _plain(name), parameter


@contextmanager
def _whole(parameter: torch.nn.Parameter) -> Iterator[torch.Tensor]:
    """The whole weight, for the moment in which it is read."""
    with _gathered(parameter):
        value = parameter.detach()
        yield value.full_tensor() if isinstance(value, DTensor) else value


@contextmanager
def _gathered(parameter: torch.nn.Parameter, **options: Any) -> Iterator[None]:
    if "ds_id" not in vars(parameter):  # not of ZeRO-3
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters([parameter], **options):
        yield


def _plain(name: str) -> str:
    # What torch.compile and activation checkpointing put between the names of modules.
    return name.replace("_orig_mod.", "").replace("_checkpoint_wrapped_module.", "")
