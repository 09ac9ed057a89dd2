"""Which checkpoints and prepared data a restarted run trusts."""

from __future__ import annotations

import json

import pytest

from solar_plugins.sdpo import checkpoints
from solar_plugins.sdpo.prepared_data import drop_half_written

FILES = (
    "config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
)


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint-4"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(name.encode() * 10)
    checkpoints.write_note(folder, {"first_loss": 0.693})
    return folder


def test_a_whole_checkpoint_is_trusted(checkpoint):
    note = checkpoints.whole_note(checkpoint)

    assert note["first_loss"] == 0.693
    assert checkpoints.resumable(note)


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_with_a_file_cut_short_or_gone_is_not_trusted(checkpoint, name):
    content = (checkpoint / name).read_bytes()

    (checkpoint / name).write_bytes(content[:-1])
    assert checkpoints.whole_note(checkpoint) is None
    (checkpoint / name).unlink()
    assert checkpoints.whole_note(checkpoint) is None
    (checkpoint / name).write_bytes(content)
    assert checkpoints.whole_note(checkpoint) is not None


def test_a_checkpoint_without_its_last_file_is_not_trusted(checkpoint):
    note = checkpoint / checkpoints.NOTE
    text = note.read_text()

    note.write_text(text[: len(text) // 2])
    assert checkpoints.whole_note(checkpoint) is None
    note.unlink()
    assert checkpoints.whole_note(checkpoint) is None


def test_a_checkpoint_of_weights_only_is_whole_but_not_to_resume_from(checkpoint):
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (checkpoint / name).unlink()
    checkpoints.write_note(checkpoint, {})

    assert not checkpoints.resumable(checkpoints.whole_note(checkpoint))


def test_a_deepspeed_checkpoint_has_its_optimizer_in_shards(checkpoint):
    (checkpoint / "optimizer.pt").unlink()
    (checkpoint / "scheduler.pt").unlink()
    (checkpoint / "global_step4").mkdir()
    (checkpoint / "global_step4" / "zero_pp_rank_0_optim_states.pt").write_bytes(b"state")
    checkpoints.write_note(checkpoint, {})

    assert checkpoints.resumable(checkpoints.whole_note(checkpoint))


def test_newest_first_is_by_number(tmp_path):
    for name in ("checkpoint-4", "checkpoint-12", "checkpoint-best", "runs"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-99").write_text("no folder")

    names = [path.name for path in checkpoints.newest_first(tmp_path)]
    assert names == ["checkpoint-12", "checkpoint-4"]


def test_half_written_prepared_data_go_and_whole_ones_stay(tmp_path):
    for name in ("whole", "half", "not_data"):
        (tmp_path / name).mkdir()
    for name in ("whole", "half"):
        (tmp_path / name / "data-00000-of-00001.arrow").write_bytes(b"rows")
    (tmp_path / "whole" / "dataset_info.json").write_text(json.dumps({}))
    (tmp_path / "half" / "dataset_info.json").write_text('{"buil')

    assert drop_half_written(tmp_path) == [tmp_path / "half"]
    assert drop_half_written(tmp_path / "absent") == []
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"whole", "not_data"}
