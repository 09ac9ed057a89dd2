"""Write safetensors files out of ranges of other safetensors files, byte for byte.

No tensor is loaded: a plan says which bytes go where, and a few blocks at a time are read and
written. Memory use does not depend on the model's size, and every dtype is copied as it is.
"""

from __future__ import annotations

import errno
import fcntl
import json
import mmap
import os
import struct
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from solar_plugins import atomic
from solar_plugins.models.safetensors_header import INDEX, WEIGHTS, Tensor

MAX_SHARD_BYTES = 5_000_000_000
"""MergeKit's default."""

THREADS, BLOCK_BYTES = 4, 1 << 24
"""Enough blocks at once for a fast disk; 64 MiB of memory."""

DIRECT = os.O_DIRECT if sys.platform == "linux" else 0
"""Past the page cache. A checkpoint that is larger than what the kernel lets wait there is written
several times as fast, pushes nothing else out, and is on the disk when the writing ends."""


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
        head: what it begins with, up to the first tensor.
        tensors: what follows, one directly after the other.
    """

    path: Path
    head: bytes
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


def fill(shards: Iterable[Shard], progress: Callable[[int], Any]) -> None:
    """Copy every tensor to its place.

    Args:
        shards: what `lay_out` made.
        progress: called with the bytes written since its last call, from any thread.

    Raises:
        OSError: a file cannot be read or written, or the disk is full.
    """
    for shard in shards:
        with _faults_named(shard.path):
            _fill_file(shard, progress)


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
    return Shard(path, head, tensors)


def _fill_file(shard: Shard, progress: Callable[[int], Any]) -> None:
    """Write the file anew, in blocks that several threads read and write at once."""
    shard.path.unlink()
    nbytes = len(shard.head) + sum(tensor.nbytes for tensor in shard.tensors)
    with ExitStack() as opened:
        target = _open_for_writing(shard.path)
        opened.callback(os.close, target)
        sources = {
            file: opened.enter_context(file.open("rb")).fileno()
            for file in {tensor.file for tensor in shard.tensors if tensor.file is not None}
        }
        pieces = _Pieces(shard, sources)
        buffers: SimpleQueue[mmap.mmap] = SimpleQueue()
        for _ in range(THREADS):
            # memory of its own that starts at a page, as O_DIRECT wants it
            buffers.put(mmap.mmap(-1, BLOCK_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

        def write_block(start: int) -> None:
            count = min(BLOCK_BYTES, nbytes - start)
            buffer = buffers.get()
            try:
                with memoryview(buffer) as view:
                    pieces.read(start, view[:count])
                    # O_DIRECT writes whole pages: the last hangs over, and is cut off at the end
                    _write(target, view[: -(-count // mmap.PAGESIZE) * mmap.PAGESIZE], start)
            finally:
                buffers.put(buffer)
            progress(count)

        pool = opened.enter_context(ThreadPoolExecutor(THREADS))
        try:
            for job in [pool.submit(write_block, at) for at in range(0, nbytes, BLOCK_BYTES)]:
                job.result()
        finally:  # before the files are closed, also when one block failed
            pool.shutdown(cancel_futures=True)
        os.ftruncate(target, nbytes)


class _Pieces:
    """The bytes of a shard by their position in it, wherever they lie now."""

    def __init__(self, shard: Shard, sources: dict[Path, int]):
        self.head, self.tensors, self.sources = shard.head, shard.tensors, sources
        sizes = [len(self.head), *(tensor.nbytes for tensor in self.tensors)]
        self.ends = list(accumulate(sizes))

    def read(self, start: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `start` on."""
        index = bisect_right(self.ends, start)
        while view:
            begin = self.ends[index - 1] if index else 0
            count = min(len(view), self.ends[index] - start)
            if index == 0:
                view[:count] = self.head[start : start + count]
            else:
                self._read_tensor(self.tensors[index - 1], start - begin, view[:count])
            start, view, index = start + count, view[count:], index + 1

    def _read_tensor(self, tensor: Tensor, start: int, view: memoryview) -> None:
        if tensor.file is None:
            view[:] = bytes(len(view))
            return
        while view:
            count = os.preadv(self.sources[tensor.file], [view], tensor.offset + start)
            if not count:
                raise OSError(errno.EIO, f"{tensor.file} was cut short while it was copied")
            start, view = start + count, view[count:]


def _open_for_writing(path: Path) -> int:
    """A descriptor that bypasses the page cache, where the file system can do that."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags | DIRECT, 0o666)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        path.unlink(missing_ok=True)  # some make the file before they refuse the flag
        return os.open(path, flags, 0o666)


def _write(target: int, view: memoryview, at: int) -> None:
    while view:
        try:
            count = os.pwrite(target, view, at)
        except OSError as error:
            flags = fcntl.fcntl(target, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & DIRECT:
                raise
            fcntl.fcntl(target, fcntl.F_SETFL, flags & ~DIRECT)  # larger pages than we write
            continue
        at, view = at + count, view[count:]


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Let what the system refuses name the file that was being written."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
