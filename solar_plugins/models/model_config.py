"""The configuration of a model, found without network and without importing transformers.

Layers and sizes are all that checking and planning a chain need to know of a model.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from solar_plugins.errors import SolarError

KNOWN: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("known_bases.json").read_text(encoding="utf-8")
)
"""Hub id -> its config.json: of the bases of the shipped chains, so that they can be planned on a
machine that has neither network nor model. SOLAR's paper (section 2) starts from Mistral 7B's."""

DEPTH_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "layers")
"""Names of the number of layers in config.json (transformers' `attribute_map`s), in this order."""


def split_revision(model: str) -> tuple[str, str | None]:
    """``NAME@COMMIT``, as MergeKit names a model of the Hub, in two; what is here as it is."""
    name, _, revision = model.partition("@")
    return (model, None) if Path(model).exists() else (name, revision or None)


def file_of(model: str, file_name: str = "config.json", kind: str = "model") -> Path | None:
    """A file of `model` (or `kind` dataset) here: of the folder, or of the Hub's cache."""
    folder = Path(os.path.expanduser(model))
    if folder.is_dir():
        file = folder / file_name
        return file if file.is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    name, _, revision = model.partition("@")
    try:
        cached = try_to_load_from_cache(name, file_name, None, revision or None, kind)
    except HFValidationError:  # a folder that is not there
        return None
    return Path(cached) if isinstance(cached, str) else None


def find(model: str) -> dict[str, Any] | None:
    """The config.json of `model`: of the folder, of the Hub's cache, or from `KNOWN`.

    Returns:
        The configuration, or None if the model is not on this machine.

    Raises:
        SolarError: the folder has a config.json that cannot be read.
    """
    file = file_of(model)
    if file is None:
        is_folder = os.path.isdir(os.path.expanduser(model))
        return None if is_folder else KNOWN.get(model.partition("@")[0])
    return read(file)


def read(file: Path) -> dict[str, Any]:
    """The content of a config.json.

    Raises:
        SolarError: it is not a JSON object.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise SolarError(f"{file}: not readable as JSON: {error}. Fetch it again.") from None
    if not isinstance(config, dict):
        raise SolarError(f"{file}: a mapping is needed, {type(config).__name__} found.")
    return config


def language_model(config: dict[str, Any]) -> dict[str, Any]:
    """The part of `config` that describes the language model (all of it, unless it is nested)."""
    text = config.get("text_config")
    return text if isinstance(text, dict) else config


def depth_key(config: dict[str, Any]) -> str | None:
    """The key under which `config` stores its number of layers; None if it has no such number."""
    text = language_model(config)
    whole = (key for key in DEPTH_KEYS if isinstance(text.get(key), int))
    return next((key for key in whole if not isinstance(text[key], bool)), None)


def depth(config: dict[str, Any]) -> int | None:
    """The number of layers in this configuration; None if it has no such number."""
    key = depth_key(config)
    return None if key is None else language_model(config)[key]


def required_depth(config: dict[str, Any], base: str) -> int:
    """`depth` of a base.

    Raises:
        SolarError: the config of `base` does not state it as a whole number.
    """
    found = depth(config)
    if found is not None:
        return found
    text = language_model(config)
    key = next((key for key in DEPTH_KEYS if key in text), None)
    if key is None:
        raise SolarError(
            f"base_model: config.json of {base} does not say how many layers it has "
            f"({', '.join(DEPTH_KEYS)}). Name a language model."
        )
    raise SolarError(
        f"base_model: config.json of {base} says it has {text[key]!r} layers. "
        "Name a language model."
    )


def depth_of(model: str) -> int | None:
    """How many layers `model` has; None if it is not on this machine or does not say.

    Raises:
        SolarError: its config.json cannot be read.
    """
    config = find(model)
    return depth(config) if config else None
