"""What Axolotl, MergeKit, lm-eval and our plugins take: for `solar check` and for editors.

Everything is made from the tools' own pydantic classes by `read_tools`. `known` gives `solar
check` the keys and names of a tool, from ``tools/*.json``; the schemas that editors read are in
``recipes/schema``. Both are shipped for the pinned versions, because importing the tools takes most
of a minute. ``tests/check/made_schemas.py`` renews all of the files.
"""

from __future__ import annotations

import json
import os
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from solar_plugins.errors import SolarError
from solar_plugins.shipped import root

FACTS = Path(__file__).parent / "tools"
SCHEMAS = "recipes/schema"


@cache
def known(tool: str) -> dict[str, Any]:
    """The keys and names that `tool` knows (a file of ``tools/``).

    ``datasets`` has the columns of some datasets of the Hub. Where another version of a tool is
    installed than the shipped file describes, the tool itself is read, which takes as long as
    importing it.
    """
    shipped: dict[str, Any] = json.loads((FACTS / f"{tool}.json").read_text(encoding="utf-8"))
    if "version" not in shipped:
        return shipped
    try:
        installed = metadata.version(tool)
    except metadata.PackageNotFoundError:  # files can be checked without the tool
        return shipped
    if installed == shipped["version"]:
        return shipped
    from solar_plugins.check.read_tools import READERS

    return READERS[tool]()


def read_schema(name: str) -> str:
    """The text of a schema for editors.

    Raises:
        SolarError: the installation has none.
    """
    file = root() / SCHEMAS / f"{name}.json"
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SolarError(f"{file}: missing. Install solar-plugins again.") from None


def line_for(file: str | Path, name: str) -> str:
    """The comment that names the schema of `file` for an editor's YAML language server."""
    path = os.path.relpath(root() / SCHEMAS / f"{name}.json", Path(file).absolute().parent)
    return f"# yaml-language-server: $schema={Path(path).as_posix()}"
