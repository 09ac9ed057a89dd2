"""The files of a base model on this machine: are they those of a causal language model.

Weights are not looked at: configs may be checked where there are none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from solar_plugins.check import tokenizer_files
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
    folder = Path(os.path.expanduser(model))
    try:
        config = model_config.find(model)
    except SolarError as error:
        _add(source, str(error))
        return
    if config is None:
        if folder.is_dir():
            gguf = " A GGUF file cannot be trained." if any(folder.glob("*.gguf")) else ""
            _add(source, f"{model} has no config.json.{gguf} Name the folder of a whole model.")
        return
    _architecture(source, model, config)
    if source.content.get("tokenizer_config"):
        return
    if folder.is_dir() and not any((folder / name).is_file() for name in _TOKENIZERS):
        _add(
            source,
            f"{model} has no tokenizer (tokenizer.json). Copy its files there, or write "
            "`tokenizer_config: MODEL`.",
        )
    _rows(source, model, config)


def _architecture(source: YamlFile, model: str, config: dict[str, Any]) -> None:
    kind, own = config.get("model_type"), config.get("auto_map")
    if kind in known("transformers")["causal_lm"] or "text_config" in config:
        return  # the latter are models of images and text, which Axolotl has ways for
    if not isinstance(own, dict):
        _add(
            source,
            f"{model} is a {kind!r} model, which transformers does not know as a causal language "
            "model. Choose another base.",
        )
    elif not source.content.get("trust_remote_code"):
        _add(
            source,
            f"{model} brings code of its own ({', '.join(map(str, own.values()))}), which is not "
            "run unasked. Read it, then write `trust_remote_code: true`.",
        )


def _rows(source: YamlFile, model: str, config: dict[str, Any]) -> None:
    """A tokenizer that has ids past the embedding's last row."""
    rows = model_config.language_model(config).get("vocab_size")
    tokenizer = tokenizer_files.find(model)
    if tokenizer is None or not tokenizer.vocabulary or not isinstance(rows, int):
        return
    token, last = max(tokenizer.vocabulary.items(), key=lambda item: item[1])
    if last >= rows:
        source.add(
            ("base_model",),
            "tokenizer",
            f"the tokenizer of {model} has the token {token!r} in row {last}, and the embeddings "
            f"end at row {rows - 1}; Axolotl adds rows of random numbers.",
            is_note=True,
        )


def _add(source: YamlFile, message: str) -> None:
    source.add(("base_model",), "base-model", message)
