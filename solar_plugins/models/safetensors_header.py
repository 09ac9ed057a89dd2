"""What is in a safetensors file, from its header alone.

The format (https://github.com/huggingface/safetensors#format): eight bytes, little endian, with
the length N of the header; N bytes of JSON, ``{name: {"dtype", "shape", "data_offsets"}}``; then
the data to the end of the file. So the header says how long the whole file must be, and a file
that was cut is found without reading its data, without torch.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from solar_plugins.errors import SolarError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"

_LARGEST_HEADER = 100_000_000  # the limit of the format's own reader


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as the header describes it."""

    dtype: str
    shape: tuple[int, ...]
    file: str

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


def read_header(path: str | Path) -> dict[str, TensorInfo]:
    """The tensors of one file.

    Raises:
        SolarError: the file is missing, cut short, or not a safetensors file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(8)
            if len(start) < 8:
                raise SolarError(f"{path}: {size} bytes, too short for a safetensors file.")
            (length,) = struct.unpack("<Q", start)
            if length > min(size - 8, _LARGEST_HEADER):
                raise SolarError(
                    f"{path}: cut short or not a safetensors file: "
                    f"its header needs {length} bytes, the file has {size}."
                )
            header = json.loads(file.read(length))
    except FileNotFoundError:
        raise SolarError(f"{path}: no such file.") from None
    except ValueError as error:
        if isinstance(error, SolarError):
            raise
        raise SolarError(f"{path}: not a safetensors file: its header is not JSON.") from None
    tensors, end = {}, 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            tensors[name] = TensorInfo(entry["dtype"], tuple(entry["shape"]), path.name)
            end = max(end, entry["data_offsets"][1])
        except (KeyError, TypeError, IndexError):
            raise SolarError(f"{path}: not a safetensors file: {name} has no place.") from None
    if 8 + length + end != size:
        raise SolarError(
            f"{path}: cut short or damaged: its header promises {8 + length + end} bytes, "
            f"the file has {size}."
        )
    return tensors


def read_model(folder: str | Path) -> dict[str, TensorInfo]:
    """The tensors of a model folder: one file, or all files that its index names.

    Raises:
        SolarError: there are no weights, a file is missing or damaged, or index and files disagree.
    """
    folder = Path(folder)
    for single in (WEIGHTS, ADAPTER):
        if (folder / single).is_file():
            return read_header(folder / single)
    index = folder / INDEX
    if not index.is_file():
        raise SolarError(f"{folder}: no weights ({WEIGHTS}, {INDEX} or {ADAPTER}).")
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError):
        raise SolarError(f"{index}: not an index of safetensors files.") from None
    tensors: dict[str, TensorInfo] = {}
    for name in sorted(set(weight_map.values())):
        tensors.update(read_header(folder / name))
    for name, file in weight_map.items():
        if name not in tensors or tensors[name].file != file:
            raise SolarError(f"{index}: names {name} in {file}, where it is not.")
    return tensors
