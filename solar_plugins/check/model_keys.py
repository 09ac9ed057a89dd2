"""The keys of a pydantic model: a JSON schema for editors, a tree of names for `solar check`."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from importlib import import_module
from typing import Any


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
