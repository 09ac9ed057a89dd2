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
    folder, here = Path(os.path.expanduser(model)), ("base_model",)
    try:
        config = model_config.find(model)
    except SolarError as error:
        source.add(here, "base-model", str(error))
        return
    fault = None
    if config is None:
        if folder.is_dir():
            gguf = " A GGUF file cannot be trained." if any(folder.glob("*.gguf")) else ""
            fault = f"{model} has no config.json.{gguf} Name the folder of a whole model."
            source.add(here, "base-model", fault)
        return
    if fault := _architecture(source, model, config):
        source.add(here, "base-model", fault)
    if source.content.get("tokenizer_config"):
        return
    if folder.is_dir() and not any((folder / name).is_file() for name in _TOKENIZERS):
        fault = f"{model} has no tokenizer (tokenizer.json). Copy its files there, or write "
        source.add(here, "base-model", f"{fault}`tokenizer_config: MODEL`.")
    _tokenizer(source, model, model_config.language_model(config).get("vocab_size"))


def _architecture(source: YamlFile, model: str, config: dict[str, Any]) -> str | None:
    kind, own = config.get("model_type"), config.get("auto_map")
    if kind in known("transformers")["causal_lm"] or "text_config" in config:
        return None  # the latter are models of images and text, which Axolotl has ways for
    if not isinstance(own, dict):
        return (
            f"{model} is a {kind!r} model, which transformers does not know as a causal language "
            "model. Choose another base."
        )
    if source.content.get("trust_remote_code"):
        return None
    return (
        f"{model} brings code of its own ({', '.join(map(str, own.values()))}), which is not "
        "run unasked. Read it, then write `trust_remote_code: true`."
    )


def _tokenizer(source: YamlFile, model: str, rows: Any) -> None:
    """Whether the tokenizer says the same as the config: rows, and the end of sequence."""
    tokenizer = tokenizer_files.find(model)
    if tokenizer is None or not tokenizer.vocabulary:
        return

    def add(message: str, is_note: bool = True) -> None:
        source.add(("base_model",), "tokenizer", message, is_note)

    token, last = max(tokenizer.vocabulary.items(), key=lambda item: item[1])
    if isinstance(rows, int) and last >= rows:
        add(
            f"the tokenizer of {model} has the token {token!r} in row {last}, and the embeddings "
            f"end at row {rows - 1}; Axolotl adds rows of random numbers."
        )
    given = source.content.get("special_tokens")
    given = given if isinstance(given, dict) else {}
    eos = tokenizer.special.get("eos_token")
    if eos is None or "eos_token" in given:
        return
    if eos == given.get("bos_token", tokenizer.special.get("bos_token")):
        add(f"the tokenizer of {model} begins and ends a text with the same token, {eos!r}.")
    names = {number: name for name, number in tokenizer.vocabulary.items()}
    row = tokenizer.vocabulary.get(eos)
    for file, ids in tokenizer.ends.items():
        if row in ids or row is None:
            continue
        theirs = ", ".join(f"{names.get(i, '?')!r} ({i})" for i in ids)
        add(
            f"the tokenizer of {model} ends a text with {eos!r} ({row}), its {file} with "
            f"{theirs}. Correct the wrong one, or write `special_tokens: {{eos_token: …}}`.",
            # Generation stops at what the last of them says.
            is_note=row in [*tokenizer.ends.values()][-1],
        )
