"""A tiny base with a tokenizer, and text to train it on."""

import json
import random


def write_base(folder, layers=4):
    """A random Llama of `layers` layers with one token per printable character."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = ["<pad>", "<s>", "</s>", "<unk>", *map(chr, range(32, 127))]
    vocabulary = {name: index for index, name in enumerate(names)}
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>")),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=128,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    ).save_pretrained(folder)


def write_text(file, rows=64, length=62):
    """Rows of equal length, so that every rank of a run sees as many tokens as the others."""
    letters = random.Random(0)
    lines = ("".join(letters.choices("abcdefgh ", k=length)) for _ in range(rows))
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in lines))
