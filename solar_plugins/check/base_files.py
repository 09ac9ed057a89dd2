"""The files of a base model on this machine: are they those of a causal language model.

Weights are not looked at: configs may be checked where there are none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solar_plugins.check.source import YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "tekken.json")


def check(source: YamlFile, model: str) -> None:
    """Add what keeps the recipe `source` from being trained on `model`, if it is on this machine.

    Args:
        model: A folder, or a Hub id.
    """
    for fault in _faults(source.content, model):
        source.add(("base_model",), "base-model", fault)


def _faults(recipe: dict[str, Any], model: str) -> Iterator[str]:
    folder = Path(os.path.expanduser(model))
    try:
        config = model_config.find(model)
    except SolarError as error:
        yield str(error)
        return
    if config is None:
        if folder.is_dir():
            gguf = " A GGUF file cannot be trained." if any(folder.glob("*.gguf")) else ""
            yield f"{model} has no config.json.{gguf} Name the folder of a whole model."
        return
    kind, own = config.get("model_type"), config.get("auto_map")
    # Models of images and text have a `text_config`, and Axolotl has ways for them.
    if kind not in known("transformers")["causal_lm"] and "text_config" not in config:
        if not isinstance(own, dict):
            fault = f"{model} is a {kind!r} model, which transformers does not know as a causal "
            yield f"{fault}language model. Choose another base."
        elif not recipe.get("trust_remote_code"):
            fault = (
                f"{model} brings code of its own ({', '.join(map(str, own.values()))}), which is "
            )
            yield f"{fault}not run unasked. Read it, then write `trust_remote_code: true`."
    has_tokenizer = any((folder / name).is_file() for name in _TOKENIZERS)
    if folder.is_dir() and not has_tokenizer and not recipe.get("tokenizer_config"):
        fault = f"{model} has no tokenizer (tokenizer.json). Copy its files there, or write "
        yield f"{fault}`tokenizer_config: MODEL`."
