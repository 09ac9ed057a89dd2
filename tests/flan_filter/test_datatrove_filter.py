"""The block for datatrove, in datatrove's own executor."""

from __future__ import annotations

import json

import benchmark_twins
import pyarrow as pa
import pytest
from click.testing import CliRunner
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from pyarrow import parquet
from test_filter_with_index import ITEMS, QUESTIONS

from solar_plugins import flan_filter
from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import Audit, FlanFilter


def read(folder) -> list[dict]:
    files = sorted(folder.glob("*.parquet"))
    return [row for file in files for row in parquet.read_table(file).to_pylist()]


def test_a_pipeline_drops_what_solar_filter_removes(tmp_path):
    rows = [
        {"id": "a", "question": f"Solve: {QUESTIONS[0]}", "task_name": ""},
        {"id": "b", "question": "Is rain wet?", "task_name": "cot_gsm8k"},
        {"id": "c", "question": f"Solve: {QUESTIONS[1]}", "task_name": "cot_esnli"},
        {"id": "d", "question": f"Question: {QUESTIONS[2]}\nAnswer:", "task_name": ""},
    ]
    (tmp_path / "in").mkdir()
    for i, half in enumerate((rows[:2], rows[2:])):
        table = pa.Table.from_pylist(half, pa.schema([(name, pa.string()) for name in rows[0]]))
        parquet.write_table(table, tmp_path / "in" / f"{i}.parquet")
    index, audits = tmp_path / "flan.index", tmp_path / "audits"
    benchmark_twins.write(tmp_path / "b", ITEMS)
    build = ["flan-index", "--from", str(tmp_path / "b"), "--out", str(index)]
    assert CliRunner().invoke(cli, build).exit_code == 0
    command = ["filter", f"{tmp_path}/in", f"{tmp_path}/out", "--index", str(index), "--json"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output

    dropped = ParquetWriter(f"{tmp_path}/dropped", expand_metadata=True)
    chosen = FlanFilter(str(index), audit_folder=str(audits), exclusion_writer=dropped)
    pipeline = [
        ParquetReader(f"{tmp_path}/in", text_key="question"),
        chosen,
        ParquetWriter(f"{tmp_path}/kept", expand_metadata=True),
    ]
    LocalPipelineExecutor(pipeline, tasks=2, workers=1, logging_dir=f"{tmp_path}/logs").run()
    kept = [row["id"] for row in read(tmp_path / "kept")]
    assert kept == [row["id"] for row in read(tmp_path / "out")] == ["c"]
    why = {
        one["id"]: (one["flan_task"], one["filter_reason"]) for one in read(tmp_path / "dropped")
    }
    assert why == {
        "a": ("cot_gsm8k", "instance_text"),
        "b": ("cot_gsm8k", "name"),
        "d": ("cot_gsm8k", "instance_text"),
    }
    statistics = json.loads((tmp_path / "logs" / "stats.json").read_text())[1]["stats"]
    assert (statistics["dropped_instance_text"], statistics["dropped_name"]) == (2, 1)
    assert (statistics["task_cot_gsm8k"], statistics["forwarded"]) == (3, 1)

    merged = Audit.merge(json.loads(file.read_text()) for file in sorted(audits.iterdir())).facts()
    (whole,) = json.loads(result.stdout)["datasets"]
    differing = {key for key in whole if whole[key] != merged[key]}
    assert differing == {"source", "prompt_columns", "examples"}  # a name's example shows the row
    assert [one["row"] for one in merged["examples"]["cot_gsm8k"]["instance_text"]] == [0, 3]


def test_every_public_name_is_there():
    assert all(hasattr(flan_filter, name) for name in flan_filter.__all__)


def test_a_wrong_argument_is_known_before_a_task_starts():
    with pytest.raises(SolarError, match=r"decontaminate needs an index"):
        FlanFilter(decontaminate=True)
