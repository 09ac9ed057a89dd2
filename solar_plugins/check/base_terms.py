"""A base model that takes the place of a recipe's own: can it be fetched, what does it ask for."""

from __future__ import annotations

import os

from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.check.source import YamlFile
from solar_plugins.models import hub, licence, model_config


def check(source: YamlFile, model: str, name: str | None = None, is_swapped: bool = True) -> None:
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
    terms = licence.find(model)
    is_here = model_config.file_of(model) is not None
    if is_swapped and on_hub and not (is_here and terms is not None):
        repo, revision = model_config.split_revision(model)
        info, fault, unknown = hub.ask(repo, revision=revision, is_here=is_here)
        if fault:
            source.add(("base_model",), "base-model", fault)
        elif note := _not_known(model, is_here, terms is not None, unknown):
            source.add(("base_model",), "base-model", note, is_note=True)
        if info is not None:
            terms = licence.of_card(info.card_data.to_dict() if info.card_data else {}, model)
    elif is_swapped and is_here and terms is None:
        fault = f"{model} has no card ({licence.CARD}), so its licence is not known."
        source.add(("base_model",), "base-model", fault, is_note=True)
    for sentence in licence.asks(terms, name) if terms is not None else ():
        source.add(("base_model",), "base-model", f"{model}: {sentence}", is_note=True)


def _not_known(model: str, is_here: bool, has_card: bool, unknown: str | None) -> str | None:
    """What cannot be said of a base that is not whole on this machine, and how to fetch it."""
    missing = [] if is_here else ["depth", "tokenizer", "context"]
    if unknown:
        missing += ([] if has_card else ["licence"]) + ([] if is_here else ["whether it is gated"])
    if not missing:
        return None
    wanted = ["'*.json'"] * (not is_here) + [licence.CARD] * (not has_card)
    return (
        f"{'The card of ' * is_here}{model} is not on this machine"
        f"{f', and {unknown}' if unknown else ''}. Not known: {', '.join(missing)}. Fetch it "
        f"first: hf download {model.partition('@')[0]} "
        f"{' '.join(f'--include {file}' for file in wanted)}"
    )
