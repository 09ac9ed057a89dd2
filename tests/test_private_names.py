"""Private names of other tools are touched in `solar_plugins/seams` alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import solar_plugins

PACKAGE = Path(solar_plugins.__file__).parent
TOOLS = {
    *("accelerate", "axolotl", "datasets", "deepspeed", "huggingface_hub", "lm_eval", "mergekit"),
    *("peft", "safetensors", "tokenizers", "torch", "transformers", "trl"),
}
NOT_ANOTHER_TOOLS = {"os._exit"}  # documented in spite of its name


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(text: str) -> list[str]:
    """The private names in a module's source that the module does not define itself.

    Found: imports with a private part from one of `TOOLS`; attributes with a private name that
    nothing in the module defines; and methods that call ``super()`` for a private name.
    """
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    own = {n.name for n in nodes if isinstance(n, definitions)}
    own |= {"_replace"}  # of named tuples, documented in spite of its name
    own |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and _on_self(n)}
    found = []
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            for alias in node.names:
                name = f"{module}.{alias.name}" if module else alias.name
                if name.split(".")[0] in TOOLS and any(map(_private, name.split("."))):
                    found.append(f"{node.lineno}: {name}")
        elif isinstance(node, ast.Attribute) and _private(node.attr):
            text = ast.unparse(node)
            outside = node.attr not in own or text.startswith("super().")
            if outside and text not in NOT_ANOTHER_TOOLS:
                found.append(f"{node.lineno}: {text}")
    return found


def _on_self(node: ast.Attribute) -> bool:
    on_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    return on_self and isinstance(node.ctx, ast.Store)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import torch\ntorch._C.x", ["2: torch._C"]),
        ("from torch._subclasses import x", ["1: torch._subclasses.x"]),
        ("from trl import DPOTrainer\nDPOTrainer()._run()", ["2: DPOTrainer()._run"]),
        ("class A(B):\n def _f(self): super()._f()", ["2: super()._f"]),
        ("class A:\n def _f(self): self._g = self._f()", []),
        ("import os\nos._exit(1)", []),
    ],
)
def test_the_search_itself(text: str, found: list[str]):
    assert private_names(text) == found


def test_private_names_of_tools_are_touched_in_the_seams_alone():
    found = [
        f"{file.relative_to(PACKAGE)}:{name}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if "seams" not in file.relative_to(PACKAGE).parts
        for name in private_names(file.read_text(encoding="utf-8"))
    ]
    assert found == []
