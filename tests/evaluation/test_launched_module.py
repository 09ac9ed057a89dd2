"""The module that `solar evaluate --data-parallel N` and `solar run` start once per GPU."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import solar_plugins

PACKAGE = Path(solar_plugins.__file__).parent


def test_command_and_chain_launch_the_same_module():
    for file in ("cli/evaluate.py", "chain/run/stages.py"):
        launched = [
            node.args[0].value
            for node in ast.walk(ast.parse((PACKAGE / file).read_text("utf-8")))
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "launch_command"
        ]
        assert launched == ["solar_plugins.evaluation.h6"], file
    assert importlib.util.find_spec("solar_plugins.evaluation.h6") is not None
