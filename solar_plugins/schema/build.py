"""JSON schemas of the files that a chain runs, for editors: made from the tools' own classes.

The result is kept in ``recipes/schema`` and named in the first line of every recipe, so that an
editor with a YAML language server completes keys and underlines typos; keys of ours are explained.
The tools' explanations of theirs are not repeated here: `axolotl config-schema` prints them. To
renew the files: ``python -m solar_plugins.schema.build``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from importlib import import_module
from typing import Any

from solar_plugins import __all__ as _OURS
from solar_plugins import atomic
from solar_plugins.chain import chain_file
from solar_plugins.recipes import registry
from solar_plugins.schema.shipped import NAMES, folder

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_OUR_ARGS = (
    "solar_plugins.depth_up_scaling.args.DepthUpScalingArgs",
    "solar_plugins.flan_filter.args.FlanFilterArgs",
    "solar_plugins.sdpo.args.StepwiseDPOArgs",
    "solar_plugins.chain.training.args.StageArgs",
)

_EXTENDS: dict[str, Any] = {
    "extends": {
        "type": "string",
        "description": "The shipped recipe, or the file, of which only the changes stand here.",
    }
}

_UNKNOWN = "Neither Axolotl nor a plugin of this recipe knows this key: it would be dropped."

_KNOWN_PLUGINS = r"^(axolotl|solar_plugins)\."


def recipe_schema() -> dict[str, Any]:
    """Axolotl's own schema with the keys of its plugins and of ours.

    A key that nobody knows is an error, unless the recipe names a plugin that may bring it.
    """
    from axolotl.utils.schemas.config import AxolotlInputConfig

    from solar_plugins.check.tool_facts import known

    facts = known("axolotl")
    schema = _of_model(AxolotlInputConfig)
    for plugin in facts["plugins"]:
        module, _, name = plugin.rpartition(".")
        arguments = getattr(import_module(module), name)().get_input_args()
        _add(schema, _of_model(_named(arguments)) if arguments else {})
    for arguments in _OUR_ARGS:
        _add(schema, _of_model(_named(arguments)))
    for key, instead in facts["deprecated"].items():
        note = f"Deprecated in Axolotl. Write `{instead}` instead." if instead else "Deprecated."
        schema["properties"].setdefault(key, {}).update(
            deprecated=True, description=note, deprecationMessage=note
        )
    schema["$defs"]["StepwiseDPOConfig"]["properties"]["steps"]["items"] = _step_of_sdpo()
    required = schema.pop("required")
    schema["anyOf"] = [{"required": required}, {"required": ["extends"]}]
    schema["properties"] |= _EXTENDS
    names = {*schema["properties"], *facts["keys"]}
    names.update(key for keys in facts["plugins"].values() for key in keys)
    plugins = {"type": "array", "items": {"type": "string", "pattern": _KNOWN_PLUGINS}}
    schema["if"] = {"properties": {"plugins": {"anyOf": [plugins, {"type": "null"}]}}}
    schema["then"] = {"propertyNames": {"enum": sorted(names), "errorMessage": _UNKNOWN}}
    offered = [f"solar_plugins.{name}" for name in _OURS if name.endswith("Plugin")] + sorted(
        facts["plugins"]
    )
    schema["properties"]["plugins"] = _or_null(
        _list_of({"anyOf": [{"enum": offered}, {"type": "string"}]})
    )
    return _titled(
        schema, "Axolotl recipe", "What `axolotl train` reads, with our plugins' blocks."
    )


def merge_schema() -> dict[str, Any]:
    """What `mergekit-yaml` reads."""
    from mergekit.config import MergeConfiguration

    from solar_plugins.check.tool_facts import known

    schema = _of_model(MergeConfiguration)
    schema["additionalProperties"] = False
    schema["properties"] |= _EXTENDS
    schema.pop("required", None)
    schema["properties"]["merge_method"]["enum"] = sorted(known("mergekit")["methods"])
    # A model is written as a folder or Hub id; MergeKit also takes its parts as a mapping.
    for name in ("ModelReference", "ModelPath"):
        if name in schema["$defs"]:
            schema["$defs"][name] = {"anyOf": [{"type": "string"}, schema["$defs"][name]]}
    return _titled(schema, "MergeKit config", "What `mergekit-yaml` reads.")


def evaluate_schema() -> dict[str, Any]:
    """What ``lm_eval run --config`` reads; it does not say of which type."""
    from solar_plugins.check.tool_facts import known

    properties: dict[str, Any] = {key: {} for key in known("lm_eval")["keys"]}
    properties["tasks"] = {"anyOf": [{"type": "string"}, _list_of({"type": "string"})]}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return _titled(schema, "lm-eval config", "What `lm_eval run --config` reads.")


def data_schema() -> dict[str, Any]:
    """The recipes of data that we make ourselves."""
    from pydantic import TypeAdapter

    from solar_plugins.recipes.data_recipe import GENERATORS

    kinds = []
    for name, settings in GENERATORS.items():
        kind = TypeAdapter(settings).json_schema()
        kind["properties"] = {"generator": {"const": name}, **kind["properties"]}
        kind["required"] = ["generator", *kind.get("required", [])]
        kinds.append({**kind, "additionalProperties": False})
    return _titled({"oneOf": kinds}, "Data recipe", "Data that solar-plugins makes itself.")


def chain_schema() -> dict[str, Any]:
    """Chain files, from the same names as `chain_file` reads them."""
    text = {"type": "string", "minLength": 1}
    names = {"anyOf": [text, _list_of(text)]}
    described = {
        "train": "An Axolotl recipe, counted from the chain file's folder.",
        "merge": "A MergeKit config.",
        "evaluate": "An lm-eval config.",
        "data": "A recipe of data that we make ourselves.",
    }
    stage: dict[str, Any] = {
        kind: {**text, "description": described[kind]} for kind in registry.STAGE_KINDS
    }
    stage |= {
        "from": {**names, "description": "The stages whose models go in, or base_model."},
        "after": {**names, "description": "Stages that must be done before."},
        "set": {"type": "object", "description": "Keys of the file to change for this stage."},
    }
    keys: dict[str, Any] = {
        "name": {**text, "description": "What the chain makes."},
        "base_model": {**text, "description": "Hub id or folder: the one line to change."},
        "output_dir": {**text, "description": "Where the folders of the stages go."},
        "seed": {"type": "integer", "minimum": 0, "description": "Of every stage."},
        "stages": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{chain_file.STAGE_NAME.pattern}$"},
            "additionalProperties": {
                "type": ["object", "null"],
                "properties": {key: stage.get(key, {}) for key in chain_file.STAGE_KEYS},
                "additionalProperties": False,
            },
        },
    }
    one_kind = {
        "type": "object",
        "oneOf": [{"required": [kind]} for kind in registry.STAGE_KINDS],
    }
    schema = {
        "type": "object",
        "properties": {key: keys.get(key, {}) for key in chain_file.CHAIN_KEYS} | _EXTENDS,
        "additionalProperties": False,
        "if": {"not": {"required": ["extends"]}},
        "then": {
            "required": list(chain_file.REQUIRED_KEYS),
            "properties": {"stages": {"additionalProperties": one_kind}},
        },
    }
    return _titled(schema, "Chain", "What `solar run` reads.")


BUILDERS = {
    "recipe": recipe_schema,
    "chain": chain_schema,
    "merge": merge_schema,
    "evaluate": evaluate_schema,
    "data": data_schema,
}


def _of_model(model: type) -> dict[str, Any]:
    from pydantic.json_schema import GenerateJsonSchema

    class WithDtypes(GenerateJsonSchema):
        """Axolotl has enums of `torch.dtype`, which YAML writes by their names."""

        def enum_schema(self, schema: Any) -> dict[str, Any]:
            members: Iterable[Enum] = schema["members"]
            plain = [m.value if isinstance(m.value, str | int) else m.name for m in members]
            return {"enum": plain}

        def default_schema(self, schema: Any) -> dict[str, Any]:
            # Restating defaults helps nobody, and some of them are no JSON.
            return self.generate_inner(schema["schema"])

        def emit_warning(self, kind: Any, detail: str) -> None:
            """Defaults that are no JSON are left out on purpose."""

    schema = model.model_json_schema(schema_generator=WithDtypes)
    return schema if model.__module__.startswith("solar_plugins.") else _without_prose(schema)


def _without_prose(schema: Any) -> Any:
    """`schema` with types and names only; a property may itself be called ``description``."""
    if isinstance(schema, list):
        return [_without_prose(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_prose(value)
        for key, value in schema.items()
        if not (key in ("description", "examples") and isinstance(value, str | list))
    }


def _named(dotted: str) -> type:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


def _step_of_sdpo() -> dict[str, Any]:
    """What one entry of ``sdpo.steps`` takes: the recipe's own keys, as `step_plan` reads them."""
    from solar_plugins.sdpo.settings import STEP_SETTINGS

    own = {key: {"$ref": f"#/properties/{key}"} for key in ("datasets", *STEP_SETTINGS)}
    block = "#/$defs/StepwiseDPOConfig/properties"
    own |= {key: {"$ref": f"{block}/{key}"} for key in ("reference", "policy")}
    return {
        "type": "object",
        "properties": own,
        "required": ["datasets"],
        "additionalProperties": False,
    }


def _add(schema: dict[str, Any], other: dict[str, Any]) -> None:
    for part in ("properties", "$defs"):
        schema.setdefault(part, {}).update(other.get(part, {}))


def _list_of(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _titled(schema: dict[str, Any], title: str, description: str) -> dict[str, Any]:
    return {"$schema": _DIALECT, **schema, "title": title, "description": description}


def write_files() -> None:
    """Write every schema to the folder that the recipes name."""
    for name in NAMES:
        text = json.dumps(BUILDERS[name](), indent=1, sort_keys=True) + "\n"
        atomic.write_text(folder() / f"{name}.json", text)


if __name__ == "__main__":
    write_files()
