"""The plain file that a stage runs: the recipe with the chain's paths filled in.

What comes out is an ordinary Axolotl, MergeKit or lm-eval file. It is kept in
``<output_dir>/.solar/resolved/<stage>.yml`` and can be run without us.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solar_plugins.chain.chain_file import Chain, Stage
from solar_plugins.chain.chain_file import set_key as set_key
from solar_plugins.depth_up_scaling import layer_map
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config
from solar_plugins.recipes import named_data

STAGE_PLUGIN = "solar_plugins.StagePlugin"
"""Added to every training, see `solar_plugins.chain.training.stage_plugin`."""

_MODEL_KEYS = ("model", "base_model", "lora", "path")
"""Where a MergeKit config names a model or, after a ``+`` or at ``lora``, an adapter of one."""


def resolve(chain: Chain, stage: Stage) -> dict[str, Any]:
    """The content of the plain file that `stage` runs.

    Raises:
        SolarError: the stage's file is not readable, or does not take the models that ``from`` has.
    """
    recipe = chain.recipe(stage)
    models = [chain.model_path(name) for name in stage.from_]
    if stage.kind == "train":
        recipe["base_model"] = models[0]
        recipe["output_dir"] = chain.model_path(stage.name)
        recipe["dataset_prepared_path"] = str(chain.output_dir / ".solar" / "prepared" / stage.name)
        plugins = recipe.get("plugins") or []
        if not isinstance(plugins, list):
            raise SolarError(
                f"{stage.file}: plugins: {plugins!r} found. A list of names is needed."
            )
        recipe["plugins"] = plugins + [STAGE_PLUGIN] * (STAGE_PLUGIN not in plugins)
        named_data.pin(recipe, chain.revisions)
        # Axolotl takes it for whatever repository the tokenizer and the config are from.
        others = {recipe.get(key) for key in ("tokenizer_config", "base_model_config")}
        if models[0] in chain.revisions and others <= {None, models[0]} and not recipe.get("gptq"):
            recipe.setdefault("revision_of_model", chain.revisions[models[0]])
    elif stage.kind == "merge":
        written = merge_models(recipe)
        if len(written) != len(models):
            raise SolarError(
                f"{stage.file}: {len(written)} models found ({', '.join(written) or 'none'}), but "
                f"stages.{stage.name}.from has {len(models)} ({', '.join(stage.from_)}). "
                f"The k-th model of the file is the k-th of from; write as many."
            )
        models = [chain.pinned_path(name) for name in stage.from_]
        recipe = _renamed(recipe, dict(zip(written, models, strict=True)))
        if len(models) == 1:
            follow_depth(recipe, model_config.depth_of(models[0]))
    draws = stage.kind == "train" or (stage.kind == "data" and "seed" in recipe)
    if chain.seed is not None and draws:
        recipe["seed"] = chain.seed
    return recipe


def with_plain_folders(config: dict[str, Any]) -> dict[str, Any]:
    """A MergeKit config in which every relative folder begins with ``./``.

    MergeKit 0.1.5 asks the Hub about any model whose path looks like ``owner/name``, for the model
    card: without network the merge fails after it is done, with network a stranger is linked.
    """
    folders = [name for name in merge_models(config) if Path(name).is_dir()]
    return _renamed(config, {n: f"./{n}" for n in folders if not n.startswith((".", "/", "~"))})


def merge_models(config: dict[str, Any]) -> list[str]:
    """The distinct models and adapters that a MergeKit config names, as they appear in it."""
    names = (mapping[key].split("+") for mapping, key in _places(config, _MODEL_KEYS))
    return list(dict.fromkeys(name for parts in names for name in parts))


def follow_depth(config: dict[str, Any], depth: int | None) -> None:
    """Change the ranges of a depth up-scaling that was written for a base of another depth.

    Two slices of one model, [0, n-m] and [m, n], are the paper's stack of n layers; for a base of
    another depth the same share of its layers is left out at the seam.

    Args:
        depth: The layers of the one model that goes in; None where they are not known.
    """
    match config:
        case {
            "merge_method": "passthrough",
            "slices": [
                {"sources": [{"layer_range": [0, int(kept)]} as lower]},
                {"sources": [{"layer_range": [int(removed), int(written)]} as upper]},
            ],
        } if kept == written - removed and depth not in (None, written):
            stack = [*range(depth)] * 2  # two whole copies
            if removed:
                stack = layer_map.layer_map(depth, max(1, removed * depth // written))
            lower["layer_range"], upper["layer_range"] = map(list, layer_map.ranges_of(stack))


def _renamed(config: dict, replacement: dict[str, str]) -> dict:
    """A copy of a MergeKit config with other names for the models in `replacement`."""
    config = copy.deepcopy(config)
    for mapping, key in list(_places(config, (*_MODEL_KEYS, "tokenizer_source", "source"))):
        names = mapping[key].split("+")
        mapping[key] = "+".join(replacement.get(name, name) for name in names)
    return config


def _places(value: Any, keys: tuple[str, ...]) -> Iterator[tuple[dict, str]]:
    """Where one of `keys` has a text as its value: (mapping, key), in the order of the file."""
    for item in value if isinstance(value, list) else ():
        yield from _places(item, keys)
    for key, item in value.items() if isinstance(value, dict) else ():
        if key in keys and isinstance(item, str):
            yield value, key
        else:
            yield from _places(item, keys)
