"""Where a model's results go, and how an interrupted measurement resumes there."""

from __future__ import annotations

import hashlib
import json
import os
from itertools import starmap
from pathlib import Path
from typing import Any

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.recipes.strings import strings


def check_model(model: Path | str) -> None:
    """
    Raises:
        SolarError: `model` is written as a folder and holds no model. Anything else may be an id
            on the Hub.
    """
    is_folder = isinstance(model, Path) or str(model).startswith((".", "/", "~"))
    if (is_folder or Path(model).is_dir()) and not (Path(model) / "config.json").is_file():
        raise SolarError(f"{model}: no model here (config.json is missing). Give a model's folder")


def name_of(model: Path | str) -> str:
    """The model's name: that of its folder, or the last part of its id."""
    return Path(model).resolve().name if Path(model).is_dir() else Path(model).name


def beside(model: Path | str, ending: str, output_path: str | None = None) -> Path:
    """The result file of a model: next to its folder, or in the current folder for an id.

    Args:
        output_path: lm-eval's key, a folder or a JSON file, that takes its place.
    """
    if output_path is not None and output_path.endswith(".json"):
        return Path(output_path)
    folder = Path(model).resolve().parent if Path(model).is_dir() else Path()
    return Path(output_path or folder) / f"{name_of(model)}.{ending}"


def settings_digest(settings: dict, ours: set[Path]) -> str:
    """Changes with every setting and with every local file or folder, except `ours`, in them."""
    files = []
    for text in sorted(set(strings(settings))):
        path = Path(text)
        if len(text) < 1024 and path.exists():
            members = [path] if path.is_file() else sorted(filter(Path.is_file, path.rglob("*")))
            stats = ((str(file), file.stat()) for file in members if file not in ours)
            files += [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    text = json.dumps([settings, files], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class ItemLog:
    """A JSONL file that grows by one line per finished item; a kill may cut its last line.

    Args:
        path: written by the first `add`. A file with another key starts anew; a line that was cut
            is dropped.
        key: what the items belong to, for example a digest of the settings.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self._header = json.dumps({"key": key}) + "\n"
        self._is_ours = False
        self.items: dict[str, Any] = {}
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        try:
            for row in map(json.loads, lines[1:] if lines[:1] == [self._header] else []):
                self.items[row["item"]] = row["value"]
        except json.JSONDecodeError:
            pass  # the line that a kill has cut; those before it are kept

    def add(self, item: str, value: object) -> None:
        """Keep `value`; it is on disk when this returns."""
        self.items[item] = value
        if self._is_ours:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(_line(item, value))
                file.flush()
                os.fsync(file.fileno())
        else:
            atomic.write_text(self.path, self._header + "".join(starmap(_line, self.items.items())))
            self._is_ours = True


def _line(item: str, value: object) -> str:
    return json.dumps({"item": item, "value": value}) + "\n"
