"""The one builder of tiny random models: a tokenizer, and a model of one family for it.

    from tiny_models import byte_tokenizer, character_tokenizer, word_tokenizer, write_tiny_model

    write_tiny_model(folder, byte_tokenizer(), "mistral", num_hidden_layers=2)

A random model of each architecture that transformers knows is built by
`depth_up_scaling/tiny_architectures.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


def character_tokenizer() -> Any:
    """One token per printable character of ASCII."""
    from tokenizers import Tokenizer, models

    names = ["<pad>", "<s>", "</s>", "<unk>", *map(chr, range(32, 127))]
    tokens = Tokenizer(models.BPE(vocab=_numbered(names), merges=[], unk_token="<unk>"))
    return _fast(tokens, pad_token="<pad>")


def byte_tokenizer(**special: str) -> Any:
    """One token per byte: every text comes back as it was."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    names = [*SPECIAL.values(), *special.values(), *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens = Tokenizer(models.BPE(vocab=_numbered(names), merges=[], unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    return _fast(tokens, **special)


def word_tokenizer(words: Iterable[str], chat_template: str | None = None, **special: Any) -> Any:
    """One token per word; the special tokens come first, in the order of `SPECIAL`.

    Args:
        words: the vocabulary besides the special tokens.
        chat_template: a template in Jinja.
        special: further special tokens (``pad_token``, ``additional_special_tokens``).
    """
    from tokenizers import Tokenizer, models, pre_tokenizers

    more = [t for value in special.values() for t in ([value] if isinstance(value, str) else value)]
    names = dict.fromkeys([*SPECIAL.values(), *more, *words])
    tokens = Tokenizer(models.WordLevel(_numbered(names), unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = _fast(tokens, **special)
    if chat_template is not None:
        fast.chat_template = chat_template
    return fast


def write_tiny_model(
    folder: str | Path, tokenizer: Any, family: str = "llama", seed: int = 0, **fields: Any
) -> Path:
    """Write a random model and its tokenizer.

    Args:
        folder: where to.
        tokenizer: decides the vocabulary and the ids of the special tokens.
        family: a model type of a decoder with Llama's config fields (llama, mistral, qwen2, …).
        seed: of the weights: the same arguments give the same bits.
        fields: of the config, in place of the small ones here.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        family,
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            **fields,
        },
    )
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


def _fast(tokens: Any, **special: Any) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokens, **SPECIAL, **special)
