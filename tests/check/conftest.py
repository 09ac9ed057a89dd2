"""A folder with a chain of good files; each test spoils one of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from good_files import FILES


@pytest.fixture
def good_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with `FILES` in it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path
