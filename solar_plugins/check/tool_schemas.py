"""What Axolotl, MergeKit, lm-eval and our plugins take: for `solar check` and for editors.

Everything is made from the tools' own pydantic classes by `read_tools`. `known` gives `solar
check` the keys and names of a tool, from ``tools/*.json``; the schemas that editors read are in
``recipes/schema``. Both are shipped for the pinned versions, because importing the tools takes most
of a minute. ``tests/check/made_schemas.py`` renews all of the files.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.shipped import root

FACTS = Path(__file__).parent / "tools"
SCHEMAS = "recipes/schema"


@cache
def known(tool: str) -> dict[str, Any]:
    """The keys and names that `tool` knows (a file of ``tools/``).

    ``datasets`` has the columns of some datasets of the Hub. Where another version of a tool is
    installed than the shipped file describes, the tool itself is read, once for what is installed:
    that takes as long as importing it.
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
    file = _kept(tool)
    with suppress(OSError, ValueError):  # none there, or not whole
        return json.loads(file.read_text(encoding="utf-8"))
    from solar_plugins.check.read_tools import READERS

    print(f"reading what {tool} {installed} takes, once for this installation", file=sys.stderr)
    facts = READERS[tool]()
    with suppress(OSError):  # a home that is read-only or full: read again the next time
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(file, json.dumps(facts))
    return facts


def _kept(tool: str) -> Path:
    """Where what is read of `tool` is kept: by all that is installed beside it, as some plugins of
    Axolotl import only with packages of their own."""
    own = metadata.distribution(tool)
    beside = sorted(path.name for path in Path(str(own.locate_file(""))).glob("*.dist-info"))
    parts = [str(beside), own.read_text("direct_url.json") or "", sys.version]
    parts.append(Path(__file__).with_name("read_tools.py").read_text(encoding="utf-8"))
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return home / "solar_plugins" / f"{tool}-{digest[:16]}.json"


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
