"""The closing table of `solar run`."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from solar_plugins.chain.chain_file import Stage
from solar_plugins.chain.run.progress import Display


def test_a_long_fault_leaves_the_names_of_stages_whole():
    stages = [Stage(name, kind, Path(f"{name}.yml")) for name, kind in
              (("sft_v3_v4", "merge"), ("h6", "evaluate"))]  # fmt: skip
    display = Display(stages, Console(width=80, file=io.StringIO()))
    display.rows["h6"].state, display.rows["h6"].note = "failed", "ValidationError: " + "x" * 300
    display.summary()
    lines = display.console.file.getvalue().splitlines()
    assert lines[1].startswith("sft_v3_v4  merge     waiting")
    assert lines[2].startswith("h6         evaluate  failed")
    assert "ValidationError" in lines[2]
