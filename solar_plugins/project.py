"""The folder that the paths in recipes count from, also where a command is run elsewhere.

Axolotl, MergeKit and lm-eval read relative paths from the working directory, so recipes are written
for one: the root of their repository. `solar new` and `solar unpack` mark that folder with a file,
and `solar run NAME/recipes/solar.yml` finds it from anywhere. Without the file nothing changes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

MARKER = ".solar-project"
"""An empty file would do; it holds one line that says what it is for."""

MARKER_TEXT = "Paths in the recipes count from this folder; solar finds it by this file.\n"


def root_of(path: str | Path) -> Path | None:
    """The nearest folder above `path`, or `path` itself, that has the `MARKER`; absolute."""
    here = Path(os.path.abspath(path))
    return next((folder for folder in (here, *here.parents) if (folder / MARKER).is_file()), None)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Inside, relative paths count from `folder` (contextlib.chdir of Python 3.11)."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def enter(path: str | Path) -> Path:
    """Make the root of `path` the working directory; returns `path` as it is called from there.

    Without a root, or at it already, nothing happens and `path` comes back as it is.
    """
    return Path(enter_all([path])[0])


def enter_all(paths: Sequence[str | Path]) -> Sequence[str | Path]:
    """`enter` for several files; of different projects, they stay as they are."""
    roots = {root_of(path) for path in paths}
    root = roots.pop() if len(roots) == 1 else None
    if root is None or root == Path.cwd():
        return paths
    inside = [Path(os.path.abspath(path)).relative_to(root) for path in paths]
    os.chdir(root)
    print(f"working in {root}: paths count from there ({MARKER})", file=sys.stderr)
    return inside
