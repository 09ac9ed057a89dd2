"""Mistral 7B v0.1's own vocabulary, from SFT to a Llama's folder, with mistral_common installed.

mistral_common ships the SentencePiece model of Mistral 7B v0.1. The stand-in has it in the files of
the base on the Hub: a tokenizer.json with Llama 2's normaliser, and LlamaTokenizer as its class.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from solar_plugins.cli import cli
from solar_plugins.shipped import root

pytestmark = pytest.mark.slow

TEMPLATE = root() / "recipes/templates/solar.jinja"
CHAT = [
    {"role": "system", "content": "You are an assistant."},
    {"role": "user", "content": "Which trees  lose their leaves?\n 12"},
    {"role": "assistant", "content": " The oak.\n\tZügig 😀 </s"},
]
TEXTS = ("Hello world", " Hello", "\n  two  words", "a<s> b</s> c", "Zügig 😀")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A tiny Mistral with the real tokenizer."""
    import mistral_common
    import sentencepiece
    from tiny_models import write_tiny_model
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast
    from transformers.tokenization_utils_base import generate_merges

    folder = tmp_path_factory.mktemp("mistral")
    model = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    vocab = {pieces.id_to_piece(i): i for i in range(len(pieces))}
    merges = generate_merges(vocab, {piece: pieces.get_score(i) for piece, i in vocab.items()})
    bpe = models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokens = Tokenizer(bpe)
    blank = "\u2581"
    tokens.normalizer = normalizers.Sequence(
        [normalizers.Prepend(blank), normalizers.Replace(" ", blank)]
    )
    tokens.decoder = decoders.Sequence(
        [
            *(decoders.Replace(blank, " "), decoders.ByteFallback(), decoders.Fuse()),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = ("<unk>", "<s>", "</s>")
    tokens.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    tokens.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokens, **names)
    write_tiny_model(folder, fast, "mistral", vocab_size=32000, sliding_window=64)
    shutil.copy(model, folder / "tokenizer.model")
    config = {**names, "add_bos_token": True, "add_eos_token": False, "legacy": True}
    config |= {"pad_token": None, "tokenizer_class": "LlamaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def load(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def facts(tokenizer) -> tuple:
    """All that may get lost: ids, special tokens, padding, template."""
    batch = tokenizer(["a", "a b c"], padding=True)
    return (
        [tokenizer(text).input_ids for text in TEXTS],
        tokenizer.special_tokens_map,
        batch.input_ids,
        batch.attention_mask,
        tokenizer.padding_side,
        tokenizer.chat_template,
        tokenizer.apply_chat_template(CHAT, tokenize=True, return_dict=False),
        len(tokenizer),
    )


@pytest.fixture(scope="module")
def trained(base):
    """As Axolotl loads it for the paper's recipes."""
    from axolotl.loaders import load_tokenizer
    from axolotl.utils.dict import DictDefault

    recipe = {"base_model": str(base), "tokenizer_config": str(base), "chat_template": "jinja"}
    recipe |= {"chat_template_jinja": TEMPLATE.read_text(), "special_tokens": {}}
    recipe["special_tokens"]["pad_token"] = "<unk>"
    return load_tokenizer(DictDefault(recipe))


def test_the_class_and_the_ids_are_those_of_the_tokenizer_json(base, trained):
    import sentencepiece
    from tokenizers import Tokenizer

    assert type(trained).__name__ == "TokenizersBackend"  # not mistral_common's
    plain = Tokenizer.from_file(str(base / "tokenizer.json"))
    assert [trained(text).input_ids for text in TEXTS] == [plain.encode(t).ids for t in TEXTS]
    text = trained.apply_chat_template(CHAT, tokenize=False)
    wanted = plain.encode(text, add_special_tokens=False).ids
    assert trained.apply_chat_template(CHAT, tokenize=True, return_dict=False) == wanted
    assert (len(trained), trained.pad_token_id) == (32000, 0)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(base / "tokenizer.model"))
    for text in ("Hello world", "Zügig 😀"):
        assert trained(text).input_ids == [1, *pieces.encode(text)]


@pytest.mark.parametrize("kind", ["mistral", "llama"])
def test_it_survives_saving(kind, trained, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    trained.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert type(again) is type(trained)
    assert facts(again) == facts(trained)


def test_a_llama_on_disk_has_the_ids_of_its_mistral(base, tmp_path):
    """transformers would rebuild a LlamaTokenizer with another treatment of blanks."""
    out = tmp_path / "llama"
    result = CliRunner().invoke(cli, ["dus", str(base), "--out", str(out), "--as-llama"])
    assert result.exit_code == 0, result.output
    ours, theirs = load(out), load(base)
    for tokenizer in (ours, theirs):
        tokenizer.pad_token, tokenizer.chat_template = "<unk>", TEMPLATE.read_text()
    assert facts(ours) == facts(theirs)


def test_mistral_commons_own_tokenizer_is_refused(base, tmp_path):
    """Bases with a tekken.json: its class takes no chat template, and cannot pad."""
    import mistral_common

    from solar_plugins.chain.training.follow_base import follow_base
    from solar_plugins.errors import SolarError

    folder = shutil.copytree(base, tmp_path / "tekken")
    data = Path(mistral_common.__file__).parent / "data"
    shutil.copy(data / "tekken_240911.json", folder / "tekken.json")
    assert type(load(folder)).__name__ == "MistralCommonBackend"
    cfg = {"base_model": str(folder), "special_tokens": {"pad_token": "<unk>"}}
    with pytest.raises(SolarError) as error:
        follow_base(cfg)
    assert str(error.value) == (
        f"tokenizer_config: {folder} has a tekken.json, and mistral_common's tokenizer takes no "
        "chat template. Name a copy of its tokenizer and config.json without that file."
    )
    assert follow_base({**cfg, "tokenizer_config": str(base)}) == []
