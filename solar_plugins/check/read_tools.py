"""Reads the keys and names that the installed Axolotl, MergeKit and lm-eval know.

Importing them takes most of a minute: this runs to renew the shipped files (see `tool_schemas`),
where another version is installed, and in a test that compares the two.
"""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from solar_plugins.check.model_keys import key_tree, plugin_keys
from solar_plugins.check.tokenizer_files import render

_TEMPLATE_TOKEN = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]|eos_token")

# What to write instead of a key that axolotl's own schema lists as deprecated but gives no
# replacement for in a form that a program could read.
_REPLACED_BY = {
    "dpo_beta": "rl_beta",
    "eval_max_new_tokens": "generation_max_new_tokens",
    "eval_table_size": "generate_samples",
    "evaluation_strategy": "eval_strategy",
    "flash_attn_d512": "large_head_attention: auto",
    "max_packed_sequence_len": "sequence_len",
    "noisy_embedding_alpha": "neftune_noise_alpha",
    "pretrain_multipack_buffer_size": "streaming_multipack_buffer_size",
    "rope_scaling": "model_config",
    "sequence_parallel_degree": "context_parallel_size",
}


def read_axolotl() -> dict:
    """What axolotl knows: keys, deprecated keys, optimizers, schedulers, dataset types, plugins."""
    from axolotl.utils.schemas import datasets
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from axolotl.utils.schemas.deprecated import DeprecatedParameters
    from axolotl.utils.schemas.enums import CustomSupportedOptimizers
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    deprecated = {name: _REPLACED_BY.get(name, "") for name in DeprecatedParameters.model_fields}
    for name, info in AxolotlInputConfig.model_fields.items():
        note = str((info.json_schema_extra or {}).get("description", ""))
        if info.deprecated or re.match(r"\[?deprecated", note, re.IGNORECASE):
            quoted = re.search(r"use `([^`]+)` instead", str(info.deprecated), re.IGNORECASE)
            deprecated[name] = quoted[1] if quoted else _REPLACED_BY.get(name, "")
    return {
        "version": metadata.version("axolotl"),
        "keys": key_tree(AxolotlInputConfig),
        # With `rl`, the entries of `datasets` are read by a narrower class.
        "dataset_keys": {
            "sft": key_tree(datasets.SFTDataset),
            "preference": key_tree(datasets.DPODataset),
            "kto": key_tree(datasets.KTODataset),
        },
        "deprecated": dict(sorted(deprecated.items())),
        "optimizers": sorted(
            {e.value for e in OptimizerNames} | {e.value for e in CustomSupportedOptimizers}
        ),
        "schedulers": sorted({e.value for e in SchedulerType} | {"one_cycle", "rex"}),
        "dataset_types": {
            name: _strategies("" if name == "sft" else name)
            for name in ("sft", "dpo", "kto", "orpo")
        },
        "plugins": _plugin_keys(),
        "chat_templates": _chat_templates(),
        "choices": _choices(),
    }


def _choices() -> dict[str, list[str]]:
    """By key: the names that transformers takes, which Axolotl hands on as they are."""
    import transformers
    from transformers.trainer_utils import HubStrategy, IntervalStrategy, SaveStrategy

    public = dir(transformers)
    return {
        "eval_strategy": [e.value for e in IntervalStrategy],
        "save_strategy": [e.value for e in SaveStrategy],
        "hub_strategy": [e.value for e in HubStrategy],
        "model_type": sorted(name for name in public if re.search(r"(LM|Generation)$", name)),
        "tokenizer_type": sorted(n for n in public if re.search(r"Tokenizer(Fast)?$", n)),
    }


def _chat_templates() -> dict[str, str]:
    """The tokens that each chat template writes around a question and its answer, in order.

    Nothing else of a template is kept: whether its tokens are known, and whether it ends an answer,
    is what is checked. ``eos_token`` stands by its name.
    """
    from jinja2 import TemplateError

    from solar_plugins.seams.axolotl import named_chat_templates

    special = {"eos_token": "eos_token", "bos_token": "", "pad_token": ""}
    texts = {}
    for name, template in sorted(named_chat_templates().items()):
        for question in ("Q", [{"type": "text", "text": "Q"}]):  # vision templates want a list
            messages: list[dict[str, Any]] = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": "A"},
            ]
            try:
                text = render(template, messages, **special)
            except (TemplateError, TypeError):
                continue
            texts[name] = " ".join(dict.fromkeys(_TEMPLATE_TOKEN.findall(text)))
            break
    return texts


def _strategies(folder: str) -> list[str]:
    """The names that ``type:`` of a dataset may have, from the functions of the strategy files."""
    from axolotl.utils.data.wrappers import DATASET_HANDLERS

    package = _folder_of("axolotl.prompt_strategies")
    names = [] if folder else [*DATASET_HANDLERS, "messages", "_synthetic"]
    for file in sorted((package / folder).glob("*.py")):
        if file.stem in ("__init__", "base"):
            continue
        for name in _public_names(file):
            if folder or name.startswith("load_"):
                names.append(f"{file.stem}.{name}")
            if name == ("default" if folder else "load"):
                names.append(file.stem)
    return sorted(set(names))


def _public_names(file: Path) -> list[str]:
    """What a Python file defines at its top level, without importing it."""
    names: list[str] = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_") and not name.isupper()]


def _plugin_keys() -> dict[str, dict]:
    """The keys that each of axolotl's own plugins adds, by the plugin's dotted name."""
    from axolotl.integrations.base import BasePlugin

    package = _folder_of("axolotl.integrations")
    plugins = {}
    for init in sorted(package.glob("*/__init__.py")):
        module = f"axolotl.integrations.{init.parent.name}"
        tree = ast.parse(init.read_text(encoding="utf-8"))
        imported = [
            a.asname or a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names
        ]
        defined = [n.name for n in tree.body if isinstance(n, ast.ClassDef)]
        if not any(name.endswith("Plugin") for name in (*imported, *defined)):
            continue
        for name in (*imported, *defined):
            if not name.endswith("Plugin") or name == "BasePlugin":
                continue
            try:
                plugin = getattr(import_module(module), name)
            except ImportError:  # needs a package that is not installed here
                continue
            if isinstance(plugin, type) and issubclass(plugin, BasePlugin):
                plugins[f"{module}.{name}"] = plugin_keys(plugin)
    return plugins


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(package)
    return Path(spec.submodule_search_locations[0])


def read_mergekit() -> dict:
    """What mergekit knows: keys, merge methods with their parameters and input contracts."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge_methods import registered_methods

    methods = {}
    for method in registered_methods():
        contract = method.spec.contract
        methods[method.spec.name] = {
            "parameters": {
                p.name: {
                    "type": p.value_type.__name__ if isinstance(p.value_type, type) else "float",
                    "scope": p.scope.value,
                    "required": p.required,
                }
                for p in method.spec.parameters
            },
            "base": contract.base.value,
            "inputs": [contract.min_inputs, contract.max_inputs],
            "non_base": [contract.min_non_base, contract.max_non_base],
        }
    return {
        "version": metadata.version("mergekit"),
        "keys": key_tree(MergeConfiguration),
        "methods": dict(sorted(methods.items())),
        "dtypes": ["bfloat16", "float16", "float32", "float64", "int64"],
        "tensors": sorted(_tensor_names()),
        "chat_templates": sorted(_merge_templates()),
    }


def _tensor_names() -> set[str]:
    """The names of tensors in the architectures that mergekit describes, of layer 0."""
    folder = _folder_of("mergekit") / "_data" / "architectures"
    names = set()
    for file in folder.glob("*.json"):
        for name in re.findall(r'"name":\s*"([^"]+)"', file.read_text(encoding="utf-8")):
            if "." in name:
                names.add(re.sub(r"\$\{[^}]*\}", "0", name))
    return names


def _merge_templates() -> set[str]:
    folder = _folder_of("mergekit") / "_data" / "chat_templates"
    return {file.stem for file in folder.glob("*.jinja")} | {"auto"}


def read_deepspeed() -> dict:
    """The keys of DeepSpeed's configuration that are checked: those of ZeRO."""
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    # Its fields carry functions, which have no JSON schema; only the top keys are needed.
    infos = DeepSpeedZeroConfig.model_fields
    names = {*infos, *(info.alias for info in infos.values() if info.alias)}
    return {"version": metadata.version("deepspeed"), "zero": dict.fromkeys(sorted(names))}


def read_transformers() -> dict:
    """The model types that it builds a causal language model for, and its classes for a model."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return {
        "version": metadata.version("transformers"),
        "causal_lm": sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        "auto_models": sorted(n for n in dir(transformers) if n.startswith("AutoModel")),
    }


def read_lm_eval() -> dict:
    """The keys of a file for ``lm_eval run --config``."""
    from lm_eval.config.evaluate_config import EvaluatorConfig

    return {
        "version": metadata.version("lm_eval"),
        "keys": {f.name: None for f in sorted(fields(EvaluatorConfig), key=lambda f: f.name)},
    }


READERS = {
    "axolotl": read_axolotl,
    "mergekit": read_mergekit,
    "lm_eval": read_lm_eval,
    "deepspeed": read_deepspeed,
    "transformers": read_transformers,
}
