"""The notebook runs as it is, but for the install and with less of the chain."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[1] / "docs" / "start.ipynb"
FEW = 'MORE = "--until base --set base.max_steps=2"'


def test_the_notebook_ends_with_a_report(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    tagged = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", ())}
    assert tagged["parameters"].source == 'MORE = ""'
    tagged["parameters"].source = FEW
    notebook.cells.remove(tagged["install"])
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}})
    client.execute()
    shown = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ())
    )
    assert "error" not in shown.lower(), shown
    assert (tmp_path / "my_solar/outputs/tiny/base/model.safetensors").is_file()
    page = notebook.cells[-2].outputs[-1].data["text/html"]
    assert "Held-out loss" in page or "<svg" in page
