"""The weights of a model folder, read from the headers of its safetensors files, without torch.

The format (https://github.com/huggingface/safetensors#format): eight bytes, little endian, with
the length N of the header; N bytes of JSON, ``{name: {"dtype", "shape", "data_offsets"}}``; then
the data to the end of the file. The header gives the length of the whole file, so a file that was
cut short is found without reading its data.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from solar_plugins.errors import SolarError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"

_LARGEST_HEADER = 100_000_000  # the limit of the format's own reader
_AGAIN = "Fetch or write the model again."
_CONVERT = (
    "Convert the base once: load it with transformers' from_pretrained, "
    "save_pretrained it to a folder, and name that folder."
)


class Tensor(NamedTuple):
    """A tensor as a safetensors header describes it, or one that is to be written.

    Attributes:
        name: its name in the checkpoint.
        dtype: as the header spells it (``BF16``).
        shape: its shape.
        nbytes: its size in bytes.
        file: the file that holds these bytes; None for zeros.
        offset: where they start in `file`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    file: Path | None
    offset: int = 0

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def item_bytes(self) -> int:
        """Bytes of one element."""
        return self.nbytes // max(1, self.elements)

    def renamed(self, name: str, zero: bool = False) -> Tensor:
        """The same bytes, or zeros of the same dtype and shape, under another name."""
        return self._replace(name=name, file=None if zero else self.file)


def read_header(path: str | Path) -> dict[str, Tensor]:
    """The tensors of one file, by name, in the order of their bytes.

    Raises:
        SolarError: the file is missing, cut short, or not a safetensors file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if 8 + length > size or length > _LARGEST_HEADER:
                raise SolarError(
                    f"{path}: cut short or not a safetensors file: {size} bytes, shorter than its "
                    f"own header. {_AGAIN}"
                )
            text = file.read(length)
    except FileNotFoundError:
        raise SolarError(f"{path}: not found. {_AGAIN}") from None
    try:
        entries = json.loads(text)
        entries.pop("__metadata__", None)
        found = [_tensor(name, entry, path, 8 + length) for name, entry in entries.items()]
    except (ValueError, TypeError, AttributeError, KeyError, IndexError):
        raise SolarError(f"{path}: its safetensors header cannot be read. {_AGAIN}") from None
    found.sort(key=lambda tensor: tensor.offset)
    expected = max((t.offset + t.nbytes for t in found), default=8 + length)
    if expected != size:
        raise SolarError(
            f"{path}: cut short or damaged: its header promises {expected} bytes, the file has "
            f"{size}. {_AGAIN}"
        )
    return {tensor.name: tensor for tensor in found}


def _tensor(name: str, entry: Any, file: Path, data_start: int) -> Tensor:
    start, end = entry["data_offsets"]
    return Tensor(
        name, entry["dtype"], tuple(entry["shape"]), end - start, file, data_start + start
    )


def weight_files(folder: str | Path, key: str = "base_model") -> list[Path]:
    """The safetensors files of the model in `folder`, without opening them.

    Args:
        folder: a model folder.
        key: the recipe's key that names it, for the error message.

    Raises:
        SolarError: weights in another format, none at all, or a missing shard.
    """
    folder = Path(folder)
    if folder.is_file():
        raise SolarError(
            f"{key}: {folder} is a file. Name the folder of a whole safetensors model."
        )
    if (folder / WEIGHTS).is_file():  # transformers prefers it to an index
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        return _shards(folder / INDEX, _weight_map(folder / INDEX))
    raise SolarError(f"{key}: {folder} {_what_instead(folder)}")


def read_files(files: Iterable[str | Path]) -> dict[str, Tensor]:
    """All tensors of `files`, by name.

    Raises:
        SolarError: a file is not a whole safetensors file, or two files hold the same tensor.
    """
    found: dict[str, Tensor] = {}
    for file in map(Path, files):
        if file.suffix != ".safetensors":
            raise SolarError(
                f"base_model: {file} is not a safetensors file, and only those can be read layer "
                f"by layer. {_CONVERT}"
            )
        for name, tensor in read_header(file).items():
            other = found.setdefault(name, tensor).file
            if other is not None and other != file:
                raise SolarError(
                    f"{file}: {name} is in this file and in {other.name}; there is no way to tell "
                    f"which one is right. {_AGAIN}"
                )
    return found


def read_model(folder: str | Path) -> dict[str, Tensor]:
    """All tensors of a finished model or adapter folder, by name.

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
    weight_map = _weight_map(index)
    tensors = read_files(_shards(index, weight_map))
    for name, file in weight_map.items():
        if name not in tensors or tensors[name].file != folder / file:
            raise SolarError(f"{index}: names {name} in {file}, where it is not.")
    return tensors


def _weight_map(index: Path) -> dict[str, str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if weight_map and all(isinstance(file, str) for file in weight_map.values()):
            return weight_map
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise SolarError(f"{index}: not a readable index of shards. {_AGAIN}")


def _shards(index: Path, weight_map: dict[str, str]) -> list[Path]:
    names = sorted(set(weight_map.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise SolarError(
            f"{index}: names {missing[0]}, which is not there "
            f"({len(missing)} of {len(names)} shards missing). {_AGAIN}"
        )
    return [index.parent / name for name in names]


def _what_instead(folder: Path) -> str:
    if any(folder.glob("*.gguf")):
        return (
            "holds GGUF weights, which are quantised for inference. Name the original "
            "safetensors model."
        )
    if any(folder.glob("pytorch_model*.bin")):
        return f"holds .bin weights only; safetensors are needed. {_CONVERT}"
    if any(folder.glob("adapter_model*")):
        return "holds an adapter, not a model. Merge it first with `axolotl merge-lora`."
    return f"holds no {WEIGHTS} and no {INDEX}. Name a folder with a whole model, or a Hub id."
