"""`solar run --download-only` against a Hub on this machine, and again without any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from served_hub import served
from tiny_models import byte_tokenizer, write_tiny_model

pytestmark = pytest.mark.slow

CHAIN = """\
extends: laptop/solar
base_model: tiny/base
output_dir: ./out
stages:
  cpt: {set: {pretraining_dataset: [{path: some/text, split: train, type: pretrain}],
              max_steps: 3, sequence_len: 16}}
  sft_v3: {set: {datasets: [{path: some/rows, split: train, type: solar_plugins.chat}]}}
  sft_v4: null
  sft_v3_v4: null
  cand_1: null
  cand_2: null
  instruct: null
  text_loss: {from: base_model}
  answers_and_pairs: null
  h6: null
"""


def write_hub(folder: Path) -> None:
    write_tiny_model(folder / "models/tiny/base", byte_tokenizer())
    rows = {
        "some/text": [{"text": f"page {n} " * 9} for n in range(50)],
        "some/rows": [{"instruction": f"{n}?", "output": str(n)} for n in range(5)],
    }
    for name, lines in rows.items():
        write(folder / "datasets" / name / "train.jsonl", lines)
    wikitext = folder / "datasets/EleutherAI/wikitext_document_level/wikitext-2-raw-v1"
    write(wikitext / "test.jsonl", [{"page": "a"}])


def write(file: Path, rows: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def download(folder: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "solar_plugins.cli", "run", "chain.yml", "--download-only"]
    known = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    known |= {"HF_HOME": str(folder / "home"), "AXOLOTL_DO_NOT_TRACK": "1", **environment}
    return subprocess.run(
        command, cwd=folder, env=known, capture_output=True, text=True, check=False
    )


def test_what_was_brought_is_found_without_a_hub(tmp_path):
    write_hub(tmp_path / "hub")
    (tmp_path / "chain.yml").write_text(CHAIN)
    with served(tmp_path / "hub") as address:
        online = download(tmp_path, HF_ENDPOINT=address)
    assert online.returncode == 0, online.stderr
    brought = [line.split() for line in online.stdout.splitlines() if not line.startswith("next")]
    assert [line[:2] for line in brought[-4:]] == [
        ["model", "tiny/base"], ["stream", "some/text"], ["data", "some/rows"],
        ["tasks", "text_loss"],
    ]  # fmt: skip
    file = tmp_path / "data/some--text.jsonl"
    assert len(file.read_text().splitlines()) == 18  # 3 steps of 4 x 16 tokens, 6 letters each
    assert "--set data.some/text=data/some--text.jsonl" in online.stdout

    offline = download(tmp_path, HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
