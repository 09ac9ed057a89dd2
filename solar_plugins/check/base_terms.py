"""A base model that takes the place of a recipe's own: can it be fetched, what does it ask for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.check.source import YamlFile
from solar_plugins.models import licence, model_config

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

_TIMEOUT_S = 5


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
        info = _ask_hub(source, model, is_here, terms is not None)
        if info is not None:
            terms = licence.of_card(info.card_data.to_dict() if info.card_data else {}, model)
    elif is_swapped and is_here and terms is None:
        _note(source, f"{model} has no card ({licence.CARD}), so its licence is not known.")
    for sentence in licence.asks(terms, name) if terms is not None else ():
        _note(source, f"{model}: {sentence}")


def _ask_hub(source: YamlFile, model: str, is_here: bool, has_card: bool) -> ModelInfo | None:
    """What the Hub says of `model`; where it is not, or not for us, or not asked, a finding."""
    from httpx import HTTPError
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo, _, revision = model.partition("@")
    page = f"{constants.ENDPOINT}/{repo}"
    info, unknown = None, None
    try:
        info = HfApi().model_info(repo, revision=revision or None, timeout=_TIMEOUT_S)
        if info.gated and not is_here:
            HfApi().auth_check(repo)
    except HFValidationError:
        _fault(source, f"{model!r} is neither a local folder nor a valid Hub id (owner/name).")
        return None
    except GatedRepoError:
        _fault(
            source,
            f"{model} is gated, and you are not let in (yet): accept its terms at {page}, then "
            "`hf auth login`.",
        )
        return info
    except RepositoryNotFoundError:
        _fault(
            source,
            f"{page} is not there, or is private. Correct the name, or `hf auth login` with an "
            "account that may read it.",
        )
        return None
    except RevisionNotFoundError:
        _fault(source, f"{page} has no revision {revision!r}.")
        return None
    except (HTTPError, OSError) as error:  # no network, no answer in time, HF_HUB_OFFLINE
        asked = f"did not answer ({type(error).__name__})"
        how = "was not asked (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else asked
        unknown = f"{constants.ENDPOINT} {how}"
    missing = [] if is_here else ["depth", "tokenizer", "context"]
    if unknown:
        missing += ([] if has_card else ["licence"]) + ([] if is_here else ["whether it is gated"])
    if missing:
        wanted = ["'*.json'"] * (not is_here) + [licence.CARD] * (not has_card)
        _note(
            source,
            f"{'The card of ' * is_here}{model} is not on this machine"
            f"{f', and {unknown}' if unknown else ''}. Not known: {', '.join(missing)}. "
            f"Fetch it first: hf download {repo} {' '.join(f'--include {f}' for f in wanted)}",
        )
    return info


def _note(source: YamlFile, message: str) -> None:
    source.add(("base_model",), "base-model", message, is_note=True)


def _fault(source: YamlFile, message: str) -> None:
    source.add(("base_model",), "base-model", message)
