"""Fixtures that run `solar` commands, see `solar_process`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_chain
from solar_process import Solar


@pytest.fixture
def solar(server: Any, tmp_path: Path) -> Solar:
    """`solar` in a folder that has the chain of `tiny_chain`."""
    making = server.Process(target=tiny_chain.write, args=(tmp_path,))
    making.start()
    making.join()
    assert making.exitcode == 0
    return Solar(server, tmp_path)
