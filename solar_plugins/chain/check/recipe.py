"""Axolotl recipes: what can be told without importing Axolotl, in milliseconds.

`axolotl_rules` follows with Axolotl's own validators, which cost half a minute of imports.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import solar_plugins
from solar_plugins.chain.check import columns, keys
from solar_plugins.chain.check.files import Files
from solar_plugins.chain.check.source import Path_, Source
from solar_plugins.chain.check.tool_facts import known
from solar_plugins.depth_up_scaling import args as depth_up_scaling_args
from solar_plugins.errors import SolarError, nearest
from solar_plugins.flan_filter import args as flan_filter_args
from solar_plugins.sdpo import step_plan

_BLOCKS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "depth_up_scaling": ("DepthUpScalingPlugin", depth_up_scaling_args.parse),
    "flan_filter": ("FlanFilterPlugin", flan_filter_args.parse),
    "sdpo": ("StepwiseDPOPlugin", step_plan.parse_steps),
}
"""The YAML blocks that our plugins read: the plugin, and what parses the block."""

OUR_PLUGINS = [f"solar_plugins.{plugin}" for plugin, _ in _BLOCKS.values()]

_SDPO_TRAINER = "solar_plugins.sdpo.plugin.AxolotlStepTrainer"
_DATASET_LISTS = ("datasets", "test_datasets", "pretraining_dataset")
# YAML 1.1 takes 1e-5 for a text: a number with an exponent needs a dot.
_NUMBER_AS_TEXT = re.compile(r"[-+]?\d+(\.\d+)?[eE][-+]?\d+")


def check(source: Source, files: Files, base_model_is_given: bool = False) -> None:
    """Add what is wrong in the recipe `source`.

    Args:
        source: The recipe, which takes the findings.
        files: What is on this machine and what earlier stages will make.
        base_model_is_given: Whether a chain names the base model, so that the recipe's own does
            not count.
    """
    recipe = source.content
    _plugins(source)
    _keys(source)
    _names(source)
    _texts_for_numbers(source)
    _our_blocks(source)
    for place, entries in _dataset_lists(recipe):
        _datasets(source, place, entries, files)
    if "base_model" not in recipe and not base_model_is_given:
        source.add(
            ("base_model",),
            "missing-key",
            "missing. Axolotl needs a model to start from; write `base_model: "
            "mistralai/Mistral-7B-v0.1`, or a folder.",
        )
    if not base_model_is_given:
        files.expect_model(source, ("base_model",), recipe.get("base_model"))
    files.expect(source, ("deepspeed",), recipe.get("deepspeed"), "DeepSpeed's configuration")
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
            lists.append((("sdpo", "steps", index, "datasets"), step.get("datasets")))
    return lists


def _plugins(source: Source) -> None:
    plugins = source.content.get("plugins")
    if plugins is None:
        return
    if not isinstance(plugins, list):
        source.add(
            ("plugins",), "wrong-value", f"{plugins!r} found. A list is needed; write [{plugins}]."
        )
        return
    for index, name in enumerate(plugins):
        module, _, attribute = str(name).rpartition(".")
        place = ("plugins", index)
        if module.split(".")[0] == "solar_plugins":
            if module != "solar_plugins" or attribute not in solar_plugins.__all__:
                ours = [f"solar_plugins.{name}" for name in solar_plugins.__all__[1:]]
                source.add(place, "plugin", _no_plugin(name, nearest(str(name), ours)))
        elif not module or util.find_spec(module.split(".")[0]) is None:
            everyone = [*known("axolotl")["plugins"], *OUR_PLUGINS]
            source.add(place, "plugin", _no_plugin(name, nearest(str(name), everyone)))


def _no_plugin(name: Any, hint: str) -> str:
    return f"{name} does not import; Axolotl would train on without it.{hint}".rstrip()


def plugin_names(recipe: dict[str, Any]) -> list[str]:
    """The plugins that a recipe names; none where `plugins` is no list."""
    plugins = recipe.get("plugins")
    return [str(name) for name in plugins] if isinstance(plugins, list) else []


def _keys(source: Source) -> None:
    """Unknown keys and deprecated ones."""
    facts = known("axolotl")
    tree = dict(facts["keys"])
    preference = facts["dataset_keys"]["preference"]
    for name in plugin_names(source.content):
        module, _, attribute = name.rpartition(".")
        if name in facts["plugins"]:
            tree.update(facts["plugins"][name])
        elif module == "solar_plugins":
            # What stands inside our blocks is read by our own classes, in `_our_blocks`.
            tree.update({b: None for b, (plugin, _) in _BLOCKS.items() if plugin == attribute})
        else:
            return  # a stranger's plugin brings keys of its own: `axolotl_rules` asks it
    kind = {"dpo": "preference", "ipo": "preference", "simpo": "preference", "kto": "kto"}
    entries = facts["dataset_keys"].get(kind.get(str(source.content.get("rl")), ""))
    if entries:
        tree["datasets"] = entries
    hints = {
        block: f"It is read by a plugin: write `plugins: [solar_plugins.{plugin}]`."
        for block, (plugin, _) in _BLOCKS.items()
    }
    keys.add_unknown_keys(source, source.content, (), tree, "Axolotl", hints)
    for place, steps in _dataset_lists(source.content):
        if place[0] == "sdpo":
            keys.add_unknown_keys(source, steps, place, preference, "Axolotl", {})
    for key, instead in facts["deprecated"].items():
        if source.content.get(key) is not None:
            source.add((key,), "deprecated-key", f"deprecated in Axolotl. {_write(instead)}")


def _write(instead: str) -> str:
    return f"Write `{instead}` instead." if instead else "Take it out."


def _names(source: Source) -> None:
    """Optimizer and scheduler: Axolotl takes any text and fails hours later, on the GPUs."""
    facts = known("axolotl")
    for key, names in (("optimizer", facts["optimizers"]), ("lr_scheduler", facts["schedulers"])):
        value = source.content.get(key)
        if isinstance(value, str) and value not in names:
            hint = nearest(value, names) or f" Known: {', '.join(names)}."
            source.add((key,), "wrong-value", f"no {key} is called {value!r}.{hint}")


def _texts_for_numbers(source: Source) -> None:
    """Numbers that YAML takes for texts, where nothing turns them back into numbers."""

    def walk(value: Any, place: Path_) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, (*place, str(key)))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, (*place, index))
        elif isinstance(value, str) and _NUMBER_AS_TEXT.fullmatch(value):
            digits, exponent = re.split("[eE]", value)
            dotted = digits if "." in digits else f"{digits}.0"
            sign = exponent if exponent[0] in "+-" else f"+{exponent}"
            source.add(
                place,
                "wrong-value",
                f"{value} is a text in YAML, not a number. Write {dotted}e{sign}.",
            )

    # Typed keys of Axolotl turn such a text into a number; free mappings pass it on as it is.
    for key, tree in known("axolotl")["keys"].items():
        value = source.content.get(key)
        if tree is None and isinstance(value, dict | list):
            walk(value, (key,))


def _our_blocks(source: Source) -> None:
    for block, (plugin, parse) in _BLOCKS.items():
        if f"solar_plugins.{plugin}" not in plugin_names(source.content):
            continue
        try:
            parsed = parse(source.content.get(block))
            if block == "sdpo":
                step_plan.check_recipe(source.content, parsed, _SDPO_TRAINER)
        except SolarError as error:
            place, message = _place_of(str(error), block, source.content)
            kind = "unknown-key" if "unknown key" in message else "wrong-value"
            source.add(place, kind, message)
        value = source.content.get(block)
        if block == "flan_filter" and isinstance(value, dict):
            _filtered_datasets(source, value.get("datasets"))


def _place_of(text: str, block: str, content: dict[str, Any]) -> tuple[Path_, str]:
    """An error's line split into the YAML path that it begins with and the rest."""
    where, _, message = text.partition(": ")
    place = tuple(int(part) if part.isdigit() else part for part in re.findall(r"[\w-]+", where))
    is_path = re.fullmatch(r"[\w-]+((\.[\w-]+)|(\[\d+\]))*", where) is not None
    if not is_path or (place[0] != block and place[0] not in (*content, "rl")):
        return (block,), text
    return place, message


def _filtered_datasets(source: Source, filtered: Any) -> None:
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
            )


def _datasets(source: Source, place: Path_, entries: Any, files: Files) -> None:
    if entries is None:
        return
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        source.add(
            place,
            "wrong-value",
            f"{_short(entries)} found. A list of entries is needed; write `- path: …` and "
            "`type: …` below it.",
        )
        return
    rl = str(source.content.get("rl") or "")
    for index, entry in enumerate(entries):
        here = (*place, index)
        if not entry.get("path"):
            source.add(here, "missing-key", "no path found. Write `path:` with a file or Hub id.")
            continue
        files.expect_data(source, (*here, "path"), entry["path"])
        data_files = entry.get("data_files")
        if Path(str(entry["path"])).suffix == "" and "/" not in str(entry["path"]):
            listed = data_files if isinstance(data_files, list) else [data_files]
            for name in listed:
                files.expect_data(source, (*here, "data_files"), name)
        _dataset_type(source, (*here, "type"), entry.get("type"), rl)
        columns.check(source, here, entry)


def _dataset_type(source: Source, place: Path_, name: Any, rl: str) -> None:
    """Axolotl looks for the type when it loads the data, after the model was fetched."""
    if not isinstance(name, str) or rl not in ("", "dpo", "ipo"):
        return
    names = known("axolotl")["dataset_types"]["dpo" if rl else "sft"]
    base = name.split(":")[0]
    if base in names or base.startswith(("bradley_terry.", "messages.")):
        return
    module = base.rpartition(".")[0]
    if module and util.find_spec(module.split(".")[0]) is not None:
        return  # somebody's own strategy, named by its dotted path
    hint = nearest(base, names) or f" Known: {', '.join(names)}."
    source.add(place, "wrong-value", f"Axolotl has no dataset type {name!r}.{hint}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
