"""What the Hub says of a model or data set before it is fetched: moved, gated, gone, its commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TIMEOUT_S = 5


def ask(
    name: str, kind: str = "model", revision: str | None = None, is_here: bool = False
) -> tuple[Any, str | None, str | None]:
    """What the Hub says of a ``model`` or ``dataset``; why it cannot be had; why it says nothing.

    Args:
        is_here: Whether its files are on this machine, so that a gate does not matter.
    """
    from huggingface_hub import HfApi, constants, errors

    page, info = f"{constants.ENDPOINT}/{'datasets/' * (kind == 'dataset')}{name}", None
    try:
        info = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=TIMEOUT_S)
        if info.gated and not is_here:
            HfApi().auth_check(info.id, repo_type=kind)
    except errors.HFValidationError:
        return None, f"{name!r} is neither a local folder nor a valid Hub id (owner/name).", None
    except errors.GatedRepoError:
        way = f"accept its terms at {page}, then `hf auth login`."
        return info, f"{name} is gated, and you are not let in (yet): {way}", None
    except errors.RepositoryNotFoundError:
        way = "Correct the name, or `hf auth login` with an account that may read it."
        return None, f"{page} is not there, or is private. {way}", None
    except errors.RevisionNotFoundError:
        return None, f"{page} has no revision {revision!r}.", None
    except (errors.HTTPError, OSError) as error:  # no network, no answer in time, HF_HUB_OFFLINE
        how = f"did not answer ({type(error).__name__})"
        how = "was not asked (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else how
        return info, None, f"{constants.ENDPOINT} {how}"
    return info, None, None


def cached_commit(name: str, kind: str, revision: str = "main") -> str | None:
    """The commit that a branch or tag had when it was last fetched to this machine."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    note = Path(HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind), "refs", revision)
    return note.read_text(encoding="utf-8").strip() if note.is_file() else None
