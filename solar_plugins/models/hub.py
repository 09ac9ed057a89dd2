"""What the Hub says of a model or data set before it is fetched: gone, gated, moved, its commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TIMEOUT_S = 5


def ask(
    name: str, kind: str = "model", revision: str | None = None, is_here: bool = False
) -> tuple[Any, str, str]:
    """What the Hub says of a ``model`` or ``dataset``; why it cannot be had, by the name of a text
    of ``base-model`` in check/findings.yml; and why the Hub says nothing.

    Args:
        is_here: Whether its files are on this machine, so that a gate does not matter.
    """
    from huggingface_hub import HfApi, constants, errors

    info, fault = None, ""
    try:
        info = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=TIMEOUT_S)
        if info.gated and not is_here:
            HfApi().auth_check(info.id, repo_type=kind)
    except errors.HFValidationError:
        fault = "no-hub-id"
    except errors.GatedRepoError:
        fault = "gated"
    except errors.RepositoryNotFoundError:
        fault = "not-on-hub"
    except errors.RevisionNotFoundError:
        fault = "no-revision"
    except (errors.HTTPError, OSError) as error:  # no network, no answer in time, HF_HUB_OFFLINE
        how = f"did not answer ({type(error).__name__})"
        how = "was not asked (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else how
        return info, "", f"{constants.ENDPOINT} {how}"
    return info, fault, ""


def page(name: str, kind: str = "model") -> str:
    """The address of a repository."""
    from huggingface_hub.constants import ENDPOINT

    return f"{ENDPOINT}/{'datasets/' * (kind == 'dataset')}{name}"


def cached_commit(name: str, kind: str, revision: str = "main") -> str | None:
    """The commit that a branch or tag had when it was last fetched to this machine."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    note = Path(HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind), "refs", revision)
    return note.read_text(encoding="utf-8").strip() if note.is_file() else None
