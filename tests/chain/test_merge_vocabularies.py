"""Merges of models whose embeddings or tokenizers differ: what MergeKit does, and what we say."""

from __future__ import annotations

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from solar_plugins.chain.run import stages
from solar_plugins.check import check_files
from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow

EMBEDDING = "model.embed_tokens.weight"
WORDS = ["<unk>", "<s>", "</s>", *(f"word{number}" for number in range(57))]
UNION = {"tokenizer_source": "union"}
PADDED = {"tokenizer": {"source": "union", "pad_to_multiple_of": 64}}


def write_model(folder, words, rows, seed):
    """A Llama of 1 layer; `rows` embeddings, the first of which belong to `words`."""
    tokens = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **sizes))
    if rows > len(words):
        # the same values whatever the padding; the new rows are filled with numbers of their own
        model.resize_token_embeddings(rows, mean_resizing=False)
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabularies")
    write_model(folder / "one", WORDS, len(WORDS), 0)
    write_model(folder / "two", WORDS, len(WORDS), 1)
    write_model(folder / "two_padded", WORDS, 128, 1)
    write_model(folder / "two_turned", [*WORDS[:3], *WORDS[:2:-1]], len(WORDS), 1)
    write_model(folder / "two_unturned", WORDS, len(WORDS), 1)
    weights = load_file(folder / "two_turned" / "model.safetensors")
    for name in (EMBEDDING, "lm_head.weight"):
        rows = weights[name]
        weights[name] = torch.cat([rows[:3], rows[3:].flip(0)])
    save_file(weights, folder / "two_unturned" / "model.safetensors", {"format": "pt"})
    write_model(folder / "two_more", [*WORDS, "<|more|>"], len(WORDS) + 1, 1)
    return folder


def config(folder, method, other, more):
    names = [str(folder / "one"), str(folder / other)]
    inputs = [{"model": name} for name in names]
    how = {"base_model": names[0], "parameters": {"t": 0.25}}
    if method == "linear":
        how = {}
        for entry, weight in zip(inputs, (0.75, 0.25), strict=True):
            entry["parameters"] = {"weight": weight}
    return {"merge_method": method, "models": inputs, "dtype": "float32", **how, **more}


def mergekit(content, out):
    stages._merge_with_mergekit(content, yaml.safe_dump(content), out)
    return load_file(out / "model.safetensors")


def findings(content, tmp_path):
    file = tmp_path / "merge.yml"
    file.write_text(yaml.safe_dump(content))
    return [f for f in check_files([file], with_axolotl=False) if not f.is_note]


@pytest.mark.parametrize("method", ["linear", "slerp"])
def test_padded_embeddings_are_refused_and_what_we_tell_to_write_is_right(
    written, tmp_path, method
):
    content = config(written, method, "two_padded", {})
    (found,) = findings(content, tmp_path)
    assert found.path == "models[1].model"
    assert found.message.endswith(
        "have the same 60 tokens, but embeddings of 128 and 60 rows, and MergeKit mixes row by "
        "row. Write `tokenizer: {source: union, pad_to_multiple_of: 64}`, which mixes token by "
        "token and pads anew."
    )
    with pytest.raises(ValueError, match="size mismatch"):
        mergekit(content, tmp_path / "fails")

    content = config(written, method, "two_padded", PADDED)
    assert findings(content, tmp_path) == []
    made = mergekit(content, tmp_path / "made")
    plain = mergekit(config(written, method, "two", {}), tmp_path / "plain")
    assert made.keys() == plain.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(made[name][: len(tensor)], tensor)
    assert len(made[EMBEDDING]) == 64


@pytest.mark.parametrize("method", ["linear", "slerp"])
def test_another_order_of_tokens_is_refused_which_mergekit_mixes_in_silence(
    written, tmp_path, method
):
    content = config(written, method, "two_turned", {})
    (found,) = findings(content, tmp_path)
    assert "keep 56 tokens in other rows, 'word0' among them" in found.message
    assert found.message.endswith(
        "Write `tokenizer_source: union`, which aligns them token by token."
    )
    wrong = mergekit(content, tmp_path / "wrong")[EMBEDDING]
    content = config(written, method, "two_turned", UNION)
    assert findings(content, tmp_path) == []
    right = mergekit(content, tmp_path / "right")[EMBEDDING]
    # the same model as "two", its rows in another order: merged token by token they agree
    plain = mergekit(config(written, method, "two_unturned", {}), tmp_path / "plain")[EMBEDDING]
    rows = AutoTokenizer.from_pretrained(tmp_path / "right").convert_tokens_to_ids(WORDS)
    torch.testing.assert_close(right[rows], plain)
    assert not torch.allclose(wrong[3:], plain[3:])


def test_a_token_more_is_refused(written, tmp_path):
    (found,) = findings(config(written, "slerp", "two_more", {}), tmp_path)
    assert "has a vocabulary of 61 and" in found.message
    content = config(written, "slerp", "two_more", UNION)
    assert findings(content, tmp_path) == []
    assert len(mergekit(content, tmp_path / "made")[EMBEDDING]) == 61


def test_a_stage_says_so_before_mergekit_reads_the_weights(written, tmp_path):
    resolved = tmp_path / "mix.yml"
    resolved.write_text(yaml.safe_dump(config(written, "slerp", "two_padded", {})))
    with pytest.raises(SolarError, match=r"^models\[1\]\.model: .* the same 60 tokens"):
        stages.merge(resolved, tmp_path / "mix", tmp_path / "new")
    assert not (tmp_path / "mix").exists()
    resolved.write_text(yaml.safe_dump(config(written, "slerp", "two_padded", PADDED)))
    stages.merge(resolved, tmp_path / "mix", tmp_path / "new")
    assert (tmp_path / "mix" / "model.safetensors").is_file()
