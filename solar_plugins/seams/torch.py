"""Private modules of torch: tensors without data, and every storage that an operation returns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from solar_plugins.errors import SolarError

TRIED = ">=2.13,<2.14"


@contextlib.contextmanager
def without_data(on_storage: Callable[[Any], None]) -> Iterator[None]:
    """Inside, tensors have shapes and types and no data; `on_storage` gets each result's storage.

    A storage is reported each time that an operation returns it, so the callback may see the same
    one again.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_iter

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            for tensor in tree_iter(result):
                if isinstance(tensor, torch.Tensor):
                    on_storage(tensor.untyped_storage())
            return result

    with FakeTensorMode(), Watch():
        yield


def storage_key(storage: Any) -> int:
    """The address of the C++ storage behind a Python one: equal for views of the same memory."""
    return storage._cdata


def materialise(model: Any) -> None:
    """Give the meta weights and buffers of `model` new CPU tensors; tied weights stay tied.

    Called inside `without_data`, where the new tensors have no data either. `Module.to_empty`
    would untie the weights.
    """
    import torch

    moved: dict[int, Any] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                if id(weight) not in moved:
                    empty = torch.empty(weight.shape, dtype=weight.dtype)
                    moved[id(weight)] = torch.nn.Parameter(empty, weight.requires_grad)
                module._parameters[name] = moved[id(weight)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def self_test() -> None:
    """
    Raises:
        SolarError: the installed torch does not report storages of tensors without data.
    """
    import torch

    seen: set[int] = set()
    try:
        with torch.device("meta"):
            layer = torch.nn.Linear(4, 4)
        with without_data(lambda storage: seen.add(storage_key(storage))):
            materialise(layer)
            layer(torch.zeros(2, 4)).sum().backward()
    except (ImportError, AttributeError, TypeError, RuntimeError) as error:
        fault = f"{type(error).__name__}: {error}"
    else:
        if len(seen) >= 5:  # weight, bias, input, output, sum
            return
        fault = f"{len(seen)} storages seen, 5 or more are needed"
    raise SolarError(
        f"torch {torch.__version__}: tensors without data: {fault}. Install torch{TRIED}, the "
        "versions that the memory of `solar plan` was tried with."
    )
