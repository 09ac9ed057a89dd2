"""Axolotl recipes, read by Axolotl's own validators as on a machine with eight H100.

Importing Axolotl takes a while; what can be checked without it is in `recipe`.
"""

from __future__ import annotations

import copy
import logging
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from solar_plugins.check import keys
from solar_plugins.check.read_tools import plugin_keys
from solar_plugins.check.recipe import OUR_PLUGINS, plugin_names
from solar_plugins.check.source import Path_, YamlFile, at, short
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError, nearest
from solar_plugins.models import model_config
from solar_plugins.quiet import quiet
from solar_plugins.recipes.named_data import datasets_of
from solar_plugins.recipes.typed_block import dotted, place_of

# The machine that full-size recipes are written for (FP8, bf16 and tf32 of compute capability 9).
CAPABILITIES = {
    "bf16": True,
    "fp8": True,
    "tf32": True,
    "n_gpu": 8,
    "compute_capability": "sm_90",
}
ENV_CAPABILITIES = {"torch_version": "2.13.0"}

_NO_WARNING = "Auto-enabling"
"""Begins what Axolotl says at this level of a choice that it makes."""


def check(source: YamlFile, base_model_is_given: bool = False, gpus: int | None = None) -> None:
    """Add what Axolotl's validators, and our up-scaling, refuse or warn of in the recipe `source`.

    Places that already have a finding are left alone: its line says more than theirs.
    """
    with quiet():
        _check(source, base_model_is_given, gpus or CAPABILITIES["n_gpu"])
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
        source.add_error(error, "model")


def _check(source: YamlFile, base_model_is_given: bool, gpus: Any) -> None:
    from axolotl.integrations.base import PluginManager

    # A key without a value is one that is not there.
    recipe = {k: v for k, v in copy.deepcopy(source.content).items() if v is not None}
    if base_model_is_given:
        recipe.setdefault("base_model", "base_model")
    block = recipe.get("sdpo")
    if not recipe.get("datasets") and isinstance(block, dict):  # the plugin moves them there
        recipe["datasets"] = list(datasets_of({"sdpo": block})) or None
    manager = PluginManager.get_instance()
    before = manager.plugins  # one manager per process: it keeps the plugins of earlier recipes
    try:
        loaded = _loaded_plugins(source)
        manager.plugins = OrderedDict(loaded)
        _keys_of_strangers(source, loaded)
        has_bad_shape = any(f.path in ("plugins", "datasets") for f in source.findings)
        if not has_bad_shape and recipe.get("base_model", "missing"):
            # (Otherwise it would stumble over the shape before it says what is wrong.)
            _validate(source, recipe, tuple(loaded), gpus)
    finally:
        manager.plugins = before


def _validate(
    source: YamlFile, recipe: dict[str, Any], plugins: tuple[str, ...], gpus: int
) -> None:
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault
    from pydantic import ValidationError

    warned: list[str] = []
    capabilities = {**CAPABILITIES, "n_gpu": gpus}
    try:
        with _schemas_built_once(plugins), _heard(warned):
            validate_config(DictDefault(recipe), capabilities, ENV_CAPABILITIES)
    except ValidationError as error:
        _add_refusals(source, error.errors())
        if not any(fault["loc"] for fault in error.errors()):
            _types(source, recipe, plugins)
    except ImportError as error:
        source.add((), "refused", f"needs a package that is not here: {_line(error)}", True)
    except (ValueError, DeprecationWarning, TypeError, KeyError, AttributeError,
            NotImplementedError) as error:  # fmt: skip
        # Axolotl's own validators raise these past pydantic; nothing of ours runs in there.
        message = _line(error)
        if not any(f.kind == "deprecated-key" and f.path in message for f in source.findings):
            source.add((), "refused", f"refused by Axolotl: {message}")
        _types(source, recipe, plugins)
    for message in dict.fromkeys(warned):
        is_said = any(f.path and f.path in message for f in source.findings)
        if not is_said and not message.startswith(_NO_WARNING):
            source.add((), "warning", f"Axolotl warns: {message}", is_note=True)


def _line(error: Any) -> str:
    return " ".join(str(error).split())


def _loaded_plugins(source: YamlFile) -> dict[str, Any]:
    """The plugins of the recipe that import, by name; a finding for each other one."""
    from axolotl.integrations.base import load_plugin

    loaded = {}
    for index, name in enumerate(plugin_names(source.content)):
        if any(f.path == f"plugins[{index}]" for f in source.findings):
            continue
        try:
            loaded[name] = load_plugin(name)
        except (ImportError, AttributeError, ValueError) as error:
            # One of Axolotl's own whose package is not on this machine is written rightly.
            is_written_rightly = (
                name.startswith("axolotl.")
                and isinstance(error, ModuleNotFoundError)
                and not str(error.name).startswith("axolotl")
            )
            found = f"{name} does not import ({_line(error)}); Axolotl would train on without it."
            source.add(("plugins", index), "plugin", found, is_note=is_written_rightly)
    return loaded


@contextmanager
def _heard(messages: list[str]) -> Iterator[None]:
    """Collect what Axolotl's validators warn of, which otherwise nobody reads."""
    logger, disabled = logging.getLogger("axolotl"), logging.root.manager.disable
    before = logger.handlers, logger.propagate
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: messages.append(_line(record.getMessage()))  # type: ignore
    logger.handlers, logger.propagate = [listener], False
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before
        logging.disable(disabled)


def _types(source: YamlFile, recipe: dict[str, Any], plugins: tuple[str, ...]) -> None:
    """Values of a wrong type in a recipe that Axolotl refused before it looked at the types."""
    from pydantic import ValidationError

    try:
        _types_of(plugins)(**recipe)
    except ValidationError as error:
        faults: list[Any] = list(error.errors())
        faults = [f for f in faults if f["type"] != "missing" or _is_empty(source, f)]
        _add_refusals(source, faults)


@cache
def _types_of(plugins: tuple[str, ...]) -> Any:
    """Axolotl's schema without its validators; keys that one of them changes are left out."""
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from pydantic import create_model

    schema = _SCHEMAS[plugins][1] if plugins in _SCHEMAS else AxolotlInputConfig
    changed: set[str] = set()
    for validator in schema.__pydantic_decorators__.field_validators.values():
        changed |= set(validator.info.fields)
    fields: dict[str, Any] = {k: (i.annotation, i) for k, i in schema.model_fields.items()}
    return create_model("Types", **{k: i for k, i in fields.items() if k not in changed})


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


def _add_refusals(source: YamlFile, faults: list[Any]) -> None:
    reported = {f.path for f in source.findings}
    for fault in faults:
        place = place_of(source.content, fault) or _place_in_datasets(source.content, fault)
        path = dotted(place)
        # One line per place: a union reports each of its members.
        line = _line(fault.get("ctx", {}).get("error", ""))
        is_said = any(
            path == said or path.startswith(f"{said}.") or line.startswith(f"{said}:")
            for said in reported
            if said
        )
        reported.add(path)
        if is_said:
            continue
        if fault["type"] == "missing":
            found = "empty" if _is_empty(source, fault) else "missing"
            source.add(place, "missing-key", f"{found}. Axolotl needs it.")
        elif fault["type"] in ("value_error", "assertion_error"):
            source.add(place, "refused", f"refused by Axolotl: {line}")
        else:
            source.add(place, "wrong-value", f"{short(fault['input'])} found{_needed(fault)}")


def _is_empty(source: YamlFile, fault: dict[str, Any]) -> bool:
    """Whether a key that Axolotl misses is there and has no value."""
    return len(fault["loc"]) == 1 and fault["loc"][0] in source.content


def _place_in_datasets(content: dict[str, Any], fault: dict[str, Any]) -> Path_:
    """The place of a fault that Axolotl found in a dataset entry on its own."""
    for key in ("datasets", "test_datasets"):
        entries = content.get(key)
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            place = place_of(entry, fault)
            if place and at(entry, place) == fault["input"]:
                return (key, index, *place)
    return ()


def _needed(fault: dict[str, Any]) -> str:
    """What a pydantic fault asks for, as the end of a sentence; of names, the one that is near."""
    said = fault["msg"].partition(", unable")[0]
    near = nearest(str(fault["input"]), re.findall(r"'([^']+)'", said))
    return f".{near}" if near else f", {said[:1].lower()}{said[1:]}."
