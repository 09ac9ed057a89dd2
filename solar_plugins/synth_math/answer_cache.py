"""Every answer that was paid for, on disk before anything else is done with it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

from solar_plugins.errors import SolarError


def request_key(request: dict, sample: int) -> str:
    """A request's name: what is asked of which model, and which of several equal ones it is.

    The server's address is no part of it: the same model behind another one answers the same, and
    what it answered before stays paid for. Nor is the key of the account, which is never here.
    """
    text = json.dumps([request, sample], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class AnswerCache:
    """Answers by request in an SQLite file; each is there, whole, when `put` returns.

    Args:
        path: made if missing.

    Raises:
        SolarError: the file is something else.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        try:
            # Each statement is committed.
            self._base = sqlite3.connect(path, isolation_level=None)
            self._base.execute("PRAGMA journal_mode = WAL")  # one sync of the disk per answer,
            self._base.execute("PRAGMA synchronous = FULL")  # so that it survives a power cut too
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)"
            )
        except sqlite3.DatabaseError as error:
            raise SolarError(
                f"{path}: no cache of answers ({error}). Give another --cache"
            ) from error

    def get(self, key: str) -> dict | None:
        row = self._base.execute("SELECT answer FROM answers WHERE key = ?", [key]).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, answer: dict) -> None:
        """Keep an answer.

        Raises:
            SolarError: the disk is full, or another run holds the file.
        """
        text = json.dumps(answer, ensure_ascii=False)
        try:
            self._base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", [key, text])
        except sqlite3.OperationalError as error:
            raise SolarError(f"{self.path}: an answer could not be kept ({error}).") from error

    def __len__(self) -> int:
        return self._base.execute("SELECT COUNT(*) FROM answers").fetchone()[0]

    def close(self) -> None:
        self._base.close()
