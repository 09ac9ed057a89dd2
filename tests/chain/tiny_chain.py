"""A small random base model, small data, and a chain over them, as plain files."""

from __future__ import annotations

import json
import random
from pathlib import Path

COMMON = """\
seed: 7
micro_batch_size: 2
optimizer: adamw_torch
learning_rate: 1e-3
lr_scheduler: cosine
bf16: false
fp16: false
tf32: false
attn_implementation: sdpa
special_tokens: {pad_token: </s>}
logging_steps: 1
save_steps: 2
save_total_limit: 2
dataloader_num_workers: 0
dataloader_pin_memory: false
"""

CHAIN = """\
name: small
base_model: base
output_dir: ./run
stages:
  cpt: {train: cpt.yml}
  sft: {train: sft.yml, from: cpt}
  mix: {merge: mix.yml, from: [cpt, sft]}
"""


def write(folder: Path) -> Path:
    """Base model, data, recipes and the chain in `folder`; returns the chain file."""
    write_base(folder / "base")
    draw = random.Random(0)
    words = ["red", "blue", "green", "cat", "dog", "runs", "sits"]
    write_rows(
        folder / "text.jsonl",
        [{"text": " ".join(draw.choices(words, k=draw.randint(3, 12)))} for _ in range(30)],
    )
    write_rows(
        folder / "sums.jsonl",
        [{"instruction": f"{n}+1?", "input": "", "output": str(n + 1)} for n in range(20)],
    )
    text = "datasets: [{path: text.jsonl, ds_type: json, type: completion}]\n"
    (folder / "cpt.yml").write_text(
        f"base_model: base\noutput_dir: ./run/cpt\nsequence_len: 64\nmax_steps: 4\n{text}{COMMON}"
    )
    sums = "datasets: [{path: sums.jsonl, ds_type: json, type: alpaca}]\n"
    (folder / "sft.yml").write_text(
        "base_model: ./run/cpt\noutput_dir: ./run/sft\nsequence_len: 400\n"
        f"sample_packing: true\nnum_epochs: 3\n{sums}{COMMON}"
    )
    (folder / "mix.yml").write_text(
        "models:\n  - {model: A, parameters: {weight: 0.5}}\n"
        "  - {model: B, parameters: {weight: 0.5}}\nmerge_method: linear\ndtype: float32\n"
    )
    chain = folder / "chain.yml"
    chain.write_text(CHAIN)
    return chain


def write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_base(folder: Path) -> None:
    """A Mistral of 4 layers over bytes, with random weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", *alphabet])}
    tokens = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        sliding_window=None,
        bos_token_id=1,
        eos_token_id=2,
    )
    MistralForCausalLM(config).save_pretrained(folder)
