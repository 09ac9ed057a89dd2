"""Axolotl recipes: the checks that need no import of Axolotl, in milliseconds.

`axolotl_rules` follows with Axolotl's own validators, which cost half a minute of imports.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import util
from typing import Any

import solar_plugins
from solar_plugins.check import (
    base_files,
    deepspeed_file,
    recipe_data,
    recipe_keys,
    tokenizer,
    values,
)
from solar_plugins.check.files import Files
from solar_plugins.check.source import Path_, YamlFile, at
from solar_plugins.check.tool_schemas import known
from solar_plugins.check.unambiguous_match import unambiguous_match
from solar_plugins.depth_up_scaling import args as depth_up_scaling_args
from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.errors import SolarError, nearest
from solar_plugins.flan_filter import args as flan_filter_args
from solar_plugins.models import model_config
from solar_plugins.recipes import global_batch
from solar_plugins.recipes.registry import PLUGINS
from solar_plugins.sdpo import args as sdpo_args
from solar_plugins.sdpo import recipe_rules

_PARSERS: dict[str, Callable[[Any], object]] = {
    "depth_up_scaling": depth_up_scaling_args.parse,
    "flan_filter": flan_filter_args.parse,
    "sdpo": sdpo_args.parse,
}
"""By YAML block of our plugins; the block of `StagePlugin` is one number, see `values`."""

OUR_PLUGINS = [f"solar_plugins.{plugin}" for plugin in PLUGINS]

_SDPO_TRAINER = "solar_plugins.sdpo.plugin.AxolotlStepTrainer"
_DATASET_LISTS = ("datasets", "test_datasets", "pretraining_dataset")


def check(
    source: YamlFile, files: Files, base_model_is_given: bool = False, model: str | None = None
) -> None:
    """Add what is wrong in the recipe `source`.

    Args:
        files: What is on this machine and what earlier stages will make.
        base_model_is_given: Whether a chain names the base model, so that the recipe's own does
            not count.
        model: The model that the chain gives, where that is known before the chain runs.
    """
    recipe = source.content
    lists = _dataset_lists(recipe)
    _plugins(source)
    blocks = {ours.block: name for name, ours in PLUGINS.items() if ours.block in _PARSERS}
    blocks[global_batch.KEY] = "StagePlugin"
    steps = [(place, entries) for place, entries in lists if place[0] == "sdpo"]
    recipe_keys.check(source, plugin_names(recipe), blocks, steps)
    values.check_ranges(source)
    values.check_batch(source)
    values.check_conflicts(source)
    values.check_effects(source)
    _our_blocks(source, files)
    types = []
    for place, entries in lists:
        types += recipe_data.check(source, place, entries, files)
    deepspeed_file.check(source)
    given = model if base_model_is_given else recipe.get("base_model")
    source.base_model = given = given if isinstance(given, str) else None
    tokenizer.check(source, types, given)
    if given:
        base_files.check(source, given)
        _up_scaling(source, given)
    if "base_model" in recipe and not recipe["base_model"] and not base_model_is_given:
        source.add(
            ("base_model",),
            "missing-key",
            "empty. Axolotl needs a model to start from; write `base_model: "
            "mistralai/Mistral-7B-v0.1`, or a folder.",
        )
    elif "base_model" not in recipe and not base_model_is_given:
        source.add(
            ("base_model",),
            "missing-key",
            "missing. Axolotl needs a model to start from; write `base_model: "
            "mistralai/Mistral-7B-v0.1`, or a folder.",
        )
    if not base_model_is_given:
        files.expect_model(source, ("base_model",), recipe.get("base_model"))
    files.expect(source, ("deepspeed",), recipe.get("deepspeed"), "DeepSpeed's configuration")
    for key in ("resume_from_checkpoint", "lora_model_dir"):
        files.expect_model(source, (key,), recipe.get(key))
    template = recipe.get("chat_template_jinja")
    if isinstance(template, str) and "\n" not in template and "{" not in template:
        files.expect(source, ("chat_template_jinja",), template, "the chat template")


def _dataset_lists(recipe: dict[str, Any]) -> list[tuple[Path_, Any]]:
    """Every list of dataset entries of a recipe, those of the steps of sDPO included."""
    lists: list[tuple[Path_, Any]] = [((key,), recipe.get(key)) for key in _DATASET_LISTS]
    block = recipe.get("sdpo")
    steps = block.get("steps") if isinstance(block, dict) else None
    for index, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, dict):
            for key in ("datasets", "test_datasets"):
                lists.append((("sdpo", "steps", index, key), step.get(key)))
    return lists


def _plugins(source: YamlFile) -> None:
    plugins = source.content.get("plugins")
    if plugins is None:
        return
    if not isinstance(plugins, list):
        source.add(
            ("plugins",),
            "wrong-value",
            f"{plugins!r} found. A list is needed; write [{plugins}].",
            new_value=f"[{plugins}]" if isinstance(plugins, str) else None,
        )
        return
    for index, name in enumerate(plugins):
        module, _, attribute = str(name).rpartition(".")
        place = ("plugins", index)
        if module.split(".")[0] == "solar_plugins":
            if module != "solar_plugins" or attribute not in solar_plugins.__all__:
                _no_plugin(source, place, name, OUR_PLUGINS)
        elif not module or util.find_spec(module.split(".")[0]) is None:
            _no_plugin(source, place, name, [*known("axolotl")["plugins"], *OUR_PLUGINS])


def _no_plugin(source: YamlFile, place: Path_, name: Any, others: list[str]) -> None:
    meant = unambiguous_match(str(name), others)
    hint = f" Did you mean {meant!r}?" if meant else nearest(str(name), others)
    message = f"{name} does not import; Axolotl would train on without it.{hint}"
    source.add(place, "plugin", message, new_value=meant)


def plugin_names(recipe: dict[str, Any]) -> list[str]:
    """The plugins that a recipe names; none where `plugins` is not a list."""
    plugins = recipe.get("plugins")
    return [str(name) for name in plugins] if isinstance(plugins, list) else []


def _our_blocks(source: YamlFile, files: Files) -> None:
    named = plugin_names(source.content)
    for plugin, ours in PLUGINS.items():
        block, parse = ours.block, _PARSERS.get(ours.block)
        if parse is None or f"solar_plugins.{plugin}" not in named:
            continue
        try:
            parsed = parse(source.content.get(block))
            if isinstance(parsed, sdpo_args.StepwiseDPOConfig):
                recipe_rules.check_recipe(source.content, parsed, _SDPO_TRAINER)
        except SolarError as error:
            _add_fault(source, block, str(error))
        value = source.content.get(block)
        if block == "flan_filter" and isinstance(value, dict):
            _filtered_datasets(source, value.get("datasets"))
            files.expect(source, (block, "index"), value.get("index"), "the filter's index")


def _add_fault(source: YamlFile, block: str, text: str) -> None:
    """Add the error that the parser of one of our blocks has raised."""
    place, message = _place_of(text, block, source.content)
    stranger = re.match(r"(\S+) is not a key of", message)
    if stranger:
        place = (block, stranger[1])
    is_key = "unknown key" in message or stranger is not None
    hint = re.search(r"Did you mean '([^']+)'", message)
    written = place[-1] if is_key else at(source.content, place)
    meant = unambiguous_match(str(written), [hint[1]]) if hint else None
    source.add(
        place,
        "unknown-key" if is_key else "wrong-value",
        message,
        new_key=meant if is_key else None,
        new_value=None if is_key else meant,
    )


def _place_of(text: str, block: str, content: dict[str, Any]) -> tuple[Path_, str]:
    """An error's line split into the YAML path that it begins with and the rest."""
    where, _, message = text.partition(": ")
    place = tuple(int(part) if part.isdigit() else part for part in re.findall(r"[\w-]+", where))
    is_path = re.fullmatch(r"[\w-]+((\.[\w-]+)|(\[\d+\]))*", where) is not None
    if not is_path or (place[0] != block and place[0] not in (*content, "rl")):
        return (block,), text
    return place, message


def _up_scaling(source: YamlFile, model: str) -> None:
    """What the config.json of a base tells of its up-scaling; `axolotl_rules` has the rest."""
    try:
        config = model_config.find(model)
    except SolarError:
        return  # `base_files` has the finding
    depth = model_config.depth(config) if config else None
    if config is None or depth is None:
        return
    if "solar_plugins.DepthUpScalingPlugin" not in plugin_names(source.content):
        return
    if grown_depth(source, depth) is None:
        return
    block = depth_up_scaling_args.parse(source.content.get("depth_up_scaling"))
    text, key = model_config.language_model(config), model_config.depth_key(config)
    assert key is not None  # `depth` found a number
    try:
        config_rules.refuse_grown(config, model)
        config_rules.grow(text, block.layer_map(depth), key)
    except SolarError as error:
        where, _, message = str(error).partition(": ")
        source.add(tuple(where.split(".")), "model", message)


def grown_depth(source: YamlFile, depth: int | None) -> int | None:
    """The layers of what the recipe trains; a finding if it cannot be scaled up like this.

    Args:
        depth: The layers of the model that it starts from, None if that is not known.
    """
    if depth is None or "solar_plugins.DepthUpScalingPlugin" not in plugin_names(source.content):
        return depth
    try:
        block = depth_up_scaling_args.parse(source.content.get("depth_up_scaling"))
    except SolarError:
        return None  # has a finding of its own
    try:
        return len(block.layer_map(depth))
    except SolarError as error:
        where, _, message = str(error).partition(": ")
        source.add(tuple(where.split(".")), "layer-range", message)
        return None


def _filtered_datasets(source: YamlFile, filtered: Any) -> None:
    entries = source.content.get("datasets")
    entries = entries if isinstance(entries, list) else []
    paths = [str(entry.get("path")) for entry in entries if isinstance(entry, dict)]
    for index, path in enumerate(filtered if isinstance(filtered, list) else []):
        if path not in paths:
            source.add(
                ("flan_filter", "datasets", index),
                "wrong-value",
                f"no entry of datasets has the path {path!r}.{nearest(str(path), paths)} "
                f"Paths: {', '.join(paths) or 'none'}.",
                new_value=unambiguous_match(str(path), paths),
            )
