"""Weights that are missing, cut short or of another kind are found by their headers."""

import json
import struct

import pytest
from model_files import write_safetensors

from solar_plugins.errors import SolarError
from solar_plugins.models.safetensors_header import read_files, weight_files


def write_index(folder, *shards):
    weight_map = {f"tensor{i}": shard for i, shard in enumerate(shards)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def count_elements(files):
    return sum(tensor.elements for tensor in read_files(files).values())


def line_of(folder):
    with pytest.raises(SolarError) as error:
        read_files(weight_files(folder))
    return str(error.value)


def test_single_file_and_shards(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", a=[2, 3], b=[4])
    assert weight_files(tmp_path) == [tmp_path / "model.safetensors"]
    assert count_elements(weight_files(tmp_path)) == 10

    write_safetensors(tmp_path / "1.safetensors", a=[5])
    write_safetensors(tmp_path / "2.safetensors", b=[1, 1], c=[])
    write_index(tmp_path, "1.safetensors", "2.safetensors", "2.safetensors")
    # as transformers chooses between them
    assert weight_files(tmp_path) == [tmp_path / "model.safetensors"]
    (tmp_path / "model.safetensors").unlink()
    assert weight_files(tmp_path) == [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    assert count_elements(weight_files(tmp_path)) == 7


def test_missing_shard(tmp_path):
    write_safetensors(tmp_path / "1.safetensors", a=[5])
    write_index(tmp_path, "1.safetensors", "2.safetensors")
    assert line_of(tmp_path) == (
        f"{tmp_path}/model.safetensors.index.json: names 2.safetensors, which is not there "
        "(1 of 2 shards missing). Fetch or write the model again."
    )


@pytest.mark.parametrize(
    "text", ["not json", "[]", "{}", '{"weight_map": {"a": 1}}', '{"weight_map": {}}']
)
def test_unreadable_index(tmp_path, text):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    assert "not a readable index of shards" in line_of(tmp_path)


def test_cut_short_in_the_tensors(tmp_path):
    file = tmp_path / "model.safetensors"
    write_safetensors(file, a=[8])
    whole = file.read_bytes()
    file.write_bytes(whole[:-4])
    assert line_of(tmp_path) == (
        f"{file}: cut short or damaged: its header promises {len(whole)} bytes, the file has "
        f"{len(whole) - 4}. Fetch or write the model again."
    )


@pytest.mark.parametrize("length", [0, 5, 20])
def test_cut_short_in_the_header(tmp_path, length):
    file = tmp_path / "model.safetensors"
    write_safetensors(file, a=[8])
    file.write_bytes(file.read_bytes()[:length])
    assert line_of(tmp_path) == (
        f"{file}: cut short or not a safetensors file: {length} bytes, shorter than its own "
        "header. Fetch or write the model again."
    )


def test_header_overwritten(tmp_path):
    file = tmp_path / "model.safetensors"
    write_safetensors(file, a=[8])
    broken = bytearray(file.read_bytes())
    broken[8:12] = b"\xff\xff\xff\xff"
    file.write_bytes(broken)
    assert "its safetensors header cannot be read" in line_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pytorch_model.bin", "holds .bin weights only; safetensors are needed. Convert the base"),
        ("model-q4.gguf", "holds GGUF weights"),
        ("adapter_model.safetensors", "holds an adapter, not a model."),
        ("README.md", "holds no model.safetensors and no model.safetensors.index.json."),
    ],
)
def test_other_kinds_of_weights(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"")
    assert line_of(tmp_path).startswith(f"base_model: {tmp_path} {words}")


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "model-q4.gguf").write_bytes(b"GGUF")
    assert line_of(tmp_path / "model-q4.gguf") == (
        f"base_model: {tmp_path}/model-q4.gguf is a file. "
        "Name the folder of a whole safetensors model."
    )


def test_one_tensor_in_two_shards(tmp_path):
    write_safetensors(tmp_path / "1.safetensors", a=[5], b=[2])
    write_safetensors(tmp_path / "2.safetensors", b=[2])
    write_index(tmp_path, "1.safetensors", "2.safetensors")
    assert line_of(tmp_path) == (
        f"{tmp_path}/2.safetensors: b is in this file and in 1.safetensors; there is no way to "
        "tell which one is right. Fetch or write the model again."
    )


@pytest.mark.parametrize("content", ["[]", '{"a": 1}', '{"a": {"dtype": "F32"}}', "null"])
def test_header_of_another_kind(tmp_path, content):
    file = tmp_path / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(content)) + content.encode())
    assert line_of(tmp_path) == (
        f"{file}: its safetensors header cannot be read. Fetch or write the model again."
    )
