"""Bytes into safetensors files, block by block. Pure: the oracle is the safetensors library."""

import errno
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from solar_plugins.depth_up_scaling import tensor_copy
from solar_plugins.depth_up_scaling.tensor_copy import fill, lay_out, same_ends
from solar_plugins.models.safetensors_header import read_files

PAGE = 4096


@pytest.fixture
def sources(tmp_path):
    """Two files with tensors of many sizes, among them none, one page and a bit over a block."""
    random = np.random.default_rng(0)
    made = {}
    for name, counts in {"a": (3, 0, PAGE, 5000, 1), "b": (70_001, 12, 2 * PAGE)}.items():
        arrays = {
            f"{name}.{i}": random.integers(0, 255, count).astype((np.uint8, np.float32)[i % 2])
            for i, count in enumerate(counts)
        }
        save_file(arrays, tmp_path / f"{name}.safetensors")
        made |= arrays
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    return made, list(read_files(files).values())


@pytest.mark.parametrize("block_bytes", [PAGE, 3 * PAGE, 1 << 24])
@pytest.mark.parametrize("max_shard_bytes", [1, 20_000, 1 << 30])
@pytest.mark.parametrize("direct", [True, False])
def test_the_bytes_of_the_library(
    block_bytes, max_shard_bytes, direct, sources, tmp_path, monkeypatch
):
    monkeypatch.setattr(tensor_copy, "BLOCK_BYTES", block_bytes)
    if not direct:
        monkeypatch.setattr(tensor_copy, "DIRECT", 0)
    arrays, tensors = sources
    twice = [*tensors, *(tensor.renamed(f"copy.{tensor.name}") for tensor in tensors)]
    zeros = [tensor.renamed(f"zero.{tensor.name}", zero=True) for tensor in tensors]
    out = tmp_path / "out"
    out.mkdir()
    counts = []
    shards = lay_out(out, [*twice, *zeros], max_shard_bytes)
    assert all(not array.any() for s in shards for array in load_file(s.path).values())
    fill(shards, counts.append)
    found = {}
    for shard in shards:
        found |= load_file(shard.path)
    assert len(found) == 3 * len(arrays)
    for name, array in arrays.items():
        for copy in (name, f"copy.{name}"):
            assert found[copy].dtype == array.dtype
            assert np.array_equal(found[copy], array)
        assert np.array_equal(found[f"zero.{name}"], np.zeros_like(array))
    assert sum(counts) == sum(shard.path.stat().st_size for shard in shards)


def test_a_file_system_that_refuses_to_bypass_its_cache(sources, tmp_path, monkeypatch):
    """Some refuse when the file is opened, some when the first block is written."""
    arrays, tensors = sources
    real_open, real_write = os.open, os.pwrite
    refused = []

    def picky_open(path, flags, *mode):
        if flags & tensor_copy.DIRECT:
            refused.append("open")
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_open(path, flags, *mode)

    def picky_write(target, data, at):
        if os.get_inheritable(target) is False and fcntl_flags(target) & tensor_copy.DIRECT:
            refused.append("write")
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_write(target, data, at)

    for name, fake in (("open", picky_open), ("pwrite", picky_write)):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fake)
            out = tmp_path / name
            out.mkdir()
            shards = lay_out(out, tensors)
            fill(shards, lambda count: None)
        found = load_file(shards[0].path)
        assert all(np.array_equal(found[key], array) for key, array in arrays.items())
    assert set(refused) == {"open", "write"}


def fcntl_flags(descriptor):
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_GETFL)


def test_a_fault_in_any_block_ends_the_writing(sources, tmp_path, monkeypatch):
    """More blocks than buffers fail, and nobody waits for a buffer that does not come back."""
    monkeypatch.setattr(tensor_copy, "BLOCK_BYTES", PAGE)
    _, tensors = sources

    def full(target, data, at):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left") as error:
        fill(lay_out(tmp_path, tensors), lambda count: None)
    assert error.value.filename == str(tmp_path / "model.safetensors")


def test_a_source_that_shrinks_meanwhile(sources, tmp_path):
    _, tensors = sources
    (tmp_path / "out").mkdir()
    shards = lay_out(tmp_path / "out", tensors)
    os.truncate(tmp_path / "b.safetensors", 100)
    with pytest.raises(OSError, match="was cut short while it was copied"):
        fill(shards, lambda count: None)


def test_same_ends(sources, tmp_path):
    _, tensors = sources
    by_name = {tensor.name: tensor for tensor in tensors}
    long, page = by_name["b.0"], by_name["b.2"]
    assert same_ends(long, long.renamed("other"))
    assert not same_ends(long, page)
    assert not same_ends(long, long.renamed("zero", zero=True))
