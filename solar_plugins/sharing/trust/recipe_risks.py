"""What is risky in chains, Axolotl recipes, MergeKit and lm-eval configs, key by key.

All rules apply at every depth and to every kind of file: a key that a tool does not read today it
may read tomorrow, and nobody is served by a recipe that says ``trust_remote_code`` in the wrong
place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import solar_plugins
from solar_plugins.check.tool_schemas import known
from solar_plugins.recipes.registry import STAGE_KINDS
from solar_plugins.sharing.trust import templates
from solar_plugins.sharing.trust.risk import Risk, is_dotted

Place = tuple[str | int, ...]

_AXOLOTL_PLUGINS = ("cut_cross_entropy", "densemixer", "diffusion", "expert_parallel", "grokfast")
_AXOLOTL_PLUGINS += ("kernels", "liger", "mora", "spectrum")
# The others run a server, a program, or send data: kd, lm_eval, nemo_gym, swanlab, hatchery.

_CODE_KEYS = {
    "trainer_cls",
    "reward_funcs",
    "rollout_func",
    "worker_extension_cls",
    "serve_module",
    "torchdistx_path",
    "input_transform",
    "auto_map",
    "custom_pipelines",
    "confirm_run_unsafe_code",
    "allow_code",
    "function",
    "process_docs",
    "use_prompt",
    "eval_causal_lm_metrics",  # `evaluate` runs each as a script from the Hub
}
_CLASS_KEYS = {"model_type", "tokenizer_type", "processor_type", "type_of_model"}
_SHELL_KEYS = {"command", "cmd", "script", "shell", "exec", "entrypoint", "setup", "hooks"}
_ENVIRONMENT_KEYS = {"env", "environment", "environ", "env_vars", "envs", "secrets"}
_UPLOAD_KEYS = {
    "hub_model_id",
    "hub_strategy",
    "hub_token",
    "hub_private_repo",
    "push_dataset_to_hub",
    "push_to_hub",
    "hf_hub_log_args",
    "hf_mlflow_log_artifacts",
    "report_to",
    "gradio_share",
    "gradio_server_name",
    "base_url",
    "api_base",
    "vllm_server_host",
    "vllm_server_base_url",
    "proxies",
    "endpoint",
}
_UPLOAD_PREFIXES = ("wandb", "comet", "mlflow", "trackio", "swanlab", "otel", "hatchery")
_UPLOAD_SWITCHES = ("use_wandb", "use_comet", "use_mlflow", "use_trackio", "use_otel_metrics")
_KERNEL_KEYS = {"attn_implementation", "experts_implementation", "fused_attn_kernel"}

DEEPSPEED_KEYS = {
    "activation_checkpointing",
    "amp",
    "bf16",
    "communication_data_type",
    "data_types",
    "fp16",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "gradient_predivide_factor",
    "optimizer",
    "prescale_gradients",
    "scheduler",
    "seq_parallel_communication_data_type",
    "sparse_gradients",
    "steps_per_print",
    "tensor_parallel",
    "torch_autocast",
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "wall_clock_breakdown",
    "zero_allow_untested_optimizer",
    "zero_force_ds_cpu_optimizer",
    "zero_optimization",
}
"""What a DeepSpeed recipe needs; the other keys start programs, write files or send data."""

# What people write or what is shown to a model; never a path, a variable or a command.
_TEXT_KEYS = {
    "format",
    "no_input_format",
    "input_format",
    "system_format",
    "system_prompt",
    "default_system_message",
    "prompt_format",
    "chosen_format",
    "rejected_format",
    "no_system_format",
    "system_instruction",
    "step_separator",
    "special_tokens",
    "tokens",
    "added_tokens_overrides",
    "eot_tokens",
    "lora_target_modules",
    "unfrozen_parameters",
    "vllm_guided_decoding_regex",
}
_TEMPLATE_KEYS = {"chat_template", "chat_template_jinja"}

LOADERS = {"json", "csv", "parquet", "text", "arrow"}
# `datasets` reads these names with pickle, or with code of a folder.
_PICKLE_LOADERS = {"pandas", "pickle", "generator", "spark", "cache", "sql", "hdf5"}
_LM_EVAL_MODELS = {"hf", "hf-auto", "huggingface", "hf-multimodal", "vllm"}

_PICKLE_SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".npy")
_ABSOLUTE = re.compile(r"(/|~|\\\\|[A-Za-z]:[\\/]|file:)")
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*|%[A-Za-z_]\w*%|\$\(\(")
_COMMAND = re.compile(r"\$\(|`|&&|\|\||;\s*\w|\|\s*(ba|z|da)?sh\b|>\s*/|\b(curl|wget|rm|bash) -")
# What fsspec opens besides the stores that Axolotl names: files of this machine, other machines,
# what is inside an archive, one address behind another.
_ADDRESS = re.compile(
    r"(?<![\w+.-])(?!(https?|hf|s3|gs|gcs|az|abfs|oci)://)[a-z][\w+.-]*://|::|\b(file|local):", re.I
)
_REMOTE_STORES = ("s3://", "gs://", "gcs://", "az://", "abfs://", "oci://", "ftp://", "ssh://")
_OFF = (None, False, "", 0, "false", "False", "no", "off", "none", "disabled", "offline")


def risks_of(
    content: Any, file: str, kind: str | None, line: Callable[[Place], int]
) -> Iterator[Risk]:
    """Every risk in what a YAML or JSON file of a pack holds.

    Args:
        content: The mapping.
        file: Its name in the pack.
        kind: Which tool reads it, see `solar_plugins.check.kind_of`.
        line: The line of a place.
    """
    for place, key, value in values_of(content):
        for risk, found in _found(place, key, value, file, kind):
            yield Risk(file, line(place), risk, _dotted(place), f"{found}")


def values_of(value: Any, place: Place = ()) -> Iterator[tuple[Place, str, Any]]:
    """Every value at every depth, with the nearest key above it."""
    if isinstance(value, dict):
        for key, item in value.items():
            here = (*place, str(key))
            yield here, _plain(key), item
            yield from values_of(item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            here = (*place, index)
            key = next((_plain(part) for part in reversed(place) if isinstance(part, str)), "")
            if not isinstance(item, dict):
                yield here, key, item
            yield from values_of(item, here)


def _plain(key: Any) -> str:
    """The key that is set; a chain's ``set:`` and the command line dot the blocks before it."""
    return str(key).strip().lower().replace("-", "_").rsplit(".", 1)[-1].lstrip("_")


def _found(
    place: Place, key: str, value: Any, file: str, kind: str | None
) -> Iterator[tuple[str, str]]:
    on = not (isinstance(value, list | dict) and not value) and value not in _OFF
    if not on:
        return
    shown = f"{value}" if not isinstance(value, dict) else "a block"
    if key == "trust_remote_code":
        yield "trust_remote_code", shown
    elif key == "plugins":
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(place[-1], int) and not _is_allowed_plugin(str(name)):
                yield "plugin", str(name)
    elif key in _CODE_KEYS or (key in _CLASS_KEYS and not re.fullmatch(r"[A-Za-z]\w*", str(value))):
        yield "code", shown
    elif key in _SHELL_KEYS:
        yield "shell", shown
    elif key in _ENVIRONMENT_KEYS:
        yield "environment", shown
    elif key in _UPLOAD_KEYS or key in _UPLOAD_SWITCHES or _is_upload_setting(key):
        yield "upload", shown
    elif key == "use_kernels" or (key in _KERNEL_KEYS and re.search(r"[/@:]", str(value))):
        yield "kernel", shown
    elif key == "torch_compile_backend" and str(value) not in ("inductor", "eager", "aot_eager"):
        yield "code", shown
    elif _deepspeed_key(place) not in (None, *DEEPSPEED_KEYS):
        yield "deepspeed", shown
    elif key == "resume_from_checkpoint":
        yield "pickle", shown
    elif key == "model" and kind == "evaluate" and place == ("model",):
        if str(value) not in _LM_EVAL_MODELS:
            yield "upload", shown
    elif key == "tasks" and kind == "evaluate" and re.search(r"[/\\]|\.ya?ml$", str(value)):
        yield "code", shown
    if isinstance(value, str):
        yield from _found_in_text(place, key, value, file)


def _found_in_text(place: Place, key: str, value: str, file: str) -> Iterator[tuple[str, str]]:
    if "trust_remote_code" in value.replace("-", "_") and key != "trust_remote_code":
        yield "trust_remote_code", value
    if key == "type" and _is_code_type(value):
        yield "code", value
    if key == "ds_type" and value not in LOADERS:
        yield ("pickle" if value in _PICKLE_LOADERS else "dataset_script"), value
    if key in ("path", "dataset_path") and value in _PICKLE_LOADERS:
        yield "pickle", value
    if value.endswith((".py", ".pyc", ".so", ".sh", ".ipynb")) or ".py#" in value:
        yield "dataset_script", value
    if value.lower().endswith(_PICKLE_SUFFIXES):
        yield "pickle", value
    if "!function" in value:
        yield "code", value
    is_text = any(_plain(part) in _TEXT_KEYS for part in place if isinstance(part, str))
    if key in _TEMPLATE_KEYS and ("{" in value or "\n" in value):
        fault = templates.fault(value)
        if fault:
            yield "template", fault
        return
    if key == "chat_template_jinja" and not value.endswith(".jinja"):
        yield "template", f"{value} is not called .jinja, so it was not read"
    if is_text:
        if re.search(r"\{\w*[.\[]", value) or "__" in value:
            yield "template", value
        return
    if _VARIABLE.search(value):
        yield "environment", value
    elif _COMMAND.search(value):
        yield "shell", value
    if key.endswith(("_dir", "_path")) and value.startswith(_REMOTE_STORES):
        yield "upload", value
    if key == "deepspeed" and "://" in value:
        yield "deepspeed", value
    if _ADDRESS.search(value):
        yield "path", value
        return
    # lm-eval takes its model as a=b,c=d and MergeKit an adapter as model+lora.
    if any(_leads_outside(part, place, file) for part in re.split(r"[,=+]", value)):
        yield "path", value


def _deepspeed_key(place: Place) -> str | None:
    """The key of DeepSpeed's own that a place inside a recipe's ``deepspeed:`` sets."""
    parts = [part for key in place for part in str(key).split(".")]
    below = parts[parts.index("deepspeed") + 1 :] if "deepspeed" in parts else []
    return below[0] if below else None


def _is_allowed_plugin(name: str) -> bool:
    if name in [f"solar_plugins.{ours}" for ours in solar_plugins.__all__]:
        return True
    parts = name.split(".")
    return name in known("axolotl")["plugins"] and parts[2] in _AXOLOTL_PLUGINS


def _is_upload_setting(key: str) -> bool:
    first = key.split("_")[0]
    return first in _UPLOAD_PREFIXES or key.endswith(("_api_key", "_tracking_uri"))


def _is_code_type(name: str) -> bool:
    """Whether a dataset's ``type`` names code that Axolotl would import."""
    types = known("axolotl")["dataset_types"]
    base = name.split(":")[0]
    if base in (*types["sft"], *types["dpo"]) or base.startswith("solar_plugins."):
        return False
    return is_dotted(base) and not base.startswith(("bradley_terry.", "messages."))


def _leads_outside(value: str, place: Place, file: str) -> bool:
    """Whether a path is absolute, or climbs above the project's folder.

    What a chain runs and what a file extends counts from its own folder, all else from the root.
    """
    if value in ("/", "~") and not str(place[-1]).endswith(("_dir", "path", "model")):
        return False
    if _ABSOLUTE.match(value):
        return True
    if ".." not in value.replace("\\", "/").split("/"):
        return False
    from_own_folder = place[0] == "extends" or (place[0] == "stages" and place[-1] in STAGE_KINDS)
    start = os.path.dirname(file) if from_own_folder else ""
    return os.path.normpath(os.path.join(start, value)).startswith("..")


def _dotted(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
