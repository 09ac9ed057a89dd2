"""Which of Axolotl's keys a step may set for itself, and which decide what a step's weights become.

Plain names: Axolotl's own schema gives them their types, when the plugin is registered.
"""

from __future__ import annotations

STEP_SETTINGS = (
    "learning_rate",
    "num_epochs",
    "max_steps",
    "rl_beta",
    "warmup_steps",
    "warmup_ratio",
    "lr_scheduler",
    "lr_scheduler_kwargs",
    "cosine_min_lr_ratio",
    "cosine_constant_lr_ratio",
    "micro_batch_size",
    "gradient_accumulation_steps",
    "eval_batch_size",
    "sequence_len",
    "seed",
    "optimizer",
    "weight_decay",
    "max_grad_norm",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "dpo_loss_type",
    "dpo_loss_weights",
    "dpo_label_smoothing",
    "dpo_use_weighting",
    "val_set_size",
    "test_datasets",
    "early_stopping_patience",
    "load_best_model_at_end",
    "eval_steps",
    "eval_strategy",
    "save_steps",
    "save_strategy",
    "save_total_limit",
    "logging_steps",
)
"""Training keys that a step may set for itself; the others are the recipe's, for all steps."""

YIELDS = {
    "warmup_ratio": ("warmup_steps",),
    "num_epochs": ("max_steps",),
    "eval_strategy": ("eval_steps",),
    "save_strategy": ("save_steps",),
    "test_datasets": ("val_set_size",),
    "val_set_size": ("test_datasets",),
}
"""Keys of the recipe that Axolotl would follow in place of the step's key, so they are unset."""

_BOOKKEEPING = (
    "eval_batch_size",
    "eval_steps",
    "eval_strategy",
    "save_steps",
    "save_strategy",
    "save_total_limit",
    "logging_steps",
)

DECISIVE = (
    "base_model",
    "rl",
    "bf16",
    "fp16",
    "chat_template",
    "global_batch_size",
    "excess_length_strategy",
    "adapter",
    "lora_model_dir",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_target_modules",
    "lora_target_linear",
    "lora_target_parameters",
    "lora_modules_to_save",
    "peft_use_dora",
    "peft_use_rslora",
    "peft_init_lora_weights",
    "load_in_4bit",
    "load_in_8bit",
    *(key for key in STEP_SETTINGS if key not in _BOOKKEEPING),
)
"""The keys that decide what a step's weights become: the same on resume, or refused."""
