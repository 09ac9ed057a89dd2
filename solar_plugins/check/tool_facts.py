"""What the installed Axolotl, MergeKit, transformers and lm-eval know, without importing them."""

from __future__ import annotations

import json
from functools import cache
from importlib import metadata
from pathlib import Path

_SHIPPED = Path(__file__).parent / "tools"


@cache
def known(tool: str) -> dict:
    """What `tool` knows (the names of the files in ``tools/``): keys, names.

    ``datasets`` stands for the columns of some datasets of the Hub, which no tool here knows.

    Taken from the file shipped for the pinned version; where another version is installed the
    tool itself is asked, which takes as long as importing it.
    """
    shipped = json.loads((_SHIPPED / f"{tool}.json").read_text(encoding="utf-8"))
    if "version" not in shipped:
        return shipped
    try:
        installed = metadata.version(tool)
    except metadata.PackageNotFoundError:  # enough of it is shipped to check files without it
        return shipped
    if installed == shipped["version"]:
        return shipped
    from solar_plugins.check.read_tools import READERS

    return READERS[tool]()
