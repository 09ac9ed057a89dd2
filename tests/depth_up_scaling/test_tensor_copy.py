"""Bytes into safetensors files, block by block. Pure: the oracle is the safetensors library."""

import os
from pathlib import Path

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
def test_the_bytes_of_the_library(block_bytes, max_shard_bytes, sources, tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_copy, "BLOCK_BYTES", block_bytes)
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
    assert sum(counts) == sum(shard.path.stat().st_size - shard.start for shard in shards)


def test_tensors_that_are_computed(sources, tmp_path):
    arrays, tensors = sources
    made = [tensor.renamed(f"made.{tensor.name}", zero=True) for tensor in tensors]
    (tmp_path / "out").mkdir()
    shards = lay_out(tmp_path / "out", [*made, *tensors])
    fill(shards, lambda count: None, {"made.b.0": arrays["b.0"][::-1].tobytes()}.get)
    found = load_file(shards[0].path)
    assert np.array_equal(found["made.b.0"], arrays["b.0"][::-1])
    assert not found["made.b.2"].any()
    assert np.array_equal(found["b.2"], arrays["b.2"])


def test_a_full_disk_names_the_file(sources, tmp_path, monkeypatch):
    _, tensors = sources
    shards = lay_out(tmp_path, tensors)
    full = Path("/dev/full")  # takes no byte
    shards[0].path.unlink()
    shards[0].path.symlink_to(full)
    with pytest.raises(OSError, match="No space left") as error:
        fill(shards, lambda count: None)
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
