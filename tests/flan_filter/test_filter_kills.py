"""Two kills in the suite; `benchmarks/flan_filter/kills.py` makes twenty."""

from __future__ import annotations

import shutil

import benchmark_twins
import pytest
from click.testing import CliRunner
from filter_kills import kill_and_finish
from pyarrow import parquet
from test_filter_with_index import ITEMS, mixed_prompts, orca

from solar_plugins.cli import cli

pytestmark = pytest.mark.slow


def test_a_killed_filter_leaves_nothing_or_all(tmp_path):
    benchmark_twins.write(tmp_path / "b", ITEMS)
    index = tmp_path / "flan.index"
    CliRunner().invoke(cli, ["flan-index", "--from", str(tmp_path / "b"), "--out", str(index)])
    prompts, _ = mixed_prompts(400)
    parquet.write_table(orca(prompts), tmp_path / "in.parquet", row_group_size=5_000)
    (tmp_path / "there").mkdir()
    left = kill_and_finish(tmp_path / "in.parquet", tmp_path / "there" / "out.parquet", index, 2)
    assert len(left["digests"]) == 1
    assert left["left_over"] == []

    (tmp_path / "in").mkdir()
    for i in range(3):
        shutil.copy(tmp_path / "in.parquet", tmp_path / "in" / f"{i}.parquet")
    left = kill_and_finish(tmp_path / "in", tmp_path / "there" / "out", index, 2, workers=2)
    assert len(left["digests"]) == 1
    assert (left["left_over"], left["orphans"]) == ([], 0)
