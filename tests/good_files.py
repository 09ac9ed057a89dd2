"""The files of a small chain without a fault, and how a test plants one."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "chain.yml": """\
name: small
base_model: mistralai/Mistral-7B-v0.1
output_dir: ./outputs/small
stages:
  dus: {merge: dus.yml}
  cpt: {train: cpt.yml}
  sft: {train: sft.yml, from: cpt}
  dpo: {train: dpo.yml, from: sft}
  mix: {merge: mix.yml, from: [sft, dpo]}
  h6: {evaluate: h6.yml, from: [mix, base_model]}
""",
    "dus.yml": """\
merge_method: passthrough
slices:
  - sources:
      - model: mistralai/Mistral-7B-v0.1
        layer_range: [0, 24]
  - sources:
      - model: mistralai/Mistral-7B-v0.1
        layer_range: [8, 32]
dtype: bfloat16
""",
    "cpt.yml": """\
base_model: mistralai/Mistral-7B-v0.1
plugins:
  - solar_plugins.DepthUpScalingPlugin
depth_up_scaling:
  remove_layers: 8
pretraining_dataset:
  - path: HuggingFaceFW/fineweb-edu
    type: pretrain
max_steps: 100
sequence_len: 4096
sample_packing: true
micro_batch_size: 1
gradient_accumulation_steps: 16
optimizer: adamw_torch_fused
learning_rate: 2.0e-5
lr_scheduler: cosine
bf16: true
attn_implementation: flash_attention_2
gradient_checkpointing: true
deepspeed: zero3.json
output_dir: ./outputs/small/cpt
save_steps: 50
save_total_limit: 2
streaming: true
""",
    "sft.yml": """\
base_model: ./outputs/small/cpt
plugins:
  - solar_plugins.FlanFilterPlugin
flan_filter:
  tasks: solar
  datasets: [rows.jsonl]
datasets:
  - path: vicgalle/alpaca-gpt4
    split: train
    type: alpaca
  - path: rows.jsonl
    type: alpaca_w_system.load_open_orca
sequence_len: 2048
micro_batch_size: 1
gradient_accumulation_steps: 4
num_epochs: 1
optimizer: adamw_torch_fused
learning_rate: 2.0e-5
lr_scheduler: cosine
bf16: true
attn_implementation: flash_attention_2
gradient_checkpointing: true
deepspeed: zero3.json
output_dir: ./outputs/small/sft
saves_per_epoch: 1
""",
    "dpo.yml": """\
base_model: ./outputs/small/sft
plugins:
  - solar_plugins.StepwiseDPOPlugin
rl: dpo
sdpo:
  steps:
    - datasets:
        - {path: Intel/orca_dpo_pairs, type: chatml.intel, split: train}
    - datasets:
        - path: allenai/ultrafeedback_binarized_cleaned
          type: chat_template.argilla_chat
          split: train_prefs
rl_beta: 0.1
sequence_len: 2048
micro_batch_size: 1
gradient_accumulation_steps: 4
num_epochs: 1
optimizer: adamw_torch_fused
learning_rate: 5.0e-7
lr_scheduler: linear
bf16: true
attn_implementation: flash_attention_2
gradient_checkpointing: true
deepspeed: zero3.json
output_dir: ./outputs/small/dpo
saves_per_epoch: 1
save_total_limit: 1
""",
    "mix.yml": """\
merge_method: slerp
base_model: ./outputs/small/sft
models:
  - model: ./outputs/small/sft
  - model: ./outputs/small/dpo
parameters:
  t: 0.5
dtype: bfloat16
""",
    "h6.yml": """\
model: hf
model_args:
  dtype: bfloat16
tasks: [arc_challenge, hellaswag, mmlu, truthfulqa_mc2, winogrande, gsm8k]
batch_size: 8
""",
    "zero3.json": '{"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": '
    'true}, "bf16": {"enabled": true}}\n',
    "rows.jsonl": '{"system_prompt": "s", "question": "q", "response": "r", "task_name": "t"}\n'
    * 50,
}


def spoil(file: str, old: str, new: str) -> None:
    """Replace `old`, which stands in `file` once or more, by `new` at its first place."""
    path = Path(file)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
