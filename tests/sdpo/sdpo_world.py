"""A model, a tokenizer and preference data small enough to train in seconds, and runs of them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from pathlib import Path

import yaml
from forked_process import fork

WORDS = ["red", "blue", "green", "big", "small", "cat", "dog", "bird", "runs", "eats", "the", "a"]
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]


def make_model(folder: Path, seed: int = 20, intermediate_size: int = 96) -> Path:
    """A 2-layer llama with random weights and a word tokenizer with a chat template."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = [*SPECIAL, "system", "user", "assistant", *WORDS]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    fast.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=64,
            intermediate_size=intermediate_size,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=3,
        )
    )
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def make_preferences(path: Path, rows: int, seed: int, intel: bool = False) -> Path:
    """Pairs whose chosen answer ends in "cat" and whose rejected one ends in "dog"."""
    draw = random.Random(seed)

    def sentence(longest: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, longest)))

    with path.open("w", encoding="utf-8") as file:
        for _ in range(rows):
            pair = {"chosen": f"{sentence(7)} cat", "rejected": f"{sentence(7)} dog"}
            if intel:
                row = {"system": sentence(4), "question": sentence(5), **pair}
            else:
                row = {"prompt": sentence(5), **pair}
            file.write(json.dumps(row) + "\n")
    return path


def recipe(world: Path, **changes) -> dict:
    """An Axolotl DPO recipe at CPU size, without data."""
    return {
        "base_model": str(world / "sft"),
        "rl": "dpo",
        "rl_beta": 0.1,
        "sequence_len": 64,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "num_epochs": 1,
        "learning_rate": 0.002,
        "optimizer": "adamw_torch",
        "lr_scheduler": "cosine",
        "warmup_steps": 0,
        "save_steps": 2,
        "save_total_limit": 2,
        "logging_steps": 1,
        "eval_strategy": "epoch",
        "val_set_size": 0.2,
        "bf16": False,
        "fp16": False,
        "tf32": False,
        "seed": 11,
        "dataset_prepared_path": str(world / "prepared"),
        "plugins": ["sdpo_probe.ProbePlugin"],
        **changes,
    }


def dataset(path: Path, kind: str) -> dict:
    return {"path": str(path), "split": "train", "type": kind}


class Run:
    """`axolotl train` of a recipe in a forked process."""

    def __init__(self, values: dict, name: str = "run"):
        output = Path(values["output_dir"])
        output.parent.mkdir(parents=True, exist_ok=True)
        self.recipe = output.parent / f"{output.name}.yml"
        self.recipe.write_text(yaml.safe_dump(values))
        self.log = output.parent / f"{output.name}.{name}.log"
        self.log.write_text("")
        self.pid = fork(self._train, self.log)

    def _train(self) -> None:
        from axolotl.cli.train import do_cli

        do_cli(str(self.recipe))

    def end(self) -> str:
        """Wait for it to succeed. Returns its log."""
        _, status = os.waitpid(self.pid, 0)
        text = self.log.read_text()
        assert status == 0, text[-6000:]
        return text

    def error(self) -> str:
        """Wait for it to fail. Returns the last line that it wrote."""
        _, status = os.waitpid(self.pid, 0)
        assert status != 0
        return self.log.read_text().strip().splitlines()[-1]

    def kill_when(self, path: Path, delay_s: float = 0.0) -> None:
        """kill -9 as soon as `path` exists, or after that by `delay_s`."""
        deadline = time.monotonic() + 120
        while not path.exists():
            ended, _ = os.waitpid(self.pid, os.WNOHANG)
            assert ended == 0, f"ended before {path} was there\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, path
            time.sleep(0.001)
        time.sleep(delay_s)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def probed(output_dir: Path) -> list[dict]:
    """What sdpo_probe wrote down of all the runs with this output folder, in order."""
    text = (output_dir.parent / f"{output_dir.name}.probe.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]
