"""The files of a base: where they lie, and which go along to a deeper model beside the weights."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from solar_plugins.errors import SolarError
from solar_plugins.models.weight_files import INDEX

CONFIG = "config.json"

DEPTH_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "layers")
"""Names under which language models keep their depth (transformers' `attribute_map`s)."""

# Tokenizers, chat templates, processors and generation settings come under many names, and licences
# ask to go along. What is left out are weights in any format, and what a training run leaves.
_SUFFIXES = {".json", ".jinja", ".txt", ".model", ".tiktoken", ".vocab", ".spm"}
_LICENCES = re.compile(r"(licen[cs]e|notice|use_policy|copying)", re.IGNORECASE)
_LEFT_OUT = re.compile(
    r"config\.json|.*\.index\.json|trainer_state\.json|.*results\.json|adapter_.*|params\.json"
    r"|quantiz\w*config\.json|training_args.*|README.*|debug\.log|requirements.*\.txt|tokens_.*\.txt",
    re.IGNORECASE,
)
_TOKENIZER = re.compile(
    r"tokenizer.*|.*vocab.*|merges\.txt|.*\.(model|tiktoken|spm)|tekken\.json", re.IGNORECASE
)
_TEMPLATES = "additional_chat_templates"


def find_base(base: str) -> Path:
    """The folder of a base: itself, or the snapshot of a Hub id (fetched unless it is cached).

    Only safetensors and the small files are fetched.

    Raises:
        SolarError: there is no such folder, and the Hub does not give it either.
    """
    if Path(base).is_dir():
        return Path(base)
    from huggingface_hub import snapshot_download

    wanted = ["model*.safetensors", INDEX, *(f"*{suffix}" for suffix in sorted(_SUFFIXES)), "*.py"]
    wanted += ["*LICENSE*", "*NOTICE*", "*USE_POLICY*", "README.md"]
    return Path(_from_hub(base, "it", snapshot_download, base, allow_patterns=wanted))


def read_config(base: str) -> dict[str, Any]:
    """``config.json`` of a folder, or of a model on the Hub (from its cache when offline).

    Raises:
        SolarError: it is not there, or no JSON object.
    """
    if Path(base).is_dir():
        file = Path(base) / CONFIG
        if not file.is_file():
            raise SolarError(f"base_model: {base} holds no {CONFIG}. Name a model's folder.")
    else:
        from huggingface_hub import hf_hub_download

        file = Path(_from_hub(base, f"its {CONFIG}", hf_hub_download, base, CONFIG))
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SolarError(f"{file}: not readable as JSON ({error}). Fetch it again.") from None
    if not isinstance(config, dict):
        raise SolarError(f"{file}: not the config of a model. Fetch it again.")
    return config


def depth_of(config: dict[str, Any], base: str) -> int:
    """How many layers the language model of this ``config.json`` has.

    Raises:
        SolarError: it does not say so with a whole number.
    """
    text = language_model(config)
    depth = next((text[key] for key in DEPTH_KEYS if key in text), None)
    if depth is None:
        raise SolarError(
            f"base_model: {CONFIG} of {base} does not say how many layers it has "
            f"({', '.join(DEPTH_KEYS)}). Name a language model."
        )
    if isinstance(depth, bool) or not isinstance(depth, int):
        raise SolarError(
            f"base_model: {CONFIG} of {base} says it has {depth!r} layers. Name a language model."
        )
    return depth


def language_model(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a ``config.json`` that describes the layers of the language model."""
    text = config.get("text_config")
    return text if isinstance(text, dict) else config


def hub_id(base: str, folder: Path) -> str | None:
    """The Hub id of a base, if it has one: as named, or by the place of `folder` in the cache."""
    if not Path(base).is_dir():
        return base
    for part in folder.absolute().parts:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/", 1)
    return None


def copy_side_files(folder: Path, out: Path, code: bool) -> bool:
    """Copy what belongs to a base beside its config and its weights.

    Args:
        folder: the base.
        out: the new model.
        code: also take the Python files, which the config of a model with its own code names.

    Returns:
        Whether a tokenizer was among them.
    """
    tokenizer = False
    for file in sorted(folder.iterdir()):
        name = file.name
        if not file.is_file() or name.startswith(".") or _LEFT_OUT.fullmatch(name):
            continue
        if file.suffix in _SUFFIXES or _LICENCES.match(name) or (code and file.suffix == ".py"):
            shutil.copyfile(file, out / name)
            tokenizer |= bool(_TOKENIZER.fullmatch(name)) and name != "tokenizer_config.json"
    if (folder / _TEMPLATES).is_dir():
        shutil.copytree(folder / _TEMPLATES, out / _TEMPLATES)
    return tokenizer


def _from_hub(base: str, what: str, fetch: Any, *arguments: Any, **options: Any) -> str:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return fetch(*arguments, **options)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RuntimeError) as error:
        # huggingface_hub's second try without a network ends in "the client has been closed"
        raise SolarError(
            f"base_model: {base} is no folder here, and {what} did not come from the Hub "
            f"({type(error).__name__}). Name a folder, or a Hub id that you can reach."
        ) from None
