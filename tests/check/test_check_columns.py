"""A column that a recipe reads and its local file does not have."""

from __future__ import annotations

import json

import pytest

from solar_plugins.check import columns
from solar_plugins.check.source import YamlFile


@pytest.fixture
def found(tmp_path):
    def check(row: dict, **entry) -> list[tuple[str, str]]:
        file = tmp_path / "rows.jsonl"
        file.write_text(json.dumps(row) + "\n")
        source = YamlFile("recipe.yml", {}, {})
        columns.check(source, ("datasets", 0), {"path": str(file), **entry})
        return [(f.path, f.message.replace(str(file), "FILE")) for f in source.findings]

    return check


ALPACA = {"instruction": "add", "input": "", "output": "2"}


def test_what_fits_is_not_found(found):
    assert found(ALPACA, type="alpaca") == []
    assert found({"text": "a"}, type="completion") == []
    assert found(ALPACA, type={"field_instruction": "instruction", "field_output": "output"}) == []
    assert found({"prompt": "a", "chosen": "b", "rejected": "c"}, type="chatml.default") == []
    assert found(ALPACA, type="some.strategy.of.others") == []


def test_a_missing_column_is_named_with_those_that_are_there(found):
    assert found(ALPACA, type={"field_instruction": "instruction", "field_output": "outputs"}) == [
        (
            "datasets[0].type.field_output",
            "no column 'outputs' in FILE, which has instruction, input, output. "
            "Did you mean 'output'?",
        )
    ]
    assert [path for path, _ in found(ALPACA, type="completion")] == ["datasets[0].type"]
    assert [path for path, _ in found(ALPACA, type="completion", field="body")] == [
        "datasets[0].field"
    ]
    assert len(found(ALPACA, type="chatml.intel")) == 3


def test_of_a_file_that_is_no_json_lines_nothing_is_said(found, tmp_path):
    (tmp_path / "rows.txt").write_text("no json")
    source = YamlFile("recipe.yml", {}, {})
    for name in ("rows.txt", "gone.jsonl"):
        columns.check(source, ("datasets", 0), {"path": str(tmp_path / name), "type": "alpaca"})
    assert source.findings == []
