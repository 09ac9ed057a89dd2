"""A stage that learned nothing fails in a chain, and goes on once its data are put right."""

from __future__ import annotations

import json

import pytest
import tiny_chain

pytestmark = pytest.mark.slow


def test_a_stage_that_learned_nothing_fails(solar):
    good = (solar.folder / "sums.jsonl").read_text()
    rows = [{"instruction": f"{n}+1?", "input": "", "output": ""} for n in range(20)]
    tiny_chain.write_rows(solar.folder / "sums.jsonl", rows)
    status, output = solar("run", "chain.yml")
    assert status == 1
    assert "sft.yml" in output
    assert "all 20 rows of sums.jsonl: output is empty" in output
    status, output = solar("run", "chain.yml", "--no-check")
    assert status == 1
    assert "sft: datasets[0]: sums.jsonl: no token is trained: in all 20 rows looked at" in output
    assert not list((solar.folder / "run/sft").glob("*.safetensors"))

    (solar.folder / "sums.jsonl").write_text(good)
    status, output = solar("run", "chain.yml")
    assert status == 0, output
    record = json.loads((solar.folder / "run/.solar/stages/sft.json").read_text())
    rows = record["facts"]["proofs"]["training"]["rows"]
    assert rows == [{"read": 20, "trained": 20, "other_texts": 0, "dropped": {}}]
