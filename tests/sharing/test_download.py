"""`solar run --download-only`: afterwards a run without network finds all that its chain names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import hub_server
import pytest
import yaml
from tiny_models import byte_tokenizer, write_tiny_model

pytestmark = pytest.mark.slow

CHAIN = """\
name: small
base_model: open/base
output_dir: ./run
stages:
  cpt: {train: cpt.yml}
  sft: {train: sft.yml, from: cpt}
  pairs: {train: pairs.yml, from: sft}
  scores: {evaluate: scores.yml, from: [base_model, pairs]}
"""
COMMON = {
    "base_model": "x",
    "seed": 7,
    "sequence_len": 400,
    "micro_batch_size": 2,
    "max_steps": 2,
    "optimizer": "adamw_torch",
    "learning_rate": 1e-3,
    "bf16": False,
    "tf32": False,
    "special_tokens": {"pad_token": "</s>"},
    "save_strategy": "no",
    "dataloader_num_workers": 0,
    "dataloader_pin_memory": False,
}
RECIPES = {
    "cpt": {
        "pretraining_dataset": [{"path": "open/text", "name": "small", "type": "pretrain"}],
        "streaming": True,
        "sample_packing": False,
    },
    "sft": {"datasets": [{"path": "open/sums", "type": "alpaca"}]},
    "pairs": {
        "rl": "dpo",
        "plugins": ["solar_plugins.StepwiseDPOPlugin"],
        "sdpo": {"steps": [{"datasets": [{"path": "open/liked", "type": "chatml.intel"}]}]},
    },
}
TASK = {
    "task": "of_hub",
    "dataset_path": "open/items",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": ["yes", "no"],
    "doc_to_target": 0,
    "metric_list": [{"metric": "acc"}],
}
LIKED = {"system": "", "question": "1?", "chosen": "yes, it is", "rejected": "no"}
ROWS = {
    "open/text": (
        "small/train.jsonl",
        [{"text": f"page {n} of the book"} for n in range(40)],
    ),
    "open/sums": (
        "data/train.jsonl",
        [{"instruction": f"{n}+1?", "input": "", "output": f"{n + 1}"} for n in range(20)],
    ),
    "open/liked": ("train.jsonl", [LIKED | {"question": f"{n}?"} for n in range(20)]),
    "open/items": ("test.jsonl", [{"question": f"{n}?"} for n in range(8)]),
}
CARD = """\
---
configs:
- {config_name: small, data_files: [{split: train, path: small/train.jsonl}]}
- {config_name: big, data_files: [{split: train, path: big/train.jsonl}]}
---
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny_model("base", byte_tokenizer(), max_position_embeddings=512)
    files = {path.name: path.read_bytes() for path in Path("base").iterdir()}
    files["consolidated.safetensors"] = files["pytorch_model.bin"] = b"not wanted"
    monkeypatch.setitem(hub_server.FILES, "open/base", files)
    monkeypatch.setitem(hub_server.MODELS, "open/base", {"gated": False, "sha": "f" * 40})
    for number, (name, (file, rows)) in enumerate(ROWS.items()):
        data = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        of_set = {file: data}
        if name == "open/text":
            of_set |= {"README.md": CARD.encode(), "big/train.jsonl": data * 9}
        monkeypatch.setitem(hub_server.FILES, name, of_set)
        facts = {"gated": False, "sha": f"{number}" * 40}
        monkeypatch.setitem(hub_server.DATASETS, name, facts)
    Path("tasks").mkdir()
    Path("tasks/of_hub.yaml").write_text(yaml.safe_dump(TASK))
    scores = {"tasks": ["of_hub"], "include_path": "tasks", "batch_size": 4}
    Path("scores.yml").write_text(yaml.safe_dump(scores))
    for name, recipe in RECIPES.items():
        text = yaml.safe_dump({**COMMON, "output_dir": f"./run/{name}", **recipe})
        Path(f"{name}.yml").write_text(text)
    Path("chain.yml").write_text(CHAIN)
    hub_server.SENT.clear()
    with hub_server.hub() as address:
        yield address


def solar(address, *words, offline=False):
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    env |= {"HF_ENDPOINT": address, "HF_HOME": os.path.abspath("hf"), "COLUMNS": "200"}
    env |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "1" if offline else "0"}
    command = [sys.executable, "-m", "solar_plugins.cli", "run", "chain.yml", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def sent():
    names = [path.partition("?")[0].partition("/resolve/") for path in hub_server.SENT]
    hub_server.SENT.clear()
    return [f"{name[1:].removeprefix('datasets/')}/{at.partition('/')[2]}" for name, _, at in names]


def test_a_run_without_network_finds_what_was_downloaded(hub):
    hub_server.FILES["open/liked"], liked = {}, hub_server.FILES["open/liked"]
    first = solar(hub, "--download-only")
    assert first.returncode == 1, first.stdout + first.stderr
    assert "1 missing; the same command downloads only what is not here yet" in first.stderr
    assert "not here: open/liked: " in first.stderr
    every = sent()
    assert sorted(set(every)) == sorted(every)
    whole = {"open/base/model.safetensors", "open/text/small/train.jsonl"}
    assert whole <= {*every}
    assert not [
        name for name in every if "consolidated" in name or "big/" in name or ".bin" in name
    ]

    hub_server.FILES["open/liked"] = liked
    again = solar(hub, "--download-only")
    assert again.returncode == 0, again.stdout + again.stderr
    lines = again.stdout.splitlines()
    assert len(lines) == 5, again.stdout
    assert lines[0].startswith(f"data set   open/text@{'0' * 40} small: 0.0 MB, for cpt")
    assert lines[1] == f"model      open/base@{'f' * 40}: 0.2 MB, for cpt, scores"
    assert sent() == ["open/liked/train.jsonl"]
    assert not Path("run/cpt").exists()

    nowhere = "http://127.0.0.1:9"
    listed = solar(nowhere, "--download-only", offline=True)
    assert listed.returncode == 0, listed.stdout + listed.stderr
    run = solar(nowhere, offline=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert Path("run/scores/pairs.json").is_file()
