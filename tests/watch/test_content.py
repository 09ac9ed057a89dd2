"""What prepared data are known by, and what becomes of work on other rows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from solar_plugins.watch import content


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "b.jsonl", "set/train.jsonl", "set/test.jsonl", "base/tokenizer.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    return tmp_path


A, B = {"path": "a.jsonl"}, {"path": "b.jsonl"}
CFG = {"output_dir": "set/out", "chat_template_jinja": "chat.jinja"}


def of(*entries: dict, **cfg: object) -> str:
    return content.of_prepared({**CFG, **cfg}, entries, "base")


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        (A, ["a.jsonl"]),
        ({"path": "set"}, ["set/test.jsonl", "set/train.jsonl"]),
        ({"path": "set", "data_files": "train.jsonl"}, ["set/train.jsonl"]),
        ({"path": "json", "data_files": ["b.jsonl", "a.jsonl"]}, ["b.jsonl", "a.jsonl"]),
        ({"path": "json", "data_files": {"train": "set/t*.jsonl"}}, ["set/test.jsonl"]),
        ({"path": "Open-Orca/OpenOrca"}, []),
    ],
)
def test_the_files_of_an_entry(folder, entry, names):
    assert [str(file) for file in content.local_files(entry)][: len(names)] == names


@pytest.mark.parametrize("name", ["a.jsonl", "chat.jinja", "base/tokenizer.json"])
def test_any_change_of_a_file_is_seen(folder, name):
    before, file = of(A), folder / name
    assert of(A) == before
    status = file.stat()
    file.write_text(file.read_text()[::-1])  # the same size
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert of(A) != before


def test_order_and_settings_count_and_what_is_written_does_not(folder):
    assert of(A, B) != of(B, A)
    assert of(A) != of(A, excess_length_strategy="truncate")
    before = of({"path": "set"})
    (folder / "set/out").mkdir()
    (folder / "set/out/model.safetensors").write_text("weights")
    assert of({"path": "set"}) == before


@pytest.mark.parametrize("goes_on", [True, False])
def test_work_on_other_rows_is_moved_away(folder, goes_on):
    cfg = {**CFG, "datasets": [A], "auto_resume_from_checkpoints": goes_on}
    checkpoint = folder / "set/out/checkpoint-2"
    checkpoint.mkdir(parents=True)
    for _ in range(2):  # of nobody knows which rows, then of the same
        assert content.set_aside_old_work(cfg) is None
    (folder / "a.jsonl").write_text("other rows")
    kept = content.set_aside_old_work(cfg)
    assert checkpoint.exists() != goes_on
    assert (kept is not None and (kept / "checkpoint-2").exists()) == goes_on
    assert content.set_aside_old_work(cfg) is None
    assert not (folder / "set/out/data.lock").exists()
