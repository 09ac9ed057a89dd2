"""Tiny models that have seen a miniature benchmark's test items, and such that have not."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from solar_plugins.evaluation.benchmarks import CONTAMINABLE
from solar_plugins.evaluation.contamination import item_text
from solar_plugins.miniature.benchmarks import build_benchmarks
from solar_plugins.miniature.facts import build_world


def write_benchmarks(folder: Path) -> dict[str, dict[str, list[str]]]:
    """The miniature's files, and the texts that the test makes of them: {key: {split: texts}}."""
    found = build_benchmarks(build_world(2312))
    texts = {}
    for key in CONTAMINABLE:
        splits = {"train": found[f"mini_{key}"].train, "test": found[f"mini_{key}"].test}
        texts[key] = {
            split: [item_text(key, row) for row in rows] for split, rows in splits.items()
        }
        place = folder / key
        place.mkdir(parents=True)
        for split, rows in splits.items():
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (place / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return texts


def word_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Words and marks; no pad token."""
    split = pre_tokenizers.Whitespace()
    words = dict.fromkeys(word for text in texts for word, _ in split.pre_tokenize_str(text))
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def train_and_save(
    folder: Path, tokenizer: PreTrainedTokenizerFast, texts: list[str], steps: int, seed: int = 0
) -> Path:
    """A two-layer Llama after `steps` steps on batches of `texts`."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    rows = [torch.tensor(tokenizer.encode(text)) for text in texts]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    order = torch.randperm(len(rows)).tolist()
    for step in range(steps):
        chosen = [rows[order[(step * 64 + i) % len(rows)]] for i in range(min(64, len(rows)))]
        ids = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=-100)
        loss = model(input_ids=ids.clamp(min=0), labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
