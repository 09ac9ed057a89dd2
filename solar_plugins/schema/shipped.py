"""The JSON schemas that come with the recipes, and the line by which a file names its own."""

from __future__ import annotations

import os
from pathlib import Path

from solar_plugins.errors import SolarError
from solar_plugins.shipped import root

NAMES = ("recipe", "chain", "merge", "evaluate", "data")
"""One for each kind of file."""


def folder() -> Path:
    """Where they lie."""
    return root() / "recipes" / "schema"


def read(name: str) -> str:
    """The text of a schema.

    Raises:
        SolarError: the installation has none.
    """
    try:
        return (folder() / f"{name}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SolarError(f"{folder()}/{name}.json: missing. Install solar-plugins again.") from None


def line_for(file: str | Path, name: str) -> str:
    """The comment that tells an editor's YAML language server which schema `file` follows."""
    path = os.path.relpath(folder() / f"{name}.json", Path(file).absolute().parent)
    return f"# yaml-language-server: $schema={Path(path).as_posix()}"
