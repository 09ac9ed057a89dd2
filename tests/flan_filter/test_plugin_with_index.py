"""The plugin on rows without task names: the index decides, and the cache knows which one."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import benchmark_twins
import pytest
from click.testing import CliRunner
from test_flan_plugin import recipe, tokenised

from solar_plugins.cli import cli
from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow

ITEMS = benchmark_twins.items(0.003, 8)
FIRST, SECOND = (row["question"] for row in ITEMS["gsm8k"][:2])


def index_of(folder: Path, questions: list[str]) -> Path:
    rows = [row for row in ITEMS["gsm8k"] if row["question"] in questions]
    benchmark_twins.write(folder / "b", {"gsm8k": rows})
    path = folder / "flan.index"
    done = CliRunner().invoke(cli, ["flan-index", "--from", str(folder / "b"), "--out", str(path)])
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture
def nameless(tmp_path: Path) -> Path:
    prompts = [f"Q: {FIRST}", "Is rain wet?", f"{SECOND} Think.", "Name a bird.", "Count to two."]
    rows = [
        {"id": f"flan.{i}", "system_prompt": "", "question": prompt, "response": f"Answer {i}."}
        for i, prompt in enumerate(prompts)
    ]
    path = tmp_path / "orca.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def keys_of(tiny_model: Path, tmp_path: Path, data: Path, **block) -> dict:
    return recipe(tiny_model, tmp_path, data, flan_filter={"datasets": [str(data)], **block})


def test_rows_without_names_go_and_another_index_is_another_cache(tiny_model, tmp_path, nameless):
    one = index_of(tmp_path / "one", [FIRST])
    both = index_of(tmp_path / "both", [FIRST, SECOND])
    texts, key_one = tokenised(keys_of(tiny_model, tmp_path, nameless, index=str(one)), tmp_path)
    assert len(texts) == 4
    assert not any(FIRST in text for text in texts)
    assert any(SECOND in text for text in texts)

    texts, key_both = tokenised(keys_of(tiny_model, tmp_path, nameless, index=str(both)), tmp_path)
    assert len(texts) == 3
    assert key_both != key_one

    # The content of the index counts, not where it lies.
    moved = both.rename(tmp_path / "moved.index")
    texts, key_moved = tokenised(
        keys_of(tiny_model, tmp_path, nameless, index=str(moved)), tmp_path
    )
    assert key_moved == key_both
    audit = json.loads((tmp_path / "out" / "solar" / "flan_filter_audit.json").read_text())
    assert audit["datasets"][0]["removed"] == {"cot_gsm8k": {"instance_text": 2}}
    page = (tmp_path / "out" / "solar" / "flan_filter_audit.md").read_text(encoding="utf-8")
    assert "| `cot_gsm8k` | instance_text | 2 | 100% |" in page
    assert audit["datasets"][0]["recall_ceilings"]["cot_gsm8k_ii"] == 0.778
    assert "The index holds nothing of" in page


def test_of_several_processes_one_filters_and_the_others_wait(tmp_path, nameless):
    from datasets import load_dataset

    from solar_plugins.flan_filter.args import parse
    from solar_plugins.flan_filter.filtered_copy import filtered_copy

    index = str(index_of(tmp_path / "one", [FIRST]))
    block = parse({"datasets": [str(nameless)], "index": index})
    order = (tmp_path / "copies", str(nameless), "digest", block)
    loads = []

    def load():
        loads.append(1)
        return load_dataset("json", data_files=str(nameless), split="train")

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(filtered_copy, load, *order) for _ in range(4)]
        done = [one.result() for one in work]
    assert sorted(worked for _, _, worked in done) == [False, False, False, True]
    assert loads == [1]
    assert len({json.dumps(audit) for _, audit, _ in done}) == 1


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({}, "build an index (solar flan-index --from benchmarks --out flan.index)"),
        ({"index": "/nowhere/flan.index"}, "flan_filter.index: /nowhere/flan.index is not there"),
        ({"decontaminate": True}, "flan_filter: decontaminate needs an index."),
        ({"prompt_column": {"other": "text"}}, "prompt_column names 'other'"),
    ],
)
def test_what_is_missing_is_named_in_one_line(tiny_model, tmp_path, nameless, block, said):
    with pytest.raises(SolarError) as error:
        tokenised(keys_of(tiny_model, tmp_path, nameless, **block), tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"tasks": ["cot_gsm"]}, "knows the task 'cot_gsm'. Did you mean 'cot_gsm8k'?"),
        ({"tasks": "drop:2.0.0"}, "no row is of task 'drop:2.0.0'"),
        ({"prompt_column": "response"}, "none of the 5 rows"),
        ({"prompt_column": "questoin"}, "Did you mean 'question'?"),
        ({"decontaminate": True}, "holds no test split"),
    ],
)
def test_what_meets_nothing_is_an_error(tiny_model, tmp_path, nameless, block, said):
    index = index_of(tmp_path / "one", [FIRST])
    with pytest.raises(SolarError) as error:
        tokenised(keys_of(tiny_model, tmp_path, nameless, index=str(index), **block), tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [("cut.parquet", b"PAR1 and no more"), ("cut.jsonl.gz", b"\x1f\x8b\x08\x00cut")],
)
def test_a_damaged_file_is_named_in_one_line(tiny_model, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    index = index_of(tmp_path / "one", [FIRST])
    with pytest.raises(SolarError, match=f"{name} is damaged or mixed: ") as error:
        tokenised(keys_of(tiny_model, tmp_path, tmp_path / name, index=str(index)), tmp_path)
    assert "\n" not in str(error.value)
