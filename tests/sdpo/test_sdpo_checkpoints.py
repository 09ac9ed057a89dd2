"""Which checkpoints and prepared data a restarted run trusts."""

from __future__ import annotations

import json
import zipfile

import pytest

from solar_plugins.sdpo import step_records

TENSOR = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


def write_checkpoint(step_folder, number: int):
    folder = step_folder / f"checkpoint-{number}"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(len(TENSOR).to_bytes(8, "little") + TENSOR + b"0000")
    for name in FILES[1:4]:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("data.pkl", "x" * 100)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": number}))
    (folder / step_records.CHECKPOINT_NOTE).write_text(json.dumps({"first_loss": number}))
    return folder


def found(step_folder) -> list[tuple[str, int]]:
    whole = step_records.whole_checkpoints(step_folder)
    return [(path.name, note["first_loss"]) for path, note in whole]


def test_whole_checkpoints_come_newest_first(tmp_path):
    for number in (4, 12):
        write_checkpoint(tmp_path, number)
    for name in ("checkpoint-best", "runs"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-99").write_text("no folder")

    assert found(tmp_path) == [("checkpoint-12", 12), ("checkpoint-4", 4)]


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_with_a_file_cut_short_or_gone_is_not_trusted(tmp_path, name):
    file = write_checkpoint(tmp_path, 4) / name

    file.write_bytes(file.read_bytes()[:-1])
    assert found(tmp_path) == []
    file.unlink()
    assert found(tmp_path) == []


def test_a_checkpoint_without_its_last_file_is_not_trusted(tmp_path):
    note = write_checkpoint(tmp_path, 4) / step_records.CHECKPOINT_NOTE

    note.write_text('{"first_lo')
    assert found(tmp_path) == []
    note.unlink()
    assert found(tmp_path) == []


def test_half_written_prepared_data_go_and_whole_ones_stay(tmp_path):
    for name in ("whole", "half", "not_data"):
        (tmp_path / name).mkdir()
    for name in ("whole", "half"):
        (tmp_path / name / "data-00000-of-00001.arrow").write_bytes(b"rows")
    (tmp_path / "whole" / "dataset_info.json").write_text(json.dumps({}))
    (tmp_path / "half" / "dataset_info.json").write_text('{"buil')

    assert step_records.drop_half_written(tmp_path) == [tmp_path / "half"]
    assert step_records.drop_half_written(tmp_path / "absent") == []
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"whole", "not_data"}
