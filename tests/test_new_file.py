"""A stopped write leaves the old output as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from solar_plugins import atomic


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"
    with atomic.new_file(target) as file:
        file.write(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "rows.jsonl"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="stopped"):
        _stopped_file(target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_exception_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "rows"
    target.mkdir()
    (target / "old.jsonl").touch()
    with pytest.raises(RuntimeError, match="stopped"):
        _stopped_folder(target)
    assert [file.name for file in target.iterdir()] == ["old.jsonl"]
    with atomic.new_directory(target, replace=True) as folder:
        (folder / "new.jsonl").touch()
    assert [file.name for file in target.iterdir()] == ["new.jsonl"]
    assert list(tmp_path.iterdir()) == [target]


def _stopped_file(target: Path) -> None:
    with atomic.new_file(target) as file:
        file.write(b"half")
        raise RuntimeError("stopped")


def _stopped_folder(target: Path) -> None:
    with atomic.new_directory(target, replace=True) as folder:
        (folder / "new.jsonl").touch()
        raise RuntimeError("stopped")
