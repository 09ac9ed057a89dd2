"""`solar filter` over folders of shards: several processes, resuming, and any file system."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from orca_twin import orca_rows, stays
from test_filter_command import read_rows, write_rows

from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import Audit


def solar(*arguments: object):
    return CliRunner().invoke(cli, ["filter", *map(str, arguments)])


def filtered(*arguments: object) -> dict:
    result = solar(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["datasets"][0]


def write_shards(folder: Path, ending: str = ".parquet", number: int = 4) -> list[dict]:
    rows = orca_rows(40)
    (folder / "part").mkdir(parents=True)
    for i in range(number):
        part = rows[i * len(rows) // number : (i + 1) * len(rows) // number]
        write_rows(folder / "part" / f"{i}{ending}", part)
    return rows


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    return system


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_several_processes_give_the_same_bytes_and_the_audit_of_one_pass(tmp_path):
    rows = write_shards(tmp_path / "in")
    one = filtered(tmp_path / "in", tmp_path / "one")
    two = filtered(tmp_path / "in", tmp_path / "two", "--workers", 2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert sorted(contents(tmp_path / "one")) == [f"part/{i}.parquet" for i in range(4)]
    files = [tmp_path / "two" / "part" / f"{i}.parquet" for i in range(4)]
    assert [row for file in files for row in read_rows(file)] == [row for row in rows if stays(row)]
    whole = filtered(write_rows(tmp_path / "in.parquet", rows), tmp_path / "out.parquet")
    assert whole["examples"]["cot_gsm8k"]["name"][-1]["row"] == 209  # of the second shard
    assert one == two == {**whole, "source": str(tmp_path / "in")}


def test_a_stopped_run_goes_on_with_the_shards_that_are_not_done(tmp_path):
    write_shards(tmp_path / "in", ".jsonl")
    filtered(tmp_path / "in", tmp_path / "whole")
    last = tmp_path / "in" / "part" / "3.jsonl"
    good = last.read_bytes()
    last.write_bytes(good + b"{\n")
    result = solar(tmp_path / "in", tmp_path / "out")
    assert result.exit_code == 1
    assert "3.jsonl:111: not a line of JSON" in result.stderr
    unfinished = tmp_path / ".out.unfinished"
    assert not (tmp_path / "out").exists()
    # What is done is not done again, which its bytes would show; one whose source changes is.
    for name in "01":
        (unfinished / "part" / f"{name}.jsonl").write_bytes(b"done\n")
    (unfinished / "part" / "left_over.jsonl").touch()
    first = tmp_path / "in" / "part" / "0.jsonl"
    first.write_bytes(first.read_bytes())
    last.write_bytes(good)
    filtered(tmp_path / "in", tmp_path / "out")
    whole = contents(tmp_path / "whole")
    assert contents(tmp_path / "out") == {**whole, "part/1.jsonl": b"done\n"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "whole"]
    # Another filter is another copy.
    assert solar(tmp_path / "in", tmp_path / "out", "--tasks", "cot_gsm8k").exit_code == 0
    assert contents(tmp_path / "out") != whole


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".jsonl.gz"])
def test_urls_are_read_and_written_like_paths(tmp_path, memory, ending):
    write_shards(tmp_path / "in", ending, 2)
    local = filtered(tmp_path / "in", tmp_path / "out")
    memory.put(f"{tmp_path}/in", "/in", recursive=True)
    audit = filtered("memory://in", "memory://out", "--audit", "memory://audit.json")
    assert audit == {**local, "source": "memory://in"}
    assert json.loads(memory.cat("/audit.json"))["datasets"] == [audit]
    written = {name.removeprefix("/out/"): memory.cat(name) for name in memory.find("/out")}
    assert written == contents(tmp_path / "out")
    filtered(f"memory://in/part/0{ending}", f"memory://one{ending}")
    assert memory.cat(f"/one{ending}") == written[f"part/0{ending}"]


def test_a_run_that_stopped_at_a_url_goes_on(tmp_path, memory):
    write_shards(tmp_path / "in", ".jsonl", 2)
    memory.put(f"{tmp_path}/in", "/in", recursive=True)
    good = memory.cat("/in/part/1.jsonl")
    memory.pipe("/in/part/1.jsonl", good + b"{\n")
    assert solar("memory://in", "memory://out").exit_code == 1
    assert memory.exists("/out/part/0.jsonl")
    memory.pipe("/out/part/0.jsonl", b"done\n")
    memory.pipe("/in/part/1.jsonl", good)
    filtered("memory://in", "memory://out")
    assert memory.cat("/out/part/0.jsonl") == b"done\n"
    assert sorted(memory.find("/out")) == ["/out/part/0.jsonl", "/out/part/1.jsonl"]


@pytest.mark.parametrize(
    ("source", "target", "status", "said"),
    [
        ("memory://absent", "memory://out", 1, "memory://absent: cannot be read (FileNotFound"),
        ("nowhere://in", "out.jsonl", 1, "nowhere://in: cannot be read (ValueError: Protocol not"),
        ("in", "in/out", 2, "OUT is IN or in it"),
        ("absent", "out", 2, "IN: absent is not there."),
    ],
)
def test_what_cannot_be_reached_is_one_line(tmp_path, monkeypatch, source, target, status, said):
    monkeypatch.chdir(tmp_path)
    write_shards(tmp_path / "in")
    result = solar(source, target)
    assert result.exit_code == status
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert said in line
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_audits_of_other_filters_are_not_merged(tmp_path):
    rows = write_rows(tmp_path / "in.jsonl", orca_rows())
    one = filtered(rows, tmp_path / "out.jsonl")
    other = filtered(rows, tmp_path / "out.jsonl", "--tasks", "cot_gsm8k")
    for parts, said in (
        ([], "Audit.merge: there is no audit."),
        ([one, other], "Audit.merge: tasks is ["),
        ([{"datasets": [one]}], "Audit.merge: an audit without 'source'. Of a file that solar"),
    ):
        with pytest.raises(SolarError) as error:
            Audit.merge(parts)
        assert str(error.value).startswith(said)
