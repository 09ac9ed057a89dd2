"""Files and models that a recipe names: there, made by an earlier stage, on the Hub, or missing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from solar_plugins.chain import missing_inputs
from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.errors import SolarError, nearest
from solar_plugins.recipes import extends

_DATA_ENDINGS = (".json", ".jsonl", ".parquet", ".csv", ".arrow", ".txt", ".gz", ".zst")
_REMOTE = ("http://", "https://", "s3://", "gs://", "gcs://", "hf://", "az://", "oci://")


@dataclass(frozen=True)
class Made:
    """Which folder each stage of a chain makes: ``{folder: stage}``."""

    by: dict[Path, str] = field(default_factory=dict)
    output_dir: Path | None = None

    def maker(self, path: str) -> str | None:
        """The stage that makes the folder that `path` is, or lies in; None if none does."""
        here = Path(os.path.normpath(path))
        return next(
            (self.by[folder] for folder in (here, *here.parents) if folder in self.by), None
        )


def made_by(content: dict[str, Any]) -> Made:
    """What the chain with this content makes, as far as it can be made out."""
    stages, output_dir = content.get("stages"), content.get("output_dir")
    if not isinstance(stages, dict) or not isinstance(output_dir, str):
        return Made()
    root = Path(os.path.normpath(output_dir))
    return Made({root / str(name): str(name) for name in stages}, root)


def _is_local(path: str) -> bool:
    if path.startswith(_REMOTE):
        return False
    return missing_inputs.is_local(path) or path.lower().endswith(_DATA_ENDINGS)


@lru_cache(maxsize=64)
def _outputs_of_folder(folder: Path) -> frozenset[Path]:
    """What the chains and recipes of a folder make; see `forget_folders`."""
    made: set[Path] = set()
    for file in sorted(folder.glob("*.y*ml")):
        try:
            content = extends.read_mapping(file)
        except SolarError:
            continue  # only the files that were named are checked
        if "stages" in content:
            made.update(made_by(content).by)
        elif "base_model" in content and isinstance(content.get("output_dir"), str):
            made.add(Path(os.path.normpath(content["output_dir"])))
    return frozenset(made)


def forget_folders() -> None:
    """Look at all folders anew: what is in them is read once per check, however many files."""
    _outputs_of_folder.cache_clear()


@dataclass
class Files:
    """What a file of one stage may name.

    Attributes:
        of: The file that is checked; its neighbours are asked who makes a missing path.
        chain: What the chain at hand makes, or nothing.
        before: The stages that are surely done before this one; None without a chain.
    """

    of: Path
    chain: Made = field(default_factory=Made)
    before: frozenset[str] | None = None

    def expect(self, source: YamlFile, place: Path_, path: Any, what: str) -> None:
        """Add a finding if the file `path`, which is `what`, is neither there nor will be."""
        if not isinstance(path, str) or os.path.exists(os.path.expanduser(path)):
            return
        here, root = Path(os.path.normpath(path)), self.chain.output_dir
        values: dict[str, Any] = {"path": path, "what": what}
        if (maker := self.chain.maker(path)) is not None:
            if self.before is not None and maker not in self.before:
                source.say(place, "stage/later", maker=maker, **values)
        elif self._is_made_nearby(here):
            return
        elif root is not None and here != root and here.is_relative_to(root):
            stages = list(self.chain.by.values())
            values["hint"] = nearest(here.relative_to(root).parts[0], stages)
            source.say(place, "stage/no-maker", stages=", ".join(stages), **values)
        elif command := missing_inputs.command_for(here, []):
            source.say(place, "missing-file/command", True, command=command, **values)
        elif f"makes {path}" in source.comments:
            source.say(place, "missing-file/comments", True, **values)
        else:
            near = os.listdir(here.parent) if here.parent.is_dir() else []
            values["hint"] = nearest(here.name, sorted(near))
            source.say(place, "missing-file/path", **values)

    def _is_made_nearby(self, path: Path) -> bool:
        """Whether a chain or recipe in the same folder, the one above, or `recipes` makes `path`.

        A recipe of a chain names the models of the stages before it, whether or not they are
        there yet; a folder of merge configs finds its chain in `recipes` beside it.
        """
        folder = self.of.absolute().parent
        folders = dict.fromkeys((folder, folder.parent, folder.parent / "recipes"))
        return any(
            here in _outputs_of_folder(place) for place in folders for here in (path, *path.parents)
        )

    def expect_data(
        self, source: YamlFile, place: Path_, path: Any, what: str = "a dataset"
    ) -> None:
        """`expect` for a dataset, which may as well be one of the Hub."""
        if isinstance(path, str) and (_is_local(path) or self.chain.maker(path)):
            self.expect(source, place, path, what)

    def expect_model(self, source: YamlFile, place: Path_, path: Any) -> None:
        """`expect_data` for a model."""
        self.expect_data(source, place, path, "a model")
