"""A tiny base with a tokenizer, text to train it on, and a recipe for both."""

import json
import random

from tiny_models import character_tokenizer, write_tiny_model

LORA = {
    "adapter": "lora",
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "lora_target_modules": ["q_proj", "v_proj", "down_proj"],
    # their Triton kernels want a GPU
    "lora_mlp_kernel": False,
    "lora_qkv_kernel": False,
    "lora_o_kernel": False,
}


def write_base(folder, layers=4):
    """A random Llama of `layers` layers with one token per printable character."""
    write_tiny_model(folder, character_tokenizer(), vocab_size=128, num_hidden_layers=layers)


def write_text(file, rows=64, length=62):
    """Rows of equal length, so that every rank of a run sees as many tokens as the others."""
    letters = random.Random(0)
    lines = ("".join(letters.choices("abcdefgh ", k=length)) for _ in range(rows))
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in lines))


def recipe(folder, name, **keys):
    """What a training of `folder`/base on `folder`/text.jsonl says; a key that is None is out."""
    values = {
        "base_model": str(folder / "base"),
        "datasets": [{"path": str(folder / "text.jsonl"), "ds_type": "json", "type": "completion"}],
        "dataset_prepared_path": str(folder / "prepared"),
        "output_dir": str(folder / name),
        "special_tokens": {"pad_token": "<pad>"},
        "sequence_len": 64,
        "save_strategy": "no",
        "learning_rate": 1e-3,
        "optimizer": "adamw_torch",
        "lr_scheduler": "constant",
        "attn_implementation": "eager",
        "bf16": False,
        "fp16": False,
        "tf32": False,
        "logging_steps": 1,
        "seed": 7,
        **keys,
    }
    return {key: value for key, value in values.items() if value is not None}
