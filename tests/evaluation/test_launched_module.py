"""The module that `solar evaluate --data-parallel N` starts once per GPU."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import solar_plugins

PACKAGE = Path(solar_plugins.__file__).parent


def test_the_launched_module_is_the_command():
    launched = [
        node.args[0].value
        for node in ast.walk(ast.parse((PACKAGE / "cli" / "evaluate.py").read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "launch_command"
    ]
    assert launched == ["solar_plugins.cli"]
    run = subprocess.run(
        [sys.executable, "-m", *launched, "evaluate", "--help"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "--data-parallel" in run.stdout
