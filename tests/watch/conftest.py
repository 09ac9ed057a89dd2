from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axolotl_train import Trainer, write_base


@pytest.fixture(scope="session")
def base(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    making = server.Process(target=write_base, args=(folder,))
    making.start()
    making.join()
    assert making.exitcode == 0
    return folder


@pytest.fixture
def train(server: Any, tmp_path: Path, base: Path) -> Trainer:
    return Trainer(server, tmp_path, base)
