"""A chain whose `data` stages make the FLAN index and the math sets, from local copies."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from model_files import write_model
from pyarrow import parquet

sys.path.append(str(Path(__file__).parent.parent / "flan_filter"))
sys.path.append(str(Path(__file__).parent.parent / "synth_math"))

import benchmark_twins
import math_world

from solar_plugins.chain import data_stage
from solar_plugins.chain.chain_file import load_chain
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.check import check_files
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import index_file
from solar_plugins.plan.stages import GIB, Machine, plan_chain
from solar_plugins.sharing.trust.declared import declared_in

pytestmark = pytest.mark.slow

CHAIN = """\
name: small
base_model: base
output_dir: ./run
stages:
  flan_index: {data: flan_index.yml}
  synth_math: {data: synth_math.yml}
  sft: {train: sft.yml, after: flan_index}
  dpo: {train: dpo.yml, from: sft, after: synth_math}
"""
SFT = """\
base_model: base
output_dir: ./run/sft
plugins: [solar_plugins.FlanFilterPlugin]
flan_filter: {datasets: [rows.jsonl], index: ./run/flan_index/flan.index}
datasets: [{path: rows.jsonl, ds_type: json, type: alpaca_w_system.load_open_orca}]
micro_batch_size: 1
num_epochs: 1
learning_rate: 1.0e-3
sequence_len: 64
"""
DPO = """\
base_model: ./run/sft
output_dir: ./run/dpo
plugins: [solar_plugins.StepwiseDPOPlugin]
rl: dpo
sdpo:
  steps:
    - datasets:
        - path: ./run/synth_math/math_alignment.jsonl
          type: {prompt_format: "### User: {prompt}"}
micro_batch_size: 1
num_epochs: 1
learning_rate: 1.0e-3
sequence_len: 64
"""


def write_chain(folder: Path) -> None:
    """The chain, its stage files, and local copies of what they read, in `folder`."""
    benchmark_twins.write(folder / "benchmarks_here", benchmark_twins.items(0.01))
    sources = math_world.write_world(folder / "math_here")
    sources["math_test"] = sources["math"]
    sources = {key: f"./{path.relative_to(folder)}" for key, path in sources.items()}
    index = {"generator": "flan_index", "sources": ["./benchmarks_here"]}
    math = {"generator": "synth_math", "seed": 1, "alignment_rows": 3, **sources}
    files = {"flan_index.yml": index, "synth_math.yml": math}
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content))
    row = {"id": "cot.1", "system_prompt": "", "question": "1+1?", "response": "2"}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "sft.yml").write_text(SFT)
    (folder / "dpo.yml").write_text(DPO)
    (folder / "chain.yml").write_text(CHAIN)


@pytest.fixture
def chain(tmp_path, monkeypatch) -> Path:
    write_chain(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def until(solar, stage: str, *more: str) -> tuple[int, str]:
    return solar("run", "chain.yml", "--until", stage, *more)


def test_both_are_made_verified_and_not_made_twice(solar):
    write_chain(solar.folder)
    for stage in ("flan_index", "synth_math"):
        status, output = until(solar, stage)
        assert status == 0, output
    run = solar.folder / "run"
    index = index_file.read_index(run / "flan_index" / data_stage.FLAN_INDEX)
    assert "cot_gsm8k" in index.tasks
    assert len((run / "synth_math" / "math_alignment.jsonl").read_text().splitlines()) == 3
    records = {name: RunFolder(run).read_record(name) for name in ("flan_index", "synth_math")}
    assert records["flan_index"].facts["digest"] == index.digest
    assert records["synth_math"].facts["math_alignment.jsonl"] == 3
    assert not RunFolder(run).parts("flan_index").exists()
    _, output = solar("run", "chain.yml", "--until", "dpo", "--dry-run")
    assert [line.split()[2] for line in output.splitlines()] == ["skip", "skip", "run", "wait"]


def test_a_changed_source_or_setting_makes_it_again(solar):
    write_chain(solar.folder)
    assert until(solar, "synth_math")[0] == 0
    more = "--set", "synth_math.alignment_rows=2"
    status, output = until(solar, "synth_math", *more)
    assert status == 0, output
    assert "recipe.alignment_rows: 3 -> 2" in output
    assert len((solar.folder / "run/synth_math/math_alignment.jsonl").open().readlines()) == 2
    (solar.folder / "math_here" / "gsm8k" / "more.txt").write_text("new")
    _, output = until(solar, "synth_math", *more, "--dry-run")
    assert "again" in output
    assert "gsm8k" in output


def test_a_file_that_was_changed_since_is_refused(solar):
    write_chain(solar.folder)
    assert until(solar, "flan_index")[0] == 0
    index = solar.folder / "run" / "flan_index" / data_stage.FLAN_INDEX
    index.write_bytes(index.read_bytes()[:-1])
    status, output = until(solar, "flan_index")
    assert status == 1
    assert "delete run/flan_index and solar run makes the stage again" in output


def test_a_source_that_is_not_there_is_the_stages_one_line(solar):
    write_chain(solar.folder)
    status, output = until(solar, "flan_index", "--set", "flan_index.sources=[./nowhere]")
    assert status == 1
    assert "./nowhere: no such folder" in output
    assert "Traceback" not in output


def test_what_is_not_whole_does_not_pass(chain):
    recipe = yaml.safe_load(Path("synth_math.yml").read_text())
    data_stage.generate(recipe, Path("made"))
    data_stage.check(recipe, Path("made"))
    with Path("made/math_alignment.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(SolarError, match=r"math_alignment\.jsonl: not as its data card has it"):
        data_stage.check(recipe, Path("made"))


def test_flan_rows_of_a_stopped_attempt_are_kept(chain):
    recipe = {"generator": "flan_index", "sources": ["./flan_here", "./nowhere"]}
    Path("flan_here").mkdir()
    prompt = "Come up with a question and reasoning for this answer: 72"
    row = {"inputs": prompt, "_task_name": "cot_gsm8k_ii", "_template_type": "zs_opt"}
    parquet.write_table(pa.Table.from_pylist([row]), "flan_here/part.parquet")
    with pytest.raises(SolarError, match="no such folder"):
        data_stage.generate(recipe, Path("made"), Path("parts"))
    (kept,) = Path("parts").iterdir()
    file = Path("flan_here/part.parquet")
    content = file.read_bytes()
    rows = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    # Its rows are not read a second time: they could not be.
    file.write_bytes(content[:4] + bytes(rows - 4) + content[rows:])
    recipe["sources"].pop()
    facts = data_stage.generate(recipe, Path("made"), Path("parts"))
    assert facts["rows_read"] == {"./flan_here": 1}
    assert not kept.exists()


def test_check_wants_them_made_before(chain):
    assert [f.text for f in check_files(["chain.yml"], with_axolotl=False)] == []
    text = Path("chain.yml").read_text().replace(", after: flan_index", "")
    Path("chain.yml").write_text(text)
    (found,) = check_files(["chain.yml"], with_axolotl=False)
    assert found.path == "flan_filter.index"
    assert "Write `after: flan_index` at this stage of the chain." in found.message


@pytest.mark.parametrize(
    ("file", "old", "new", "text"),
    [
        (
            "flan_index.yml", "sources", "source",
            "source: unknown key. Known: sources. Did you mean 'sources'?",
        ),
        (
            "flan_index.yml", "- ./benchmarks_here", "  ./benchmarks_here",
            "sources: './benchmarks_here' is not a list. Write sources: "
            "[benchmarks].",
        ),
        (
            "synth_math.yml", "alignment_rows: 3", "alignment_rows: 0",
            "alignment_rows: 0. Input should be greater than or equal to 1. Write "
            "alignment_rows: 20100.",
        ),
        (
            "synth_math.yml", "generator: synth_math", "generator: synthmath",
            ". Did you mean 'synth_math'?",
        ),
    ],
)  # fmt: skip
def test_check_reads_their_files(chain, file, old, new, text):
    content = Path(file).read_text()
    assert old in content
    Path(file).write_text(content.replace(old, new))
    (found,) = check_files(["chain.yml"], with_axolotl=False)
    assert found.text.endswith(text)


def test_plan_counts_what_is_asked_for_and_then_what_is_there(chain):
    sizes = {"hidden_size": 4, "intermediate_size": 6, "vocab_size": 8, "num_attention_heads": 2}
    write_model(Path("base"), config={"model_type": "llama", **sizes})
    machine = Machine(gpus=1, gpu_bytes=GIB)

    def rows() -> int:
        return {s.stage: s.rows for s in plan_chain("chain.yml", machine).stages}["dpo"]

    assert rows() == 3
    recipe = yaml.safe_load(Path("synth_math.yml").read_text())
    data_stage.generate({**recipe, "alignment_rows": 2}, Path("run/synth_math"))
    assert rows() == 2


def test_a_chains_seed_is_for_what_is_drawn(chain):
    from solar_plugins.chain.resolve import resolve

    Path("chain.yml").write_text(f"seed: 7\n{CHAIN}")
    loaded = load_chain("chain.yml")
    seeds = {name: resolve(loaded, stage).get("seed") for name, stage in loaded.stages.items()}
    assert seeds == {"flan_index": None, "synth_math": 7, "sft": 7, "dpo": 7}


def test_a_pack_says_what_they_download(chain):
    math = {"generator": "synth_math", "seed": 1}
    index = {"generator": "flan_index", "sources": ["benchmarks", "Open-Orca/FLAN"]}
    test = {"generator": "contamination_test", "model": "a/m", "reference": "a/r"}
    files = {
        "math.yml": yaml.safe_dump(math).encode(),
        "index.yml": yaml.safe_dump(index).encode(),
        "test.yml": yaml.safe_dump({**test, "benchmarks": {"arc": "allenai/ai2_arc"}}).encode(),
    }
    declared = declared_in(files, [])
    assert [*declared.datasets] == [
        *("meta-math/MetaMathQA", "EleutherAI/hendrycks_math", "openai/gsm8k"),
        *("benchmarks", "Open-Orca/FLAN", "allenai/ai2_arc"),
    ]
    assert "downloads  model a/m" in declared.lines()
    assert "downloads  model a/r" in declared.lines()
