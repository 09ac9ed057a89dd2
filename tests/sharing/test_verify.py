"""`solar verify`: what differs from the lock, and what is only not here yet."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import shared_project
from click.testing import CliRunner
from packs import LOCK

from solar_plugins.cli import cli

WEIGHTS = b"weights"


def solar(*arguments: str) -> tuple[int, list[str]]:
    result = CliRunner().invoke(cli, list(arguments))
    return result.exit_code, result.output.splitlines()


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a run and local data, packed and unpacked elsewhere, without data."""
    first = tmp_path / "first"
    shared_project.write_project(first)
    shared_project.write_run(first)
    record = first / "outputs/shared/.solar/stages/sft.json"
    written = json.loads(record.read_text())
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    written["outputs"]["model.safetensors"]["sha256"] = digest
    record.write_text(json.dumps(written))
    sft = first / "recipes/sft.yml"
    sft.write_text(sft.read_text().replace("owner/data", "./rows.jsonl"))
    (first / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    monkeypatch.chdir(first)
    assert solar("pack", "recipes/shared.yml", "--out", "../a.solar.zip")[0] == 0
    monkeypatch.chdir(tmp_path)
    assert solar("unpack", "a.solar.zip", "--to", "theirs")[0] == 0
    return tmp_path / "theirs"


def test_a_pack_and_its_folder_are_as_the_lock_says(theirs: Path):
    for source in ("a.solar.zip", "theirs"):
        status, lines = solar("verify", source)
        assert status == 0, lines
        assert lines[-1].endswith("as its lock says")
        assert all(line.startswith("note: ") for line in lines[:-1])
    assert (
        "note: rows.jsonl: not here yet; it is not part of the pack."
        in solar("verify", "theirs")[1]
    )


def test_a_changed_a_missing_and_a_linked_file(theirs: Path):
    mix = theirs / "recipes/mix.yml"
    mix.write_text(mix.read_text().replace("0.5", "0.6"))
    status, lines = solar("verify", "theirs")
    assert (status, lines[0]) == (1, "recipes/mix.yml: changed since it was packed.")
    mix.unlink()
    assert "no such file, but the lock lists it" in solar("verify", "theirs")[1][0]
    mix.symlink_to("/etc/passwd")
    assert "a link. A pack has plain files." in solar("verify", "theirs")[1][0]


def test_local_data_by_digest(theirs: Path):
    (theirs / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    assert solar("verify", "theirs")[0] == 0
    (theirs / "rows.jsonl").write_text('{"instruction": "a", "output": "c"}\n')
    result = CliRunner().invoke(cli, ["verify", "theirs", "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert {"what": "rows.jsonl: other content than then.", "matters": True} in found


def test_weights_of_a_run_in_the_folder(theirs: Path):
    shared_project.write_run(theirs)
    weights = theirs / "outputs/shared/sft/model.safetensors"
    weights.write_bytes(WEIGHTS)
    (theirs / "outputs/shared/mix/model.safetensors").write_bytes(b"other")
    status, lines = solar("verify", "theirs")
    assert status == 1
    assert [line for line in lines if "weights" in line] == [
        "mix/model.safetensors: other weights than in the packed run."
    ]
    weights.unlink()
    assert "sft/model.safetensors: gone since it was made here." in solar("verify", "theirs")[1]


def test_another_version_of_a_tool_is_a_note(theirs: Path):
    lock = json.loads((theirs / LOCK).read_text())
    lock["versions"]["torch"] = "1.0\x1b[2J"
    (theirs / LOCK).write_text(json.dumps(lock))
    status, lines = solar("verify", "theirs")
    assert status == 0
    assert any(
        line.startswith("note: torch: 1.0\N{REPLACEMENT CHARACTER}[2J then,") for line in lines
    )


def test_rerun_needs_a_chain_at_tiny_size(theirs: Path):
    status, lines = solar("verify", "theirs", "--rerun")
    assert status == 1
    assert "has no chain at tiny size (tiny/). Nothing was run." in lines[-1]


def test_a_folder_without_a_lock(tmp_path: Path):
    status, lines = solar("verify", str(tmp_path))
    assert status == 1
    assert lines == [f"Error: {tmp_path}: has no solar.lock.json, so this is not an unpacked pack."]
