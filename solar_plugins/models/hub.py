"""What the Hub says of a model or data set before it is fetched: moved, gated, gone, its commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 5


@dataclass(frozen=True)
class Answer:
    """What is known of a repository; `unknown` says why the Hub said nothing."""

    info: Any = None  # huggingface_hub's ModelInfo or DatasetInfo
    fault: str | None = None  # why it cannot be had, and the way out
    moved: str | None = None  # that it has another name today
    unknown: str | None = None


def ask(
    name: str, kind: str = "model", revision: str | None = None, is_here: bool = False
) -> Answer:
    """Ask the Hub about a repository, a ``model`` or ``dataset``.

    Args:
        revision: The commit, branch or tag that has to be there.
        is_here: Whether its files are on this machine, so that a gate does not matter.
    """
    from huggingface_hub import HfApi, constants, errors

    page, info = f"{constants.ENDPOINT}/{'datasets/' * (kind == 'dataset')}{name}", None
    try:
        info = HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=TIMEOUT_S)
        if info.gated and not is_here:
            HfApi().auth_check(info.id, repo_type=kind)
    except errors.HFValidationError:
        what = "folder" if kind == "model" else "file"
        return Answer(fault=f"{name!r} is neither a local {what} nor a valid Hub id (owner/name).")
    except errors.GatedRepoError:
        way = f"accept its terms at {page}, then `hf auth login`."
        return Answer(info, f"{name} is gated, and you are not let in (yet): {way}")
    except errors.RepositoryNotFoundError:
        way = "Correct the name, or `hf auth login` with an account that may read it."
        return Answer(fault=f"{page} is not there, or is private. {way}")
    except errors.RevisionNotFoundError:
        return Answer(fault=f"{page} has no revision {revision!r}.")
    except (errors.HTTPError, OSError) as error:  # no network, no answer in time, HF_HUB_OFFLINE
        how = f"did not answer ({type(error).__name__})"
        how = "was not asked (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else how
        return Answer(info, unknown=f"{constants.ENDPOINT} {how}")
    moved = f"{name} is called {info.id} on the Hub today. Write that name."
    return Answer(info, moved=moved if info.id.lower() != name.lower() else None)


def cached_commit(name: str, kind: str, revision: str = "main") -> str | None:
    """The commit that a branch or tag had when it was last fetched to this machine."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    note = Path(HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind), "refs", revision)
    return note.read_text(encoding="utf-8").strip() if note.is_file() else None
