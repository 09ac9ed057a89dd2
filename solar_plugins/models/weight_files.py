"""Are the weights of a base there, whole, and of a kind that can be remapped?

Reads headers only, with the standard library: a 14 GB base takes milliseconds.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path

from solar_plugins.errors import SolarError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


def weight_files(folder: str | Path, key: str = "base_model") -> list[Path]:
    """The safetensors files of the model in `folder` (named by the recipe's `key`), each whole.

    Raises:
        SolarError: weights in another format, none at all, or a shard missing or cut short.
    """
    folder = Path(folder)
    if folder.is_file():
        raise SolarError(
            f"{key}: {folder} is a file. Name the folder of a whole safetensors model."
        )
    if (folder / SINGLE).is_file():  # where there are both, transformers takes this one
        files = [folder / SINGLE]
    elif (folder / INDEX).is_file():
        files = _indexed(folder / INDEX)
    else:
        raise SolarError(f"{key}: {folder} {_what_instead(folder)}")
    check_files(files)
    return files


def check_files(files: Iterable[str | Path]) -> dict[str, dict]:
    """Require that all are safetensors files of their full length, and hold each tensor once.

    Returns:
        Name -> dtype, shape and offsets of every tensor.

    Raises:
        SolarError: the first that is not, or a tensor that two of them hold.
    """
    holder: dict[str, Path] = {}
    found: dict[str, dict] = {}
    for file in map(Path, files):
        if file.suffix != ".safetensors":
            raise SolarError(
                f"base_model: {file} is not a safetensors file, and only those can be read layer "
                f"by layer. {_CONVERT}"
            )
        for name, entry in header(file).items():
            if name in holder:
                raise SolarError(
                    f"{file}: holds {name}, and so does {holder[name].name}; which of them is "
                    f"right cannot be told. {_AGAIN}"
                )
            holder[name], found[name] = file, entry
    return found


_CONVERT = (
    "Convert the base once: load it with transformers' from_pretrained, "
    "save_pretrained it to a folder, and name that folder."
)


def _indexed(index: Path) -> list[Path]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
        missing = [name for name in names if not (index.parent / name).is_file()]
        if not names:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SolarError(
            f"{index}: not a readable index of shards. Fetch the base again."
        ) from None
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
    return f"holds no {SINGLE} and no {INDEX}. Name a folder with a whole model, or a Hub id."


def count_elements(files: Iterable[str | Path]) -> int:
    """How many numbers the tensors of `files` hold together, by their headers."""
    return sum(math.prod(entry["shape"]) for file in files for entry in header(Path(file)).values())


def header(file: Path) -> dict[str, dict]:
    """Name -> dtype, shape and offsets of every tensor, once the file has its full length.

    A safetensors file is 8 bytes of header length, the header, and the tensors up to the last end.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if 8 + length > size:
            raise SolarError(f"{file}: {size} bytes, shorter than its own header. {_AGAIN}")
        try:
            tensors = json.loads(stream.read(length))
            tensors.pop("__metadata__", None)
            end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
            expected = 8 + length + end
        except (ValueError, TypeError, AttributeError, KeyError, IndexError):
            raise SolarError(f"{file}: its safetensors header cannot be read. {_AGAIN}") from None
    if size != expected:
        raise SolarError(f"{file}: {size} bytes where its header promises {expected}. {_AGAIN}")
    return tensors


_AGAIN = "Fetch or write the model again."
