"""docs/five_minutes.ipynb, cell by cell, with a tiny model: what it shows is what one gets."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from solar_process import Solar

NOTEBOOK = Path(__file__).parents[2] / "docs/five_minutes.ipynb"
INSTALL = '%pip install --quiet "solar-plugins[train]"'

pytestmark = pytest.mark.slow


def test_the_notebook_runs_as_it_stands(solar: Solar, monkeypatch):
    monkeypatch.chdir(solar.folder)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells)
    install, parameters, *others = ["".join(cell["source"]) for cell in cells]
    assert install == INSTALL
    names: dict[str, Any] = {}
    exec(parameters, names)
    names |= {"base_model": "./base", "minutes": 0.2}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in others:
            if cell.startswith("!"):
                for line in cell.splitlines():
                    print(command(solar, line.format_map(names)))
            else:
                exec(cell, names)
    said = printed.getvalue()
    print(said)
    assert "nothing wrong" in said
    assert json.loads(Path("mine/outputs/cand_1/config.json").read_text())["num_hidden_layers"] == 6


def command(solar: Solar, line: str) -> str:
    """What a line ``!solar …`` prints."""
    program, *arguments = line.removeprefix("!").split()
    assert program == "solar"
    status, said = solar(*arguments)
    assert status == 0, said
    return said
