"""A recipe written for one base, trained on another."""

from __future__ import annotations

import json

import pytest
import transformers
from tiny_chain import write_base

from solar_plugins.chain.training import base_model_guard
from solar_plugins.chain.training.follow_base import follow_base
from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Mistral; its vocabulary has <unk>, <s> and </s>, and no token is named for padding."""
    folder = tmp_path_factory.mktemp("follow") / "base"
    write_base(folder)
    return folder


def renamed(base, folder, **tokens):
    """A copy of `base` whose tokenizer names other special tokens."""
    folder.mkdir()
    for file in base.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | tokens))
    return folder


def test_a_recipe_that_fits_stays_as_it_is(base):
    cfg = {
        "base_model": str(base),
        "special_tokens": {"pad_token": "<unk>"},
        "sequence_len": 512,
        "attn_implementation": "flash_attention_2",
    }
    before = json.loads(json.dumps(cfg))
    assert follow_base(cfg) == []
    assert cfg == before


@pytest.mark.parametrize(
    ("tokens", "padding"),
    [
        ({}, "<unk>"),
        ({"unk_token": None}, "</s>"),
        ({"pad_token": "a"}, "a"),
        ({"unk_token": None, "eos_token": None}, "<unk>"),  # the first of the vocabulary
    ],
)
def test_padding_is_a_token_of_the_base(base, tmp_path, tokens, padding):
    folder = renamed(base, tmp_path / "other", **tokens)
    cfg = {"base_model": str(folder), "special_tokens": {"pad_token": "<|pad|>"}}
    (change,) = follow_base(cfg)
    assert cfg["special_tokens"] == {"pad_token": padding}
    assert change.startswith("special_tokens.pad_token: '<|pad|>' is not in the vocabulary of")


def test_sequences_are_no_longer_than_the_base_bears(base):
    cfg = {"base_model": str(base), "sequence_len": 4096}
    (change,) = follow_base(cfg)
    assert cfg["sequence_len"] == 512
    assert change.startswith("sequence_len: 4096 is more than the 512 positions of")


def test_positions_that_have_another_name_in_the_config_count(tmp_path):
    from transformers import GPT2Config

    GPT2Config(n_positions=64).save_pretrained(tmp_path)
    cfg = {"base_model": str(tmp_path), "sequence_len": 65}
    assert len(follow_base(cfg)) == 1
    assert cfg["sequence_len"] == 64


@pytest.mark.parametrize(("config", "found"), [("BloomConfig", "eager"), ("DogeConfig", "sdpa")])
def test_flash_attention_only_where_the_architecture_has_it(tmp_path, config, found):
    getattr(transformers, config)().save_pretrained(tmp_path)
    cfg = {"base_model": str(tmp_path), "attn_implementation": "flash_attention_2"}
    (change,) = follow_base(cfg)
    assert cfg["attn_implementation"] == found
    assert f"ForCausalLM has no flash_attention_2; {found} is used." in change


def test_a_base_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SolarError, match=r"^base_model: .*gone.* has no config") as error:
        follow_base({"base_model": str(tmp_path / "gone"), "sequence_len": 8})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"model_type": "foo"}, "has no config that can be read: The checkpoint"), ({}, "tokenizer")],
)
def test_a_base_that_transformers_cannot_read_is_one_line(base, tmp_path, change, said):
    folder = renamed(base, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(SolarError, match=rf"^base_model: .*{said}") as error:
        follow_base({"base_model": str(folder), "special_tokens": {"pad_token": "<|pad|>"}})
    assert "\n" not in str(error.value)


def test_checkpoints_of_another_base_are_not_gone_on_from(tmp_path):
    cfg = {"base_model": "./one", "output_dir": str(tmp_path)}
    cfg["auto_resume_from_checkpoints"] = True
    other = {**cfg, "base_model": "./other"}
    base_model_guard.refuse_another(other)  # nothing is there
    base_model_guard.note(str(tmp_path), "./one")
    base_model_guard.refuse_another(other)  # nothing to go on from
    (tmp_path / "checkpoint-2").mkdir()
    base_model_guard.refuse_another(cfg)
    base_model_guard.refuse_another({**other, "auto_resume_from_checkpoints": False})
    with pytest.raises(
        SolarError, match=r"^output_dir: .* began with ./one, and this .* ./other\."
    ):
        base_model_guard.refuse_another(other)
