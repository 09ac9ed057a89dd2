"""A chain's `data`: files that are there, under names that a stage reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from solar_plugins.chain.chain_file import load_chain
from solar_plugins.check import check_files, check_settings

CHAIN = "extends: laptop/solar\ndata:\n"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.jsonl").write_text('{"text": "a"}\n')


def test_a_name_that_no_stage_reads_and_a_missing_file_are_found():
    Path("chain.yml").write_text(
        f"{CHAIN}  HuggingFaceFW/fineweb-edu: mine.jsonl\n  held_out_text: mine.jsonl\n"
        "  llm-wizard/alpaca-gpt4-dta: mine.jsonl\n  Intel/orca_dpo_pairs: gone.jsonl\n"
    )
    assert [f.text for f in check_files(["chain.yml"], False) if f.path.startswith("data")] == [
        "chain.yml:5:3: data.llm-wizard/alpaca-gpt4-dta: no stage reads a data set "
        "'llm-wizard/alpaca-gpt4-dta'. Did you mean 'llm-wizard/alpaca-gpt4-data'?",
        "chain.yml:6:3: data.Intel/orca_dpo_pairs: no such file or folder: gone.jsonl. "
        "Paths count from the working directory.",
    ]


def test_so_is_what_the_command_line_gives():
    Path("chain.yml").write_text(f"{CHAIN}  llm-wizard/alpaca-gpt4-dta: mine.jsonl\n")
    chain = load_chain("chain.yml", overrides={"data.Intel/orca_dpo_pairs": "gone.jsonl"})
    assert [finding.text for finding in check_settings(chain)] == [
        "--set: data.Intel/orca_dpo_pairs: no such file or folder: gone.jsonl. "
        "Paths count from the working directory."
    ]


def test_a_data_set_that_has_moved_is_named_as_it_is_called_today():
    old, today = "c-s-ale/alpaca-gpt4-data", "llm-wizard/alpaca-gpt4-data"
    Path("chain.yml").write_text(f"{CHAIN}  {old}: mine.jsonl\n")
    assert [f.text for f in check_files(["chain.yml"], False) if f.path.startswith("data")] == [
        f"chain.yml:3:3: data.{old}: no stage reads a data set {old!r}. It is called {today} today."
    ]
    Path("sft.yml").write_text(
        f"base_model: a/b\noutput_dir: ./out\ndatasets:\n  - {{path: {old}, type: alpaca}}\n"
    )
    (found,) = (f for f in check_files(["sft.yml"], False) if f.path.endswith("path"))
    assert (found.is_note, found.text) == (
        True,
        f"sft.yml:4:6: datasets[0].path: note: {old} is called {today} on the Hub today. "
        "Write that name.",
    )
