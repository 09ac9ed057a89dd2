"""Untrained bases of other architectures, as transformers loads them."""

from __future__ import annotations

import pytest

from solar_plugins.chain import data_stage
from solar_plugins.errors import SolarError
from solar_plugins.miniature import tokens

pytestmark = pytest.mark.slow

WORDS = tokens.vocabulary(["one page of the world ."])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tokens.save_tokenizer(WORDS, folder)
    return folder


def recipe_for(folder, /, **changes):
    small = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    recipe = {
        "generator": "untrained_model",
        "seed": 2312,
        "architecture": "qwen3",
        "tokenizer": str(folder),
        "config": {**small, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 64},
    }
    return {**recipe, **changes}


def test_the_model_is_what_the_recipe_says(tokenizer, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    recipe = recipe_for(tokenizer)
    facts = data_stage.generate(recipe, tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert facts == {"parameters": model.num_parameters()}
    for key, value in recipe["config"].items():
        assert getattr(model.config, key) == value
    loaded = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert loaded.get_vocab() == AutoTokenizer.from_pretrained(tokenizer).get_vocab()
    assert loaded.chat_template == tokens.CHAT_TEMPLATE
    assert model.config.vocab_size == 64 >= len(loaded)
    assert model.config.pad_token_id == loaded.pad_token_id
    assert loaded("one page").input_ids[0] == model.config.bos_token_id


def test_the_seed_fixes_the_weights(tokenizer, tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        data_stage.generate(recipe_for(tokenizer, seed=seed), tmp_path / name)
    weights = {
        name: (tmp_path / name / "model.safetensors").read_bytes()
        for name in ("one", "again", "other")
    }
    assert weights["one"] == weights["again"] != weights["other"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"architecture": "qwen33"},
            "architecture: 'qwen33' is not a causal language model of transformers. "
            "Did you mean 'qwen3'?",
        ),
        (
            {"config": {"hiden_size": 32}},
            "config.hiden_size: Qwen3Config has no such key. Did you mean 'hidden_size'?",
        ),
        ({"config": 3}, "config: 3 is not a block of keys. Write config: {num_hidden_layers: 8}."),
        (
            {"tokenizer": "no/such/folder"},
            "tokenizer: no/such/folder found. Name a folder with a tokenizer",
        ),
    ],
)
def test_wrong_settings_are_one_line(tokenizer, tmp_path, change, message):
    with pytest.raises(SolarError) as error:
        data_stage.generate(recipe_for(tokenizer, **change), tmp_path / "model")
    assert str(error.value) == message
    assert not (tmp_path / "model").exists()
