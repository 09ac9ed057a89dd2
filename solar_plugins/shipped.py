"""The recipes that come with this package: in a source tree, and in an installed wheel."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

from solar_plugins.errors import SolarError

PACKAGE = Path(__file__).resolve().parent

FOLDERS = ("recipes", "mergekit_configs")
"""What `solar new` copies. In a wheel they lie in ``solar_plugins/shipped``, see pyproject.toml."""

_OWN_TASKS = re.compile(r"^(include_path:[ \t]*)(?:\./)?solar_plugins/(\w+)/lm_eval_tasks/?", re.M)
TASKS_FOLDER = "lm_eval_tasks"


def root() -> Path:
    """The folder that holds `FOLDERS`.

    Raises:
        SolarError: the installation has none.
    """
    for folder in (PACKAGE / "shipped", PACKAGE.parent):
        if all((folder / name).is_dir() for name in FOLDERS):
            return folder
    raise SolarError(
        f"{PACKAGE}: installed without its recipes. Install the wheel of solar-plugins again, "
        f"or name a pack: solar new NAME --from PACK."
    )


def is_ours(path: Path) -> bool:
    """Whether the absolute `path` is one of the shipped recipes, where this package has them."""
    folders = (PACKAGE / "shipped", *(PACKAGE.parent / name for name in FOLDERS))
    return any(folder in path.parents for folder in folders)


def with_own_tasks(text: str) -> tuple[str, dict[str, Path]]:
    """A recipe that finds our lm-eval tasks beside it instead of in our source tree.

    ``include_path: solar_plugins/ROOM/lm_eval_tasks`` becomes ``lm_eval_tasks/ROOM``; with it comes
    the folder that has to be copied there, if it is ours.
    """
    folders = {
        f"{TASKS_FOLDER}/{match[2]}": PACKAGE / match[2] / "lm_eval_tasks"
        for match in _OWN_TASKS.finditer(text)
    }
    if not all(folder.is_dir() for folder in folders.values()):
        return text, {}
    return _OWN_TASKS.sub(rf"\g<1>{TASKS_FOLDER}/\g<2>", text), folders


def own_tasks(folder: Path) -> str | None:
    """Where `folder`, if it is one of our folders of lm-eval tasks, lies in a project."""
    here = folder.resolve()
    if here.name != TASKS_FOLDER or here.parent.parent != PACKAGE:
        return None
    return f"{TASKS_FOLDER}/{here.parent.name}"


def files_in(folder: Path) -> list[Path]:
    """Every file below `folder` but Python's caches, sorted."""
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )


@cache
def own_digests() -> frozenset[str]:
    """SHA-256 of every file of ours that may be in a pack although it is code.

    lm-eval's task files name Python functions; those that came with this package are known, byte
    for byte, wherever a pack has them.
    """
    folders = [path for path in PACKAGE.rglob("lm_eval_tasks") if path.is_dir()]
    with suppress(SolarError):  # then only the tasks are known
        folders += [root() / name for name in FOLDERS]
    return frozenset(
        hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in files_in(folder)
    )
