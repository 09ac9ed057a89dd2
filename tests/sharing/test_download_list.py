"""What `solar run --download-only` would bring of the shipped chains, without bringing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from solar_plugins import project
from solar_plugins.chain.chain_file import load_chain
from solar_plugins.errors import SolarError
from solar_plugins.sharing import download

ROOT = Path(__file__).parents[2]
MISTRAL = "mistralai/Mistral-7B-v0.1@26bca36bde8333b5d7f72e9ed20ccda6a618af24"


def listed(chain):
    return {
        str(thing)
        for stage in chain.order()
        if stage.kind != "evaluate"
        for thing in download.things(chain, stage)
    }


def test_the_full_chain():
    with project.working_in(ROOT):
        chain = load_chain("recipes/solar.yml")
        assert [stage.name for stage in download.makers(chain, chain.order())] == [
            "flan_index",
            "synth_math",
        ]
        assert listed(chain) == {
            f"model      {MISTRAL}",
            "data set   HuggingFaceFW/fineweb-edu@87f09149ef4734204d70ed1d046ddc9ca3f2b8f9 "
            "sample-10BT",
            "data set   llm-wizard/alpaca-gpt4-data@88ef836e16a1d6c0658490cc521184c269c46449",
            "data set   Open-Orca/OpenOrca",
            "data set   meta-math/MetaMathQA@aa4f34d3d2d3231299b5b03d9b3e5a20da45aa18",
            "data set   Intel/orca_dpo_pairs",
            "data set   allenai/ultrafeedback_binarized_cleaned",
        }


def test_what_is_here_or_made_here_is_not_brought():
    own = {"data.benchmarks": "./mine", "data.HuggingFaceFW/fineweb-edu": "./mine/text.jsonl"}
    with project.working_in(ROOT):
        chain = load_chain("recipes/solar.yml", overrides=own)
        assert not [thing for thing in listed(chain) if "fineweb" in thing]
        assert [stage.name for stage in download.makers(chain, chain.order())] == ["synth_math"]
        tiny = load_chain("recipes/tiny/paper.yml")
        assert listed(tiny) == set()
        assert download.makers(tiny, tiny.order()) == []


def test_an_address_is_refused():
    rows = download.DataSet("json", None, None, "https://example.org/rows.jsonl")
    with pytest.raises(SolarError, match="json: an address, which `datasets` reads with a network"):
        rows.bring(lambda size: None)
