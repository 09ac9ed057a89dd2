"""Makes the schemas that editors read, and the facts that `solar check` reads, from the tools.

Run it after a change of our plugins' arguments or of a tool's version; importing the tools takes
most of a minute: ``python tests/check/made_schemas.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from solar_plugins import atomic
from solar_plugins.check.read_tools import READERS, json_schema, named_class, plugin_args
from solar_plugins.check.tool_schemas import FACTS, SCHEMAS, known
from solar_plugins.recipes import registry
from solar_plugins.recipes.data_recipe import GENERATORS
from solar_plugins.sdpo.args import STEP_SETTINGS
from solar_plugins.shipped import root

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

    facts = known("axolotl")
    schema = _without_prose(json_schema(AxolotlInputConfig))
    theirs = [plugin_args(named_class(plugin)) for plugin in facts["plugins"]]
    parts = [_without_prose(json_schema(arguments)) for arguments in theirs if arguments]
    for part in [*parts, *(json_schema(named_class(ours)) for ours in _OUR_ARGS)]:
        for name in ("properties", "$defs"):
            schema.setdefault(name, {}).update(part.get(name, {}))
    for key, instead in facts["deprecated"].items():
        note = f"Deprecated in Axolotl. Write `{instead}` instead." if instead else "Deprecated."
        schema["properties"].setdefault(key, {}).update(
            deprecated=True, description=note, deprecationMessage=note
        )
    schema["$defs"]["StepwiseDPOConfig"]["properties"]["steps"]["items"] = _step_of_sdpo()
    schema["anyOf"] = [{"required": schema.pop("required")}, {"required": ["extends"]}]
    schema["properties"] |= _EXTENDS
    names = {*schema["properties"], *facts["keys"]}
    names.update(key for keys in facts["plugins"].values() for key in keys)
    plugins = _list_of({"type": "string", "pattern": _KNOWN_PLUGINS})
    schema["if"] = {"properties": {"plugins": {"anyOf": [plugins, {"type": "null"}]}}}
    schema["then"] = {"propertyNames": {"enum": sorted(names), "errorMessage": _UNKNOWN}}
    offered = [f"solar_plugins.{name}" for name in registry.PLUGINS] + sorted(facts["plugins"])
    offers = _list_of({"anyOf": [{"enum": offered}, {"type": "string"}]})
    schema["properties"]["plugins"] = {"anyOf": [offers, {"type": "null"}]}
    return schema


def merge_schema() -> dict[str, Any]:
    """What `mergekit-yaml` reads."""
    from mergekit.config import MergeConfiguration

    schema = _without_prose(json_schema(MergeConfiguration))
    schema["additionalProperties"] = False
    schema["properties"] |= _EXTENDS
    schema.pop("required", None)
    schema["properties"]["merge_method"]["enum"] = sorted(known("mergekit")["methods"])
    # A model is written as a folder or Hub id; MergeKit also takes its parts as a mapping.
    for name in {"ModelReference", "ModelPath"} & set(schema["$defs"]):
        schema["$defs"][name] = {"anyOf": [{"type": "string"}, schema["$defs"][name]]}
    return schema


def evaluate_schema() -> dict[str, Any]:
    """What ``lm_eval run --config`` reads; it does not say of which type."""
    properties: dict[str, Any] = {key: {} for key in known("lm_eval")["keys"]}
    properties["tasks"] = {"anyOf": [{"type": "string"}, _list_of({"type": "string"})]}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def data_schema() -> dict[str, Any]:
    """The recipes of data that we make ourselves."""
    from pydantic import TypeAdapter

    kinds = []
    for name, settings in GENERATORS.items():
        kind = TypeAdapter(settings).json_schema()
        kind["properties"] = {"generator": {"const": name}, **kind["properties"]}
        kind["required"] = ["generator", *kind.get("required", [])]
        kinds.append({**kind, "additionalProperties": False})
    return {"oneOf": kinds}


_EDITORS: dict[str, tuple[Callable[[], dict[str, Any]], str, str]] = {
    "recipe": (
        recipe_schema, "Axolotl recipe", "What `axolotl train` reads, with our plugins' blocks.",
    ),
    "merge": (merge_schema, "MergeKit config", "What `mergekit-yaml` reads."),
    "evaluate": (evaluate_schema, "lm-eval config", "What `lm_eval run --config` reads."),
    "data": (data_schema, "Data recipe", "Data that solar-plugins makes itself."),
}  # fmt: skip
MADE = tuple(_EDITORS)
"""The schemas for editors, one for each kind of file; that of chains is written by hand."""


def build(name: str) -> dict[str, Any]:
    """A schema of `MADE`, made anew from the tools."""
    make, title, description = _EDITORS[name]
    return {"$schema": _DIALECT, **make(), "title": title, "description": description}


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


def _step_of_sdpo() -> dict[str, Any]:
    """What one entry of ``sdpo.steps`` takes: the recipe's own keys, as `sdpo.args` reads them."""
    own = {key: {"$ref": f"#/properties/{key}"} for key in ("datasets", *STEP_SETTINGS)}
    block = "#/$defs/StepwiseDPOConfig/properties"
    own |= {key: {"$ref": f"{block}/{key}"} for key in ("reference", "policy")}
    return {
        "type": "object",
        "properties": own,
        "required": ["datasets"],
        "additionalProperties": False,
    }


def _list_of(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def write_files() -> None:
    """Write the facts about the tools, then the schemas, which use them."""

    def write(file: Path, content: dict[str, Any]) -> None:
        atomic.write_text(file, json.dumps(content, indent=1, sort_keys=True) + "\n")

    for tool, read in READERS.items():
        write(FACTS / f"{tool}.json", read())
    known.cache_clear()
    for name in MADE:
        write(root() / SCHEMAS / f"{name}.json", build(name))


if __name__ == "__main__":
    write_files()
