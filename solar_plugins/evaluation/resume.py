"""How an interrupted measurement resumes: a digest of its settings, and a log of its items."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from solar_plugins import atomic
from solar_plugins.recipes.strings import strings


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

    The first line names what the items belong to. A file that belongs to something else starts
    anew; a line that was cut is dropped.

    Args:
        path: made if missing.
        key: what the items belong to, for example a digest of the settings.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.items: dict[str, Any] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        try:
            if lines and json.loads(lines[0]) == {"key": key}:
                for row in map(json.loads, lines[1:]):
                    self.items[row["item"]] = row["value"]
        except json.JSONDecodeError:
            pass  # the line that a kill has cut; those before it are kept
        kept = [{"key": key}, *({"item": i, "value": v} for i, v in self.items.items())]
        atomic.write_text(path, "".join(map(_line, kept)))

    def add(self, item: str, value: object) -> None:
        """Keep `value`; it is on disk when this returns."""
        self.items[item] = value
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(_line({"item": item, "value": value}))
            file.flush()
            os.fsync(file.fileno())


def _line(value: dict) -> str:
    return json.dumps(value) + "\n"
