"""A folder of good recipes, merge configs, data and models, into which mistakes are planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

_TRAINING = """\
sequence_len: 256
micro_batch_size: 1
gradient_accumulation_steps: 4
num_epochs: 1
optimizer: adamw_torch_fused
learning_rate: 2.0e-5
lr_scheduler: cosine
warmup_ratio: 0.1
weight_decay: 0.0
val_set_size: 0.01
eval_strategy: epoch
bf16: true
attn_implementation: flash_attention_2
gradient_checkpointing: true
deepspeed: zero3.json
output_dir: ./out
save_total_limit: 1
"""

FILES = {
    "sft.yml": """\
# comments and layout stay, whatever is fixed
base_model: models/llama
datasets:
  - path: data/alpaca.parquet  # instruction, input, output
    type: alpaca
  - path: data/qa.csv
    type:
      field_instruction: query
      field_output: response
      format: "### User:\\n{instruction}\\n{input}\\n### Assistant:\\n"
      no_input_format: "### User:\\n{instruction}\\n### Assistant:\\n"
special_tokens:
  pad_token: "<pad>"
"""
    + _TRAINING,
    "chat.yml": """\
base_model: models/chatml
chat_template: chatml
datasets:
  - path: data/chat.jsonl
    type: chat_template
    field_messages: messages
"""
    + _TRAINING,
    "lora.yml": """\
base_model: models/llama
adapter: lora
lora_r: 16
lora_alpha: 32
lora_dropout: 0.05
lora_target_modules: [q_proj, v_proj]
chat_template: jinja
chat_template_jinja: answer.jinja
datasets:
  - path: data/chat.jsonl
    type: chat_template
"""
    + _TRAINING,
    "dpo.yml": """\
base_model: models/llama
rl: dpo
rl_beta: 0.1
datasets:
  - path: data/pairs.jsonl
    type: chatml.default
    split: train
tokens: ["<|im_start|>", "<|im_end|>"]
"""
    + _TRAINING.replace("val_set_size: 0.01\neval_strategy: epoch\n", ""),
    "sdpo.yml": """\
base_model: models/llama
plugins: [solar_plugins.StepwiseDPOPlugin]
rl: dpo
rl_beta: 0.1
chat_template: jinja
chat_template_jinja: answer.jinja
sdpo:
  steps:
    - datasets:
        - path: data/ultra.parquet
          type: chat_template.argilla_chat
    - datasets:
        - path: data/pairs.jsonl
          type:
            field_prompt: question
            prompt_format: "### User:\\n{prompt}\\n### Assistant:\\n"
"""
    + _TRAINING.replace("val_set_size: 0.01\neval_strategy: epoch\n", ""),
    "dus.yml": """\
base_model: models/llama
plugins: [solar_plugins.DepthUpScalingPlugin]
depth_up_scaling:
  remove_layers: 1
pretraining_dataset:
  - path: json
    data_files: data/pages.jsonl
    type: pretrain
streaming: true
max_steps: 10
"""
    + _TRAINING.replace("val_set_size: 0.01\neval_strategy: epoch\n", "").replace(
        "num_epochs: 1\n", ""
    ),
    "slerp.yml": """\
merge_method: slerp
base_model: models/llama
models:
  - model: models/llama
  - model: models/tuned
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 1]
    - value: 0.5
dtype: bfloat16
""",
    "ties.yml": """\
merge_method: ties
base_model: models/llama
models:
  - model: models/tuned
    parameters:
      weight: 0.5
      density: 0.5
  - model: models/tuned_more
    parameters:
      weight: 0.5
      density: 0.5
parameters:
  normalize: true
dtype: bfloat16
tokenizer_source: base
""",
    "linear.yml": """\
merge_method: linear
models:
  - model: models/tuned
    parameters: {weight: 0.4}
  - model: models/tuned_more
    parameters: {weight: 0.6}
dtype: bfloat16
""",
    "stack.yml": """\
merge_method: passthrough
slices:
  - sources:
      - model: models/llama
        layer_range: [0, 3]
  - sources:
      - model: models/llama
        layer_range: [1, 4]
dtype: bfloat16
""",
    "zero3.json": '{"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": '
    'true}, "bf16": {"enabled": true}}\n',
    "answer.jinja": "{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}\n",
    "broken.jinja": "{% for m in messages %}{{ m['content'] + eos_token }}\n",
    "endless.jinja": "{% for m in messages %}{{ m['content'] }}\n{% endfor %}\n",
}

_WORDS = ["<unk>", "<s>", "</s>", "<pad>", *"abcdefghij"]


def write(folder: Path) -> None:
    """Write the files, data in four formats, and models without their weights."""
    import pyarrow
    from pyarrow import csv, ipc, parquet

    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    data = folder / "data"
    data.mkdir()
    alpaca = pyarrow.table({"instruction": ["add"] * 9, "input": [""] * 9, "output": ["2"] * 9})
    parquet.write_table(alpaca, data / "alpaca.parquet")
    with ipc.new_file(data / "alpaca.arrow", alpaca.schema) as file:
        file.write_table(alpaca)
    csv.write_csv(pyarrow.table({"query": ["q"], "response": ["r"]}), data / "qa.csv")
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]
    worse = [turns[0], {"role": "assistant", "content": "x"}]
    ultra = {"prompt": "q", "chosen": turns, "rejected": worse, "messages": turns}
    parquet.write_table(pyarrow.Table.from_pylist([ultra] * 9), data / "ultra.parquet")
    lines: dict[str, Any] = {
        "chat.jsonl": {"messages": turns},
        "sharegpt.jsonl": {"conversations": [{"from": "human", "value": "q"}]},
        "pairs.jsonl": {"system": "s", "question": "q", "chosen": "c", "rejected": "r"},
        "pages.jsonl": {"text": "a page"},
        "broken.jsonl": None,
    }
    for name, row in lines.items():
        text = json.dumps(row) if row else "not json"
        (data / name).write_text(f"{text}\n" * 9, encoding="utf-8")
    (data / "list.json").write_text(json.dumps([{"text": "a"}]), encoding="utf-8")
    (data / "empty.jsonl").touch()
    models = {
        "llama": {},
        "tuned": {},
        "tuned_more": {},
        "deep": {"num_hidden_layers": 6},
        "wide": {"hidden_size": 128},
        "mistral": {"model_type": "mistral"},
        "more_words": {"vocab_size": 32},
    }
    for name, change in models.items():
        _model(folder / "models" / name, change, _WORDS, "</s>")
    _model(folder / "models" / "other_words", {}, [*_WORDS[:4], *_WORDS[:3:-1]], "</s>")
    _model(folder / "models" / "no_end", {}, _WORDS, None)
    chatml = [*_WORDS, "<|im_start|>", "<|im_end|>"]
    _model(folder / "models" / "chatml", {"vocab_size": 16}, chatml, "<|im_end|>")


def _model(folder: Path, change: dict[str, Any], words: list[str], eos: str | None) -> None:
    folder.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "vocab_size": len(words),
    }
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}
    settings |= {"bos_token": "<s>", "eos_token": eos, "pad_token": "<pad>"}
    for name, value in (
        ("config.json", config | change),
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", {k: v for k, v in settings.items() if v}),
    ):
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    layers = (config | change)["num_hidden_layers"]
    weights = {f"model.layers.{i}.input_layernorm.weight": np.zeros(64) for i in range(layers)}
    save_file(weights, folder / "model.safetensors")
