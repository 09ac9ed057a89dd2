"""Axolotl recipes: the checks that need no import of Axolotl, in milliseconds.

`axolotl_rules` follows with Axolotl's own validators, which cost half a minute of imports.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import util
from typing import Any

import solar_plugins
from solar_plugins.check import base, data, deepspeed_file, keys, tokenizer, values
from solar_plugins.check.files import Files
from solar_plugins.check.finding import suggestion, unambiguous_match
from solar_plugins.check.source import YamlFile, at
from solar_plugins.check.tool_schemas import known
from solar_plugins.depth_up_scaling import args as depth_up_scaling_args
from solar_plugins.depth_up_scaling import as_llama, config_rules
from solar_plugins.errors import SolarError
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

_BLOCKS = {ours.block: name for name, ours in PLUGINS.items() if ours.block in _PARSERS}
_BLOCKS[global_batch.KEY] = "StagePlugin"

OUR_PLUGINS = [f"solar_plugins.{plugin}" for plugin in PLUGINS]

_SDPO_TRAINER = "solar_plugins.sdpo.plugin.AxolotlStepTrainer"


def check(
    source: YamlFile,
    files: Files,
    base_model_is_given: bool = False,
    model: str | None = None,
    gpus: int | None = None,
) -> None:
    """Add what is wrong in the recipe `source`.

    Args:
        files: What is on this machine and what earlier stages will make.
        base_model_is_given: Whether a chain names the base model, so that the recipe's own does
            not count.
        model: The model that the chain gives, where that is known before the chain runs.
        gpus: How many it is to be trained on, where that is known.
    """
    recipe = source.content
    given = model if base_model_is_given else recipe.get("base_model")
    source.base_model = given = given if isinstance(given, str) and given else None
    types: list[tuple[Any, Any]] = []
    rules: list[Callable[[], object]] = [
        lambda: _plugins(source),
        lambda: keys.check_recipe(source, plugin_names(recipe), _BLOCKS),
        lambda: values.check_ranges(source),
        lambda: values.check_batch(source, gpus or 1),
        lambda: values.check_effects(source),
        lambda: _our_blocks(source, files),
        lambda: types.extend(data.check(source, files)),
        lambda: deepspeed_file.check(source),
        lambda: tokenizer.check(source, types, given),
        lambda: _files(source, files, base_model_is_given),
    ]
    if given:
        rules += [lambda: base.check_files(source, given), lambda: _up_scaling(source, given)]
    for rule in rules:
        source.guard(rule)


def _files(source: YamlFile, files: Files, base_model_is_given: bool) -> None:
    recipe = source.content
    if not base_model_is_given:
        files.expect_model(source, ("base_model",), recipe.get("base_model"))
        if not recipe.get("base_model"):
            found = "empty" if "base_model" in recipe else "missing"
            source.say(("base_model",), "missing-key/base-model", found=found)
    files.expect(source, ("deepspeed",), recipe.get("deepspeed"), "DeepSpeed's configuration")
    for key in ("resume_from_checkpoint", "lora_model_dir"):
        files.expect_model(source, (key,), recipe.get(key))
    template = recipe.get("chat_template_jinja")
    if isinstance(template, str) and "\n" not in template and "{" not in template:
        files.expect(source, ("chat_template_jinja",), template, "the chat template")


def _plugins(source: YamlFile) -> None:
    plugins = source.content.get("plugins")
    if plugins is not None and not isinstance(plugins, list):
        fix = f"[{plugins}]" if isinstance(plugins, str) else None
        source.say(("plugins",), "wrong-value/plugins", new_value=fix, found=plugins)
    for index, name in enumerate(plugins if isinstance(plugins, list) else ()):
        module, _, attribute = str(name).rpartition(".")
        package, others = module.split(".")[0], OUR_PLUGINS
        if package == "solar_plugins":
            is_there = module == package and attribute in solar_plugins.__all__
        else:
            is_there = bool(module) and util.find_spec(package) is not None
            others = [*known("axolotl")["plugins"], *OUR_PLUGINS]
        if not is_there:
            meant, hint = suggestion(str(name), others)
            place = ("plugins", index)
            source.say(place, "plugin/no-import", new_value=meant, name=name, hint=hint)


def plugin_names(recipe: dict[str, Any]) -> list[str]:
    """The plugins that a recipe names; none where `plugins` is not a list."""
    plugins = recipe.get("plugins")
    return [str(name) for name in plugins] if isinstance(plugins, list) else []


def _our_blocks(source: YamlFile, files: Files) -> None:
    named = plugin_names(source.content)
    for block, parse in _PARSERS.items():
        value = source.content.get(block)
        if f"solar_plugins.{_BLOCKS[block]}" not in named:
            continue
        try:
            parsed = parse(value)
            if isinstance(parsed, sdpo_args.StepwiseDPOConfig):
                recipe_rules.check_recipe(source.content, parsed, _SDPO_TRAINER)
            if isinstance(parsed, flan_filter_args.FlanFilterBlock):
                parsed.refuse_unreached(source.content)
        except SolarError as error:
            _add_fault(source, block, error)
        if block == "flan_filter" and isinstance(value, dict):
            files.expect(source, (block, "index"), value.get("index"), "the filter's index")


def _add_fault(source: YamlFile, block: str, error: SolarError) -> None:
    """Add the error that the parser of one of our blocks has raised, with its fix."""
    place, message = source.place_of(error, block)
    is_key = "unknown key" in message
    hint = re.search(r"Did you mean '([^']+)'", message)
    written = place[-1] if is_key else at(source.content, place)
    meant = unambiguous_match(str(written), [hint[1]]) if hint else None
    fix: dict[str, Any] = {"new_key" if is_key else "new_value": meant}
    source.add(place, "unknown-key" if is_key else "wrong-value", message, **fix)


def _up_scaling(source: YamlFile, model: str) -> None:
    """What the config.json of a base tells of its up-scaling; `axolotl_rules` has the rest."""
    if "solar_plugins.DepthUpScalingPlugin" not in plugin_names(source.content):
        return
    try:
        config = model_config.find(model)
    except SolarError:
        return  # `base` has the finding
    depth = model_config.depth(config) if config else None
    if config is None or depth is None or grown_depth(source, depth) is None:
        return
    block = depth_up_scaling_args.parse(source.content.get("depth_up_scaling"))
    text, key = model_config.language_model(config), model_config.depth_key(config)
    assert key is not None  # `depth` found a number
    try:
        config_rules.refuse_grown(config, model)
        config_rules.grow(text, block.layer_map(depth), key)
        kind, llama = config.get("model_type"), as_llama.of_recipe(source.content, config, model)
        if block.as_llama and not llama and kind != "llama":
            source.add(("depth_up_scaling", "as_llama"), "model", f"{model} stays {kind}.", True)
    except SolarError as error:
        source.add_error(error, "model")


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
        source.add_error(error, "layer-range")
        return None
