"""Reads the keys and names that the installed tools know, from their own pydantic classes.

Importing them takes most of a minute: this runs to renew the shipped files (see `tool_schemas`),
where another version is installed, and in a test that compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from enum import Enum
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from solar_plugins.check.finding import RULES
from solar_plugins.models.chat_template import render

_TEMPLATE_TOKEN = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]|eos_token")


def read_axolotl() -> dict:
    """What axolotl knows: keys, deprecated keys, optimizers, schedulers, dataset types, plugins."""
    from axolotl.utils.schemas import datasets
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from axolotl.utils.schemas.deprecated import DeprecatedParameters
    from axolotl.utils.schemas.enums import CustomSupportedOptimizers
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    replaced_by = RULES["replaced_by"]
    deprecated = {name: replaced_by.get(name, "") for name in DeprecatedParameters.model_fields}
    for name, info in AxolotlInputConfig.model_fields.items():
        note = str((info.json_schema_extra or {}).get("description", ""))
        if info.deprecated or re.match(r"\[?deprecated", note, re.IGNORECASE):
            quoted = re.search(r"use `([^`]+)` instead", str(info.deprecated), re.IGNORECASE)
            deprecated[name] = quoted[1] if quoted else replaced_by.get(name, "")
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

    names = [] if folder else [*DATASET_HANDLERS, "messages", "_synthetic"]
    for file in (_folder_of("axolotl.prompt_strategies") / folder).glob("*.py"):
        text = file.read_text(encoding="utf-8") if file.stem not in ("__init__", "base") else ""
        for name in re.findall(r"(?m)^(?:def |(?=\w+ = ))([A-Za-z]\w*)", text):
            if not name.isupper() and (folder or name.startswith("load_")):
                names.append(f"{file.stem}.{name}")
            if name == ("default" if folder else "load"):
                names.append(file.stem)
    return sorted(set(names))


def _plugin_keys() -> dict[str, dict]:
    """The keys that each of axolotl's own plugins adds, by the plugin's dotted name."""
    from axolotl.integrations.base import BasePlugin

    plugins = {}
    for init in sorted(_folder_of("axolotl.integrations").glob("*/__init__.py")):
        module = f"axolotl.integrations.{init.parent.name}"
        for name in dict.fromkeys(re.findall(r"\w+Plugin\b", init.read_text(encoding="utf-8"))):
            try:
                plugin = getattr(import_module(module), name, None)
            except ImportError:  # needs a package that is not installed here
                continue
            if not isinstance(plugin, type) or plugin is BasePlugin:
                continue
            if issubclass(plugin, BasePlugin):
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

    data, methods = _folder_of("mergekit") / "_data", {}
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
    tensors: set[str] = set()  # of the architectures that it describes, of layer 0
    for file in (data / "architectures").glob("*.json"):
        names = re.findall(r'"name":\s*"([^"]+\.[^"]+)"', file.read_text(encoding="utf-8"))
        tensors |= {re.sub(r"\$\{[^}]*\}", "0", name) for name in names}
    templates = {file.stem for file in (data / "chat_templates").glob("*.jinja")}
    return {
        "version": metadata.version("mergekit"),
        "keys": key_tree(MergeConfiguration),
        "methods": dict(sorted(methods.items())),
        "dtypes": ["bfloat16", "float16", "float32", "float64", "int64"],
        "tensors": sorted(tensors),
        "chat_templates": sorted(templates | {"auto"}),
    }


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


def json_schema(model: Any) -> dict[str, Any]:
    """The JSON schema of a pydantic model, with every alias of a key, without defaults."""
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        """Axolotl has enums of `torch.dtype`, which YAML writes by their names."""

        def enum_schema(self, schema: Any) -> dict[str, Any]:
            members: Iterable[Enum] = schema["members"]
            plain = [m.value if isinstance(m.value, str | int) else m.name for m in members]
            return {"enum": plain}

        def default_schema(self, schema: Any) -> dict[str, Any]:
            return self.generate_inner(schema["schema"])  # some defaults are not JSON

        def model_schema(self, schema: Any) -> dict[str, Any]:
            made = super().model_schema(schema)
            properties = made.get("properties", {})
            for name, info in schema["cls"].model_fields.items():
                alias = info.validation_alias
                names = {name, info.alias, *getattr(alias, "choices", [alias])} - {None}
                for other in names - set(properties):
                    properties[str(other)] = properties[next(n for n in names if n in properties)]
            return made

        def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
            return {}

        def emit_warning(self, kind: Any, detail: str) -> None:
            """Defaults that are not JSON are left out on purpose."""

    return model.model_json_schema(schema_generator=Generator)


def key_tree(model: type) -> dict[str, Any]:
    """The keys of a pydantic model, nested keys below their key, None where anything goes.

    The keys of a list's items are found below the list's key, the members of a union are merged,
    and ``"*"`` is the key of a mapping with free names.
    """
    schema = json_schema(model)
    return _below(schema, schema.get("$defs", {}), ()) or {}


def _below(schema: dict[str, Any], defs: dict[str, Any], above: tuple[str, ...]) -> Any:
    name = schema.get("$ref", "").rpartition("/")[2]
    if name:
        return None if name in above else _below(defs[name], defs, (*above, name))
    free = schema.get("additionalProperties")
    if "properties" in schema:
        if free is True:
            return None
        return {k: _below(v, defs, above) for k, v in sorted(schema["properties"].items())} or None
    if isinstance(free, dict):
        below = _below(free, defs, above)
        return {"*": below} if below else None
    members = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf") or []
    if any(_is_free(member) for member in members):
        return None
    members = [*members, *schema.get("prefixItems", []), schema.get("items")]
    merged: dict[str, Any] = {}
    for member in members:
        merged |= (_below(member, defs, above) if isinstance(member, dict) else None) or {}
    return merged or None


def _is_free(schema: dict[str, Any]) -> bool:
    """Whether a member of a union takes anything, or a mapping of anything."""
    is_free_mapping = schema.get("type") == "object" and schema.get("additionalProperties") is True
    return not set(schema) - {"title", "description"} or (
        is_free_mapping and "properties" not in schema
    )


def plugin_args(plugin: type) -> type | None:
    """The class with the keys that an Axolotl plugin adds to a recipe; None if it adds none."""
    name: str | None = plugin().get_input_args()
    return named_class(name) if name else None


def plugin_keys(plugin: type) -> dict[str, Any]:
    """`key_tree` of the keys that an Axolotl plugin adds to a recipe."""
    arguments = plugin_args(plugin)
    return key_tree(arguments) if arguments else {}


def named_class(dotted: str) -> type:
    """The class that a dotted path names."""
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


READERS = {
    "axolotl": read_axolotl,
    "mergekit": read_mergekit,
    "lm_eval": read_lm_eval,
    "deepspeed": read_deepspeed,
    "transformers": read_transformers,
}
