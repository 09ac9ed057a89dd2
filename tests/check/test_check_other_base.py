"""`solar check --base-model`: what does not fit another base, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from solar_plugins.check import check_files

pytestmark = pytest.mark.slow

CHAIN = """\
name: small
base_model: some/base
output_dir: ./outputs/small
stages:
  up: {merge: up.yml}
  cpt: {train: cpt.yml}
"""
CPT = """\
base_model: some/base
plugins: [solar_plugins.DepthUpScalingPlugin, solar_plugins.StagePlugin]
depth_up_scaling: {remove_layers: 8}
datasets: [{path: some/data, type: completion}]
sequence_len: 2048
special_tokens: {pad_token: "<unk>"}
output_dir: ./outputs/small/cpt
"""
UP = """\
merge_method: passthrough
slices:
  - sources: [{model: some/base, layer_range: [0, 24]}]
  - sources: [{model: some/base, layer_range: [8, 32]}]
dtype: bfloat16
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("chain.yml", CHAIN), ("cpt.yml", CPT), ("up.yml", UP)):
        Path(name).write_text(text)

    def base(layers: int, positions: int) -> str:
        from tokenizers import Tokenizer, models
        from transformers import PreTrainedTokenizerFast

        tokens = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 2}, unk_token="a"))
        PreTrainedTokenizerFast(
            tokenizer_object=tokens, bos_token="<s>", eos_token="</s>"
        ).save_pretrained("base")
        config = {"num_hidden_layers": layers, "max_position_embeddings": positions}
        Path("base/config.json").write_text(json.dumps({"model_type": "llama", **config}))
        return "./base"

    return base


def told(file, base):
    found = check_files([file], with_axolotl=False, base_model=base)
    return {(Path(f.file).name, f.path): f for f in found}


def test_what_follows_by_itself_is_a_note(files):
    found = told("chain.yml", files(36, 512))
    assert all(finding.is_note for finding in found.values())
    assert found["cpt.yml", "sequence_len"].message.endswith("512 are used.")
    assert "pads instead" in found["cpt.yml", "special_tokens.pad_token"].message
    assert told("cpt.yml", "./base")["cpt.yml", "sequence_len"].is_note


def test_a_base_with_too_few_layers_is_a_finding(files):
    found = told("chain.yml", files(12, 4096))
    wrong = [place for place, finding in found.items() if not finding.is_note]
    assert wrong == [("cpt.yml", "depth_up_scaling.remove_layers")]  # up.yml follows


def test_a_base_that_is_not_here_is_said(files):
    (place,) = [p for p in told("chain.yml", "Owner/Model-7B") if p[1] == "base_model"]
    assert place[0] == "chain.yml"
    assert not told("chain.yml", "./gone")["chain.yml", "base_model"].is_note


def test_a_stack_of_what_is_trained_first_follows_the_depth_as_well(files):
    chain = CHAIN.replace("{merge: up.yml}", "{merge: up.yml, from: first}")
    Path("chain.yml").write_text(chain + "  first: {train: first.yml}\n")
    kept = [line for line in CPT.splitlines() if "epth" not in line and "sequence" not in line]
    Path("first.yml").write_text("\n".join(kept).replace("small/cpt", "small/first"))
    assert not [p for p in told("chain.yml", files(20, 4096)) if p[0] == "up.yml"]
    found = told("chain.yml", files(2, 4096))
    assert found["chain.yml", "stages.up.from"].message.startswith("base_model: 2 layers.")


def test_a_chain_that_makes_its_own_base_says_what_becomes_of_another():
    root = Path(__file__).parents[2]
    found = check_files([root / "recipes/tiny/solar.yml"], False, "Owner/Model-7B")
    (note,) = (f.message for f in found if f.path == "base_model" and "of its own" in f.message)
    assert note.startswith("this chain makes a base of its own (./outputs/tiny/world/init). Owner/")
    assert note.endswith("and stage base trains it on what stage world makes.")
