"""Files and models that a recipe names: there, made by an earlier stage, on the Hub, or missing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from solar_plugins.chain.check import made
from solar_plugins.chain.check.source import Path_, Source
from solar_plugins.errors import nearest

_DATA_ENDINGS = (".json", ".jsonl", ".parquet", ".csv", ".arrow", ".txt", ".gz", ".zst")


def is_local(path: str) -> bool:
    """Whether `path` can only mean this machine: a Hub id has one slash and no ending of a file."""
    if path.startswith(("http://", "https://", "s3://", "gs://", "gcs://", "hf://", "az://")):
        return False
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        return True
    return path.lower().endswith(_DATA_ENDINGS)


@dataclass
class Files:
    """What a file of one stage may name.

    Attributes:
        of: The file that is checked; its neighbours are asked who makes a missing path.
        chain: What the chain at hand makes, or nothing.
        before: The stages that are surely done before this one; None without a chain.
    """

    of: Path
    chain: made.Made = field(default_factory=made.Made)
    before: frozenset[str] | None = None

    @cached_property
    def _neighbours(self) -> made.Made:
        return made.by_neighbours(self.of)

    def expect(self, source: Source, place: Path_, path: Any, what: str) -> None:
        """Add a finding if the file `path`, which is `what`, is neither there nor will be."""
        if not isinstance(path, str) or os.path.exists(os.path.expanduser(path)):
            return
        maker = self.chain.maker(path)
        if maker is not None:
            _, stage = maker
            if self.before is not None and stage not in self.before:
                source.add(
                    place,
                    "stage",
                    f"{path} is made by the stage {stage!r}, which may run later. "
                    f"Write `after: {stage}` at this stage of the chain.",
                )
            return
        for root in self.chain.output_dirs:
            if Path(os.path.normpath(path)).is_relative_to(root):
                stages = [folder.name for folder in self.chain.by]
                name = Path(os.path.normpath(path)).relative_to(root).parts[0]
                source.add(
                    place,
                    "stage",
                    f"no stage of the chain makes {path}.{nearest(name, stages)} "
                    f"Stages: {', '.join(stages)}.",
                )
                return
        if self._neighbours.maker(path) is None:
            source.add(
                place,
                "missing-file",
                f"no such file: {path} ({what}).{_nearest_file(path)} Paths count from the "
                "folder in which the command is run.",
            )

    def expect_data(self, source: Source, place: Path_, path: Any) -> None:
        """`expect` for a dataset, which may as well be one of the Hub."""
        if isinstance(path, str) and (is_local(path) or self.chain.maker(path)):
            self.expect(source, place, path, "a dataset")

    def expect_model(self, source: Source, place: Path_, path: Any) -> None:
        """`expect` for a model, which may as well be one of the Hub."""
        if isinstance(path, str) and (is_local(path) or self.chain.maker(path)):
            self.expect(source, place, path, "a model")


def _nearest_file(path: str) -> str:
    folder = Path(path).parent
    return nearest(Path(path).name, sorted(os.listdir(folder))) if folder.is_dir() else ""
