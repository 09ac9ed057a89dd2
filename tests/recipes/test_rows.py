"""The one reader of rows: every kind of file gives the same rows, and faults are one line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from solar_plugins.errors import SolarError
from solar_plugins.recipes.rows import Source, read

ROWS = [{"a": "one\u2028line", "b": 1}, {"a": "naïve", "b": 2}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def write(folder: Path, name: str) -> Path:
    file = folder / name
    if name == "rows.parquet":
        parquet.write_table(pa.Table.from_pylist(ROWS), file)
    elif name.endswith(".zst"):
        with pa.output_stream(str(file), compression="zstd") as out:
            out.write(LINES)
    elif name.endswith(".gz"):
        file.write_bytes(gzip.compress(LINES))
    else:
        is_list = name in ("list.json", "list.jsonl")
        file.write_bytes(json.dumps(ROWS, indent=1).encode() if is_list else LINES)
    return file


@pytest.mark.parametrize(
    "name",
    [
        *("rows.parquet", "rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst", "rows.json"),
        *("list.json", "list.jsonl"),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name):
    assert list(read(write(tmp_path, name))) == ROWS
    source = Source(str(tmp_path), "train")
    assert list(source) == ROWS
    assert source.facts()["rows"] == 2


def test_one_object_over_several_lines_is_one_row(tmp_path):
    file = tmp_path / "1.json"
    file.write_text(json.dumps(ROWS[0], indent=2), encoding="utf-8")
    assert list(read(file)) == ROWS[:1]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.jsonl", b'{"a": 1}\n{"a"', "x.jsonl:2: not a line of JSON"),
        ("x.jsonl", b'{"a": 1}\n7\n', "x.jsonl:2: not an object"),
        ("x.jsonl", b'{"a": "\xff"}\n', "x.jsonl: row 1 is not UTF-8"),
        ("x.jsonl", b'{"b": 1}\n', "x.jsonl: no column 'a'; its columns are b."),
        ("x.json", b'[{"a": 1}, 7]', "x.json: row 2 is a int. Needed: an object"),
        ("x.jsonl.gz", gzip.compress(LINES, mtime=0)[:30], "the compressed stream is damaged"),
        ("x.jsonl.gz", b"no gzip at all", "the compressed stream is damaged"),
        ("x.parquet", b"PAR1", "x.parquet: not readable as parquet"),
    ],
)
def test_faults_are_one_line(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SolarError) as error:
        list(read(tmp_path / name, ("a",)))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
