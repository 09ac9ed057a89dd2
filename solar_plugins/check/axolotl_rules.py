"""Axolotl recipes, read by Axolotl's own validators as on a machine with eight H100.

Importing Axolotl takes a while; what can be checked without it is in `recipe`.
"""

from __future__ import annotations

import copy
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from solar_plugins.check import keys
from solar_plugins.check.model_keys import plugin_keys
from solar_plugins.check.recipe import OUR_PLUGINS, plugin_names
from solar_plugins.check.source import Path_, YamlFile, at
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError, nearest
from solar_plugins.models import model_config
from solar_plugins.quiet import quiet
from solar_plugins.recipes.named_data import datasets_of

# The machine that full-size recipes are written for (FP8, bf16 and tf32 of compute capability 9).
CAPABILITIES = {
    "bf16": True,
    "fp8": True,
    "tf32": True,
    "n_gpu": 8,
    "compute_capability": "sm_90",
}
ENV_CAPABILITIES = {"torch_version": "2.13.0"}

_NEEDED = {
    "bool": "true or false is needed",
    "dict": "a block of keys is needed",
    "enum": "one of {expected} is needed",
    "float": "a number is needed",
    "int": "a whole number is needed",
    "list": "a list is needed",
    "literal": "one of {expected} is needed",
    "string": "a text is needed",
}


def check(source: YamlFile, base_model_is_given: bool = False) -> None:
    """Add what Axolotl's validators, and our up-scaling, refuse in the recipe `source`.

    Places that already have a finding are left alone: its line says more than theirs.
    """
    with quiet():
        _check(source, base_model_is_given)
        _up_scaling(source)


def _up_scaling(source: YamlFile) -> None:
    """What the depth up-scaling refuses in the architecture of a base on this machine."""
    recipe, model = source.content, source.base_model
    if "solar_plugins.DepthUpScalingPlugin" not in plugin_names(recipe):
        return
    if model is None or model_config.file_of(model) is None:
        return
    # A base's own code is not run by a check; and what is wrong already may be why.
    if recipe.get("trust_remote_code") or any(not f.is_note for f in source.findings):
        return
    from solar_plugins.depth_up_scaling.plugin import DepthUpScalingPlugin

    # As for `axolotl preprocess`: no adapter's base is written.
    recipe = {**copy.deepcopy(recipe), "base_model": model, "is_preprocess": True}
    try:
        DepthUpScalingPlugin().register(recipe)
    except SolarError as error:
        where, _, message = str(error).partition(": ")
        source.add(tuple(where.split(".")), "model", message)


def _check(source: YamlFile, base_model_is_given: bool) -> None:
    from axolotl.integrations.base import PluginManager, load_plugin
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault
    from pydantic import ValidationError

    recipe = copy.deepcopy(source.content)
    if base_model_is_given and not recipe.get("base_model"):
        recipe["base_model"] = "base_model"
    _sdpo_datasets(recipe)
    named = recipe.get("plugins")
    plugins = named if isinstance(named, list) else []
    manager = PluginManager.get_instance()
    with _plugins_of_this_recipe_only(manager):
        loaded = {}
        for index, name in enumerate(plugins):
            if any(f.path == f"plugins[{index}]" for f in source.findings):
                continue
            try:
                loaded[str(name)] = load_plugin(str(name))
            except (ImportError, AttributeError, ValueError) as error:
                reason = " ".join(str(error).split())
                # One of Axolotl's own whose package is not on this machine is written rightly.
                is_written_rightly = (
                    str(name).startswith("axolotl.")
                    and isinstance(error, ModuleNotFoundError)
                    and not str(error.name).startswith("axolotl")
                )
                source.add(
                    ("plugins", index),
                    "plugin",
                    f"{name} does not import ({reason}); Axolotl would train on without it.",
                    is_note=is_written_rightly,
                )
        manager.plugins = OrderedDict(loaded)
        _keys_of_strangers(source, loaded)
        has_bad_shape = any(f.path in ("plugins", "datasets") for f in source.findings)
        if has_bad_shape or not recipe.get("base_model", "missing"):
            return  # Axolotl would stumble over the shape before it says what is wrong
        try:
            with _schemas_built_once(tuple(loaded)):
                validate_config(
                    DictDefault(recipe),
                    capabilities=CAPABILITIES,
                    env_capabilities=ENV_CAPABILITIES,
                )
        except ValidationError as error:
            _add_refusals(source, error)
        except ImportError as error:
            message = " ".join(str(error).split())
            source.add((), "refused", f"needs a package that is not here: {message}", is_note=True)
        except (ValueError, DeprecationWarning, TypeError, KeyError, AttributeError) as error:
            # Axolotl's own validators raise these past pydantic; nothing of ours runs in there.
            message = " ".join(str(error).split())
            if not any(f.kind == "deprecated-key" and f.path in message for f in source.findings):
                source.add((), "refused", f"refused by Axolotl: {message}")


_SCHEMAS: dict[tuple[str, ...], Any] = {}
"""By the names of the plugins: Axolotl's schema with their keys."""


@contextmanager
def _schemas_built_once(plugins: tuple[str, ...]) -> Iterator[None]:
    """Axolotl builds its whole schema anew for every recipe with a plugin, 0.3 s each time."""
    from axolotl.utils import config

    build = config.merge_input_args

    def once() -> Any:
        if plugins not in _SCHEMAS:
            _SCHEMAS[plugins] = build()
        return _SCHEMAS[plugins]

    config.merge_input_args = once
    try:
        yield
    finally:
        config.merge_input_args = build


@contextmanager
def _plugins_of_this_recipe_only(manager: Any) -> Iterator[None]:
    """Axolotl's plugin manager is one per process and keeps the plugins of earlier recipes."""
    before = manager.plugins
    try:
        yield
    finally:
        manager.plugins = before


def _sdpo_datasets(recipe: dict[str, Any]) -> None:
    """Axolotl wants `datasets`; with `sdpo` they stand in the steps, and the plugin moves them."""
    block = recipe.get("sdpo")
    if recipe.get("datasets") or not isinstance(block, dict):
        return
    if entries := list(datasets_of({"sdpo": block})):
        recipe["datasets"] = entries


def _keys_of_strangers(source: YamlFile, loaded: dict[str, Any]) -> None:
    """Unknown keys of a recipe with a plugin that neither Axolotl nor we ship."""
    facts = known("axolotl")
    strangers = [name for name in loaded if name not in {*facts["plugins"], *OUR_PLUGINS}]
    if not strangers:
        return
    tree = dict(facts["keys"])
    for name, plugin in loaded.items():
        tree.update(facts["plugins"].get(name) or plugin_keys(type(plugin)))
    keys.add_unknown_keys(source, source.content, (), tree, "Axolotl", {})


def _add_refusals(source: YamlFile, error: Any) -> None:
    reported = {f.path for f in source.findings}
    for fault in error.errors():
        place = _place(source.content, fault) or _place_in_datasets(source.content, fault)
        before = len(source.findings)
        if fault["type"] == "missing":
            source.add(place, "missing-key", "missing. Axolotl needs it.")
        elif fault["type"] in ("value_error", "assertion_error"):
            message = " ".join(str(fault["ctx"]["error"]).split())
            source.add(place, "refused", f"refused by Axolotl: {message}")
        else:
            source.add(place, "wrong-value", f"{_found(fault)} found{_needed(fault)}")
        added = source.findings[before]
        # One line per place: a union reports each of its members.
        if any(
            added.path == path or added.path.startswith(f"{path}.") for path in reported if path
        ):
            del source.findings[before]
        reported.add(added.path)


def _place(content: Any, fault: dict[str, Any]) -> Path_:
    """The YAML path of a pydantic fault, without the names of union members that it carries."""
    place: list[str | int] = []
    for part in fault["loc"]:
        is_key = isinstance(content, dict) and part in content
        is_index = isinstance(content, list) and isinstance(part, int) and part < len(content)
        if is_key or is_index:
            content = content[part]
            place.append(part)
        elif fault["type"] == "missing" and part == fault["loc"][-1]:
            place.append(part)
    return tuple(place)


def _place_in_datasets(content: dict[str, Any], fault: dict[str, Any]) -> Path_:
    """The place of a fault that Axolotl found in a dataset entry on its own."""
    for key in ("datasets", "test_datasets"):
        entries = content.get(key)
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            place = _place(entry, fault)
            if place and at(entry, place) == fault["input"]:
                return (key, index, *place)
    return ()


def _found(fault: dict[str, Any]) -> str:
    text = repr(fault["input"])
    return text if len(text) <= 60 else f"{text[:57]}…"


def _needed(fault: dict[str, Any]) -> str:
    """What a pydantic fault asks for, as the end of a sentence."""
    kind = fault["type"].split("_")[0]
    if kind not in _NEEDED:
        return f", {fault['msg'][:1].lower()}{fault['msg'][1:]}."
    expected = str(fault.get("ctx", {}).get("expected", ""))
    near = nearest(str(fault["input"]), re.findall(r"'([^']+)'", expected))
    return f".{near}" if near else f", {_NEEDED[kind].format(expected=expected)}."
