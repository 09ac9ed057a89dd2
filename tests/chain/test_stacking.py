"""Merges that are a depth up-scaling and nothing else."""

from __future__ import annotations

import copy
import json

import pytest

from solar_plugins.chain.run.stages import stacked_ranges


@pytest.fixture
def config(tmp_path):
    base = {"num_hidden_layers": 8, "torch_dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(base))
    pairs = ([0, 6], [2, 8])
    return {
        "merge_method": "passthrough",
        "slices": [{"sources": [{"model": str(tmp_path), "layer_range": p}]} for p in pairs],
        "dtype": "float32",
    }


def test_a_stack_of_one_model_is_one(config, tmp_path):
    assert stacked_ranges(config) == (str(tmp_path), [[0, 6], [2, 8]])
    assert stacked_ranges({**config, "base_model": str(tmp_path)}) is not None
    del config["dtype"]
    config["base_model"] = str(tmp_path)
    assert stacked_ranges(config) == (str(tmp_path), [[0, 6], [2, 8]])
    config["slices"].append(copy.deepcopy(config["slices"][0]))
    assert stacked_ranges(config) == (str(tmp_path), [[0, 6], [2, 8], [0, 6]])


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("another dtype", lambda c: c.update(dtype="bfloat16")),
        ("a tokenizer", lambda c: c.update(tokenizer_source="base")),
        ("another base", lambda c: c.update(base_model="other")),
        ("a base in parts", lambda c: c.update(base_model={"model": "other"})),
        ("another method", lambda c: c.update(merge_method="linear")),
        ("no slices", lambda c: c.update(slices=None)),
        ("fewer layers", lambda c: c["slices"].pop()),
        ("parameters", lambda c: c["slices"][0]["sources"][0].update(parameters={"scale": 0.5})),
        ("two models", lambda c: c["slices"][0]["sources"][0].update(model="other")),
        ("two sources", lambda c: c["slices"][0]["sources"].append({"model": "other"})),
        ("an unknown model", lambda c: [s["sources"][0].update(model="o/p") for s in c["slices"]]),
        ("a typo", lambda c: c["slices"][0]["sources"][0].update(layer_range="0-6")),
    ],
)
def test_what_asks_for_more_is_left_to_mergekit(config, why, change):
    change(config)
    assert stacked_ranges(config) is None, why
