"""A base model: whether its files are those of a causal language model, and what its terms are.

Weights are not looked at: configs may be checked where there are none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.check.source import YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError
from solar_plugins.models import hub, licence, model_config

_PLACE = ("base_model",)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "tekken.json")


def check_files(source: YamlFile, model: str) -> None:
    """Add what keeps the recipe `source` from being trained on `model`, if it is on this machine.

    Args:
        model: A folder, or a Hub id.
    """
    folder, recipe = Path(os.path.expanduser(model)), source.content
    try:
        config = model_config.find(model)
    except SolarError as error:
        return source.add(_PLACE, "base-model", str(error))
    if config is None:
        if folder.is_dir():
            what = "gguf" if any(folder.glob("*.gguf")) else "no-config"
            source.say(_PLACE, f"base-model/{what}", model=model)
        return
    kind, own = config.get("model_type"), config.get("auto_map")
    # Models of images and text have a `text_config`, and Axolotl has ways for them.
    if kind not in known("transformers")["causal_lm"] and "text_config" not in config:
        if not isinstance(own, dict):
            source.say(_PLACE, "base-model/other-type", model=model, type=kind)
        elif not recipe.get("trust_remote_code"):
            code = ", ".join(map(str, own.values()))
            source.say(_PLACE, "base-model/own-code", model=model, code=code)
    has_tokenizer = any((folder / name).is_file() for name in _TOKENIZERS)
    if folder.is_dir() and not has_tokenizer and not recipe.get("tokenizer_config"):
        source.say(_PLACE, "base-model/no-tokenizer", model=model)


def check_terms(
    source: YamlFile, model: str, name: str | None = None, is_swapped: bool = True
) -> None:
    """Add what has to be known of `model` before anything is made from it.

    The Hub is asked about a swapped base that is not whole on this machine, unless
    ``HF_HUB_OFFLINE`` is set; without an answer, a note says what is not known.

    Args:
        model: A folder, or a Hub id.
        name: How what is made from it will be called, None where that is not known.
        is_swapped: Whether it takes the place of the one that the file names. Of that one only
            what its card says is reported.
    """
    on_hub = not is_local(model) and not os.path.isdir(model)
    terms, is_here = licence.find(model), model_config.file_of(model) is not None
    if is_swapped and on_hub and not (is_here and terms is not None):
        info = _ask_hub(source, model, is_here, terms is not None)
        if info is not None:
            terms = licence.of_card(info.card_data.to_dict() if info.card_data else {}, model)
    elif is_swapped and is_here and terms is None:
        source.say(_PLACE, "base-model/no-card", True, model=model, card=licence.CARD)
    for sentence in licence.asks(terms, name) if terms is not None else ():
        source.add(_PLACE, "base-model", f"{model}: {sentence}", is_note=True)


def _ask_hub(source: YamlFile, model: str, is_here: bool, has_card: bool) -> Any:
    """What the Hub says of `model`, and a finding for what it does not, or where it refuses."""
    repo, revision = model_config.split_revision(model)
    info, fault, silence = hub.ask(repo, revision=revision, is_here=is_here)
    if fault:
        values = {"model": model, "page": hub.page(repo), "revision": revision}
        source.say(_PLACE, f"base-model/{fault}", **values)
        return info
    silent = f", and {silence}" if silence else ""
    missing = [] if is_here else ["depth", "tokenizer", "context"]
    if silent:
        missing += ([] if has_card else ["licence"]) + ([] if is_here else ["whether it is gated"])
    if missing:
        files = ["'*.json'"] * (not is_here) + [licence.CARD] * (not has_card)
        values = {"model": model, "repo": repo, "silent": silent, "missing": ", ".join(missing)}
        values |= {"what": "The card of " * is_here, "files": " --include ".join(files)}
        source.say(_PLACE, "base-model/not-here", True, **values)
    return info
