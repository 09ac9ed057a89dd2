"""Which paths a chain will make, so that a file which is not there yet is no finding."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from solar_plugins.chain import yaml_file
from solar_plugins.errors import SolarError


@dataclass(frozen=True)
class Made:
    """Folders that stages will make.

    Attributes:
        by: ``{folder: (chain or recipe file, stage)}``, every path normalised.
        output_dirs: The folders of the chains that were looked at.
    """

    by: dict[Path, tuple[str, str]] = field(default_factory=dict)
    output_dirs: tuple[Path, ...] = ()

    def maker(self, path: str) -> tuple[str, str] | None:
        """The (file, stage) that makes the folder that `path` is, or lies in; None if nobody."""
        here = Path(os.path.normpath(path))
        for folder in (here, *here.parents):
            if folder in self.by:
                return self.by[folder]
        return None


def by_chain(content: dict[str, Any], file: str) -> Made:
    """What the chain with this content makes."""
    stages, output_dir = content.get("stages"), content.get("output_dir")
    if not isinstance(stages, dict) or not isinstance(output_dir, str):
        return Made()
    root = Path(os.path.normpath(output_dir))
    return Made({root / str(name): (file, str(name)) for name in stages}, (root,))


def by_neighbours(path: str | Path) -> Made:
    """What the chains and recipes in the folder of `path`, beside and above it make.

    A recipe of a chain names the models of the stages before it, whether or not they are there
    yet. Looked at: the folder itself, the one above, and a folder `recipes` beside it (this is
    where a folder of merge configs finds its chain).
    """
    folder = Path(path).absolute().parent
    folders = dict.fromkeys((folder, folder.parent, folder.parent / "recipes"))
    here = Path.cwd()
    by: dict[Path, tuple[str, str]] = {}
    roots: tuple[Path, ...] = ()
    for file in (f for place in folders for f in sorted(place.glob("*.y*ml"))):
        try:
            content = yaml_file.read_mapping(file)
        except SolarError:
            continue  # not ours to report: only the files that were named are checked
        name = os.path.relpath(file, here)
        if isinstance(content.get("stages"), dict):
            made = by_chain(content, name)
            by.update(made.by)
            roots += made.output_dirs
        elif isinstance(content.get("output_dir"), str) and "base_model" in content:
            by.setdefault(Path(os.path.normpath(content["output_dir"])), (name, ""))
    return Made(by, roots)
