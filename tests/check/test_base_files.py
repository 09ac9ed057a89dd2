"""Bases that are no base for a recipe: said before anything is loaded, one line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from solar_plugins.check import check_files

pytestmark = pytest.mark.slow

RECIPE = """\
base_model: some/base
plugins: [solar_plugins.DepthUpScalingPlugin, solar_plugins.StagePlugin]
datasets: [{path: some/data, type: completion}]
sequence_len: 64
micro_batch_size: 1
num_epochs: 1
learning_rate: 1e-4
output_dir: ./outputs/cpt
"""
LLAMA = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 8,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "vocab_size": 4,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A base without a fault."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("whole") / "base"
    words = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", "<pad>"])}
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, "<unk>")),
        **{"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"},
    ).save_pretrained(folder)
    torch.manual_seed(0)
    settings = {key: value for key, value in LLAMA.items() if key != "model_type"}
    LlamaForCausalLM(LlamaConfig(**settings)).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


@pytest.fixture
def base(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cpt.yml").write_text(RECIPE)
    Path("base").mkdir()
    for file in whole.iterdir():
        (Path("base") / file.name).write_bytes(file.read_bytes())
    return Path("base")


def change(base, **config):
    content = json.loads((base / "config.json").read_text()) | config
    (base / "config.json").write_text(json.dumps(content))


def told(with_axolotl=False):
    found = check_files(["cpt.yml"], with_axolotl, base_model="./base")
    return [f for f in found if f.path.startswith(("base_model", "depth_up_scaling"))]


def test_a_whole_base_has_no_finding(base):
    assert told(with_axolotl=True) == []


def without(*names):
    return lambda base: [(base / name).unlink() for name in names]


QUICK = {
    "no config": (without("config.json"), "./base has no config.json. Name the folder of a whole"),
    "GGUF": (
        lambda base: [without("config.json")(base), (base / "q4.gguf").touch()],
        "A GGUF file cannot be trained.",
    ),
    "broken config": (lambda base: (base / "config.json").write_text("{"), "not readable as JSON"),
    "unknown architecture": (
        lambda base: change(base, model_type="foo"),
        "./base is a 'foo' model, which transformers does not know as a causal language model.",
    ),
    "encoder and decoder": (lambda base: change(base, model_type="t5"), "is a 't5' model"),
    "code of its own": (
        lambda base: change(base, model_type="foo", auto_map={"AutoConfig": "a.B"}),
        "brings code of its own (a.B), which is not run unasked. Read it, then write "
        "`trust_remote_code: true`.",
    ),
    "no tokenizer": (without("tokenizer.json"), "./base has no tokenizer (tokenizer.json)."),
    "layers that share": (
        lambda base: change(base, model_type="gemma3n_text", num_kv_shared_layers=4),
        "num_kv_shared_layers",
    ),
    "up-scaled already": (
        lambda base: change(
            base,
            depth_up_scaling={"base_num_hidden_layers": 6, "layer_map": [0] * 8},
        ),
        "is depth up-scaled already (6 -> 8 layers)",
    ),
    "first layers of another kind": (
        lambda base: change(base, model_type="deepseek_v3", first_k_dense_replace=5),
        "the first 5 layers of this base differ from the rest (first_k_dense_replace)",
    ),
}

FULL = {
    "encoder": (lambda base: change(base, model_type="bert"), "bert is an encoder"),
    "no weights": (without("model.safetensors"), "Name a folder with a whole model"),
    "quantised": (
        lambda base: change(base, quantization_config={"quant_method": "gptq"}),
        "its weights are quantised already (gptq)",
    ),
}


@pytest.mark.parametrize("name", QUICK)
def test_a_base_that_cannot_be_read_is_a_finding(base, name):
    spoil, said = QUICK[name]
    spoil(base)
    (found,) = told()
    assert said in found.message
    assert not found.is_note


@pytest.mark.parametrize("name", FULL)
def test_a_base_that_cannot_be_up_scaled_is_a_finding_of_the_full_check(base, name):
    spoil, said = FULL[name]
    spoil(base)
    assert told() == []
    (found,) = told(with_axolotl=True)
    assert said in found.message
    assert not found.is_note


def test_a_recipe_that_allows_it_or_names_a_tokenizer_is_fine(base):
    change(base, model_type="foo", auto_map={"AutoConfig": "a.B"})
    without("tokenizer.json")(base)
    more = "trust_remote_code: true\ntokenizer_config: some/other\n"
    Path("cpt.yml").write_text(RECIPE + more)
    assert told() == []


def test_code_of_a_base_is_not_run_by_a_check(base):
    (base / "evil.py").write_text("open('ran', 'w').close()\n")
    change(base, model_type="foo", auto_map={"AutoConfig": "evil.Config"})
    Path("cpt.yml").write_text(RECIPE + "trust_remote_code: true\n")
    assert told(with_axolotl=True) == []
    assert not Path("ran").exists()


def test_rows_that_are_missing_are_a_note(base):
    change(base, vocab_size=3)
    (found,) = told()
    assert found.is_note
    assert found.message.startswith("the tokenizer of ./base has the token '<pad>' in row 3, and")
