"""What Axolotl, MergeKit, lm-eval and our plugins take: for `solar check` and for editors.

Everything is made from the tools' own pydantic classes by `read_tools`. `known` gives `solar
check` the keys and names of a tool, from ``tools/*.json``; the schemas that editors read are in
``recipes/schema``. Both are shipped for the pinned versions, because importing the tools takes most
of a minute. To renew all of the files: ``python -m solar_plugins.check.tool_schemas``.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from solar_plugins import atomic
from solar_plugins.chain import chain_file
from solar_plugins.check.read_tools import json_schema, named_class, plugin_args
from solar_plugins.errors import SolarError
from solar_plugins.recipes import registry
from solar_plugins.shipped import root

FACTS = Path(__file__).parent / "tools"
_SCHEMAS = "recipes/schema"
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


@cache
def known(tool: str) -> dict[str, Any]:
    """The keys and names that `tool` knows (a file of ``tools/``).

    ``datasets`` has the columns of some datasets of the Hub. Where another version of a tool is
    installed than the shipped file describes, the tool itself is read, once for what is installed:
    that takes as long as importing it.
    """
    shipped: dict[str, Any] = json.loads((FACTS / f"{tool}.json").read_text(encoding="utf-8"))
    if "version" not in shipped:
        return shipped
    try:
        installed = metadata.version(tool)
    except metadata.PackageNotFoundError:  # files can be checked without the tool
        return shipped
    if installed == shipped["version"]:
        return shipped
    file = _kept(tool)
    with suppress(OSError, ValueError):  # none there, or not whole
        return json.loads(file.read_text(encoding="utf-8"))
    from solar_plugins.check.read_tools import READERS

    print(f"reading what {tool} {installed} takes, once for this installation", file=sys.stderr)
    facts = READERS[tool]()
    with suppress(OSError):  # a home that is read-only or full: read again the next time
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(file, json.dumps(facts))
    return facts


def _kept(tool: str) -> Path:
    """Where what is read of `tool` is kept: by all that is installed beside it, as some plugins of
    Axolotl import only with packages of their own."""
    own = metadata.distribution(tool)
    beside = sorted(path.name for path in Path(str(own.locate_file(""))).glob("*.dist-info"))
    parts = [str(beside), own.read_text("direct_url.json") or "", sys.version]
    parts.append(Path(__file__).with_name("read_tools.py").read_text(encoding="utf-8"))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return home / "solar_plugins" / f"{tool}-{digest[:16]}.json"


def read_schema(name: str) -> str:
    """The text of a schema for editors.

    Raises:
        SolarError: the installation has none.
    """
    file = root() / _SCHEMAS / f"{name}.json"
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SolarError(f"{file}: missing. Install solar-plugins again.") from None


def line_for(file: str | Path, name: str) -> str:
    """The comment that names the schema of `file` for an editor's YAML language server."""
    path = os.path.relpath(root() / _SCHEMAS / f"{name}.json", Path(file).absolute().parent)
    return f"# yaml-language-server: $schema={Path(path).as_posix()}"


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

    from solar_plugins.recipes.data_recipe import GENERATORS

    kinds = []
    for name, settings in GENERATORS.items():
        kind = TypeAdapter(settings).json_schema()
        kind["properties"] = {"generator": {"const": name}, **kind["properties"]}
        kind["required"] = ["generator", *kind.get("required", [])]
        kinds.append({**kind, "additionalProperties": False})
    return {"oneOf": kinds}


def chain_schema() -> dict[str, Any]:
    """Chain files, from the same names as `chain_file` reads them."""
    text = {"type": "string", "minLength": 1}
    names = {"anyOf": [text, _list_of(text)]}

    def described(schema: dict[str, Any], description: str) -> dict[str, Any]:
        return {**schema, "description": description}

    stage: dict[str, Any] = {
        "train": described(text, "An Axolotl recipe, counted from the chain file's folder."),
        "merge": described(text, "A MergeKit config."),
        "evaluate": described(text, "An lm-eval config."),
        "data": described(text, "A recipe of data that we make ourselves."),
        "from": described(names, "The stages whose models go in, or base_model."),
        "after": described(names, "Stages that must be done before."),
        "set": described({"type": "object"}, "Keys of the file to change for this stage."),
    }
    keys: dict[str, Any] = {
        "name": described(text, "What the chain makes."),
        "base_model": described(text, "Hub id or folder: the one line to change."),
        "output_dir": described(text, "Where the folders of the stages go."),
        "data": described(
            {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
            "Data sets that are read from a file or folder with the same columns.",
        ),
        "seed": described({"type": "integer", "minimum": 0}, "Of every stage."),
        "remove_checkpoints": described(
            {"type": "boolean"}, "Whether checkpoint-N folders go once their stage is verified."
        ),
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
    one_kind = {"type": "object", "oneOf": [{"required": [kind]} for kind in registry.STAGE_KINDS]}
    return {
        "type": "object",
        "properties": {key: keys.get(key, {}) for key in chain_file.CHAIN_KEYS} | _EXTENDS,
        "additionalProperties": False,
        "if": {"not": {"required": ["extends"]}},
        "then": {
            "required": list(chain_file.REQUIRED_KEYS),
            "properties": {"stages": {"additionalProperties": one_kind}},
        },
    }


_EDITORS: dict[str, tuple[Callable[[], dict[str, Any]], str, str]] = {
    "recipe": (
        recipe_schema, "Axolotl recipe", "What `axolotl train` reads, with our plugins' blocks.",
    ),
    "chain": (chain_schema, "Chain", "What `solar run` reads."),
    "merge": (merge_schema, "MergeKit config", "What `mergekit-yaml` reads."),
    "evaluate": (evaluate_schema, "lm-eval config", "What `lm_eval run --config` reads."),
    "data": (data_schema, "Data recipe", "Data that solar-plugins makes itself."),
}  # fmt: skip
NAMES = tuple(_EDITORS)
"""The schemas for editors, one for each kind of file."""


def build(name: str) -> dict[str, Any]:
    """The schema of `NAMES`, made anew from the tools."""
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
    from solar_plugins.sdpo.args import STEP_SETTINGS

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
    from solar_plugins.check.read_tools import READERS

    def write(file: Path, content: dict[str, Any]) -> None:
        atomic.write_text(file, json.dumps(content, indent=1, sort_keys=True) + "\n")

    for tool, read in READERS.items():
        write(FACTS / f"{tool}.json", read())
    known.cache_clear()
    for name in NAMES:
        write(root() / _SCHEMAS / f"{name}.json", build(name))


if __name__ == "__main__":
    write_files()
