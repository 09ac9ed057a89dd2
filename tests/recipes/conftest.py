"""Tiny models whose tokenizer maps bytes to tokens and writes <s> first, as Mistral's does."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_twins import write_twins


def save_tiny_mistral(path: Path, layers: int, seed: int) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={w: i for i, w in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(path)
    torch.manual_seed(seed)
    config = MistralConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
    )
    MistralForCausalLM(config).to(torch.bfloat16).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As deep as Mistral 7B: 32 layers."""
    return save_tiny_mistral(tmp_path_factory.mktemp("recipes") / "base", 32, seed=0)


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of one shape, for the merges."""
    folder = tmp_path_factory.mktemp("recipes")
    return save_tiny_mistral(folder / "a", 2, seed=1), save_tiny_mistral(folder / "b", 2, seed=2)


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name of each dataset in the recipes -> the folder of its twin."""
    return write_twins(tmp_path_factory.mktemp("twins"))
