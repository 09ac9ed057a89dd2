"""`solar run --until "SFT v2"`: one row of the paper's tables, its model and its scores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from solar_process import Solar

sys.path.append(str(Path(__file__).parent.parent / "evaluation"))

import tiny_benchmarks

pytestmark = pytest.mark.slow

DATA = """\
generator: untrained_model
architecture: llama
tokenizer: ./base
seed: 1
config: {hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 1}
"""
CHAIN = """\
name: small
base_model: base
output_dir: ./run
stages:
  sft_v1: {merge: v1.yml}
  sft_v2: {merge: v2.yml}
  h6: {evaluate: h6.yml, from: [base_model, sft_v1, sft_v2]}
"""
STACK = """\
slices:
  - sources: [{model: base, layer_range: [0, 2]}]
  - sources: [{model: base, layer_range: [0, LAST]}]
merge_method: passthrough
dtype: float32
"""


def write(folder: Path) -> None:
    tiny_benchmarks.write_model(folder / "base")
    tasks = tiny_benchmarks.write_tasks(folder / "tasks")
    tiny_benchmarks.write_config(folder / "h6.yml", tasks, ["tiny_arc", "tiny_loss"], model="hf")
    for name, last in (("v1", 1), ("v2", 2)):
        (folder / f"{name}.yml").write_text(STACK.replace("LAST", str(last)))
    (folder / "chain.yml").write_text(CHAIN)


@pytest.fixture
def solar(server: Any, tmp_path: Path) -> Solar:
    making = server.Process(target=write, args=(tmp_path,))
    making.start()
    making.join()
    assert making.exitcode == 0
    return Solar(server, tmp_path)


def results_in(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (folder / "run/h6").glob("*.json")}


def test_rows_come_one_by_one_and_then_all(solar):
    def run(*arguments: str) -> str:
        status, output = solar("run", "chain.yml", *arguments)
        assert status == 0, output
        return output

    run("--until", "SFT v1")
    first = results_in(solar.folder)
    assert list(first) == ["sft_v1"]
    assert not (solar.folder / "run/sft_v2").exists()

    asked = run("--until", "sft V2", "--dry-run")
    assert [line.split()[:3] for line in asked.splitlines()] == [
        ["sft_v2", "merge", "run"],
        ["h6", "evaluate", "wait"],
    ]
    assert "h6: not measured yet: sft_v2; the old output is kept at" in run("--until", "sft V2")
    second = results_in(solar.folder)
    assert sorted(second) == ["sft_v1", "sft_v2"]
    assert second["sft_v1"] == first["sft_v1"], "kept, with the seconds that it took"
    assert second["sft_v2"] != second["sft_v1"]

    run()
    whole = results_in(solar.folder)
    assert sorted(whole) == ["base_model", "sft_v1", "sft_v2"]
    assert {name: whole[name] for name in second} == second

    again = run("--until", "SFT v1")
    assert again.count("done: already") == 2
    assert results_in(solar.folder) == whole


def test_chains_that_share_an_evaluation_leave_each_other_their_results(solar):
    one = CHAIN.replace("[base_model, sft_v1, sft_v2]", "sft_v2").replace("  sft_v1", "# sft_v1")
    (solar.folder / "one.yml").write_text(one)
    assert solar("run", "chain.yml")[0] == 0
    whole = results_in(solar.folder)
    status, output = solar("run", "one.yml")
    assert (status, output.count("done: already")) == (0, 2), output

    (solar.folder / "v2.yml").write_text(STACK.replace("LAST", "1"))
    status, output = solar("run", "one.yml")
    assert status == 0, output
    changed = results_in(solar.folder)
    assert changed.keys() == whole.keys()
    assert [name for name in whole if changed[name] != whole[name]] == ["sft_v2"]
    status, output = solar("run", "chain.yml")
    assert (status, output.count("done: already")) == (0, 3), output


def test_scores_on_other_data_are_not_kept(solar):
    (solar.folder / "data.yml").write_text(DATA)
    chain = CHAIN.replace("  h6: {", "  data: {data: data.yml}\n  h6: {after: data, ")
    (solar.folder / "chain.yml").write_text(chain)
    assert solar("run", "chain.yml", "--until", "SFT v1")[0] == 0
    first = results_in(solar.folder)
    (solar.folder / "data.yml").write_text(DATA.replace("seed: 1", "seed: 2"))
    status, output = solar("run", "chain.yml", "--until", "SFT v1")
    assert status == 0, output
    assert "h6: changed: from.data: " in output
    assert results_in(solar.folder) != first, "measured again, in other seconds"


def test_a_row_that_no_stage_makes_is_named(solar):
    status, output = solar("run", "chain.yml", "--until", "STF v2")
    assert (status, output.strip()) == (
        1,
        "Error: --until: chain.yml has no stage 'STF v2'. Did you mean 'SFT v2'? "
        "Its stages: sft_v1, sft_v2, h6; its rows of the paper's tables: Mistral 7B, SFT v1, "
        "SFT v2.",
    )
