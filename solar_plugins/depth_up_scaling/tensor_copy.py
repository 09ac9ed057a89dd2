"""Write safetensors files out of ranges of other safetensors files, byte for byte.

A plan says which bytes go where, and one block at a time is read and written: memory use does not
depend on the model's size, and every dtype is copied as it is.
"""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from solar_plugins import atomic
from solar_plugins.models.safetensors_header import INDEX, WEIGHTS, Tensor

MAX_SHARD_BYTES = 5_000_000_000
"""MergeKit's default."""

BLOCK_BYTES = 1 << 24


def same_ends(a: Tensor, b: Tensor, count: int = 512) -> bool:
    """Whether two tensors have one dtype and shape, and the same first and last `count` bytes."""
    if (a.dtype, a.shape, a.nbytes) != (b.dtype, b.shape, b.nbytes):
        return False
    starts = (0, max(0, a.nbytes - count))
    return all(_bytes_at(a, start, count) == _bytes_at(b, start, count) for start in starts)


def _bytes_at(tensor: Tensor, start: int, count: int) -> bytes:
    count = min(count, tensor.nbytes - start)
    if tensor.file is None:
        return bytes(count)
    with tensor.file.open("rb") as file:
        return os.pread(file.fileno(), count, tensor.offset + start)


def split(tensors: Iterable[Tensor], max_shard_bytes: int = MAX_SHARD_BYTES) -> list[list[Tensor]]:
    """`tensors` in their order, cut into shards of at most `max_shard_bytes` (or of one tensor)."""
    shards: list[list[Tensor]] = [[]]
    room = max_shard_bytes
    for tensor in tensors:
        if shards[-1] and tensor.nbytes > room:
            shards.append([])
            room = max_shard_bytes
        shards[-1].append(tensor)
        room -= tensor.nbytes
    return shards


@dataclass(frozen=True)
class Shard:
    """A safetensors file that has its header and its length, but not its bytes yet.

    Attributes:
        path: the file.
        start: where its first tensor begins.
        tensors: what it holds, one directly after the other.
    """

    path: Path
    start: int
    tensors: list[Tensor]


def lay_out(
    folder: Path, tensors: Sequence[Tensor], max_shard_bytes: int = MAX_SHARD_BYTES
) -> list[Shard]:
    """Make one safetensors file for `tensors` in `folder`, or shards with their index.

    The files are of their full length, and hold zeros that take no room on the disk.

    Raises:
        OSError: a file cannot be written.
    """
    parts = split(tensors, max_shard_bytes)
    if len(parts) == 1:
        return [_lay_out_file(folder / WEIGHTS, parts[0])]
    stem, suffix = WEIGHTS.split(".")
    names = [f"{stem}-{i:05d}-of-{len(parts):05d}.{suffix}" for i in range(1, len(parts) + 1)]
    placed = zip(names, parts, strict=True)
    weight_map = {tensor.name: name for name, part in placed for tensor in part}
    total = sum(tensor.nbytes for tensor in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    atomic.write_json(folder / INDEX, index)
    return [_lay_out_file(folder / name, part) for name, part in zip(names, parts, strict=True)]


def fill(
    shards: Iterable[Shard],
    progress: Callable[[int], Any],
    computed: Callable[[str], bytes | None] = lambda name: None,
) -> None:
    """Copy every tensor to its place.

    Args:
        shards: what `lay_out` made.
        progress: called with the bytes written since its last call.
        computed: the bytes of a tensor that lies in no file, by name; None for zeros.

    Raises:
        OSError: a file cannot be read or written, or the disk is full.
    """
    for shard in shards:
        with _faults_named(shard.path), shard.path.open("r+b") as target:
            target.seek(shard.start)
            for tensor in shard.tensors:
                if tensor.file is not None:
                    _copy(tensor, tensor.file, target, progress)
                    continue
                content = computed(tensor.name)
                if content is None:
                    target.seek(tensor.nbytes, os.SEEK_CUR)
                else:
                    target.write(content)
                progress(tensor.nbytes)


def _copy(tensor: Tensor, file: Path, target: BinaryIO, progress: Callable[[int], Any]) -> None:
    with file.open("rb") as source:
        source.seek(tensor.offset)
        for start in range(0, tensor.nbytes, BLOCK_BYTES):
            wanted = min(BLOCK_BYTES, tensor.nbytes - start)
            block = source.read(wanted)
            if len(block) < wanted:
                raise OSError(errno.EIO, f"{file} was cut short while it was copied")
            target.write(block)
            progress(wanted)


def _lay_out_file(path: Path, tensors: Sequence[Tensor]) -> Shard:
    # Tensors of the wider dtypes first, as the safetensors library does it: every one then starts
    # at a multiple of its item size, so that it can be used where the file is mapped.
    tensors = sorted(tensors, key=lambda tensor: tensor.item_bytes, reverse=True)
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + tensor.nbytes
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    head = json.dumps(entries, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    head = struct.pack("<Q", len(head)) + head
    with _faults_named(path), path.open("xb") as file:
        file.write(head)
        file.truncate(len(head) + end)
    return Shard(path, len(head), tensors)


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Let what the system refuses name the file that was being written."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
