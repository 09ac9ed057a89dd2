"""Who may import whom: what is cheap stays cheap, and the plugins stay apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import solar_plugins

PACKAGE = Path(solar_plugins.__file__).parent
HEAVY = {
    "accelerate",
    "axolotl",
    "datasets",
    "deepspeed",
    "lm_eval",
    "mergekit",
    "peft",
    "torch",
    "transformers",
    "trl",
}
PLUGINS = ("depth_up_scaling", "flan_filter", "sdpo")

# No module of these imports anything heavy when it is imported itself, directly or not.
LIGHT = [
    "solar_plugins",
    "solar_plugins.cli",
    "solar_plugins.chain.chain_file",
    "solar_plugins.check",
    "solar_plugins.cli.check",
    "solar_plugins.cli.run",
    "solar_plugins.plan.data_size",
    "solar_plugins.plan.memory",
    "solar_plugins.plan.model_size",
    "solar_plugins.plan.stages",
    "solar_plugins.chain.run.runner",
    "solar_plugins.chain.verify.files",
    "solar_plugins.miniature",
    "solar_plugins.depth_up_scaling.args",
    "solar_plugins.cli.dus",
    "solar_plugins.depth_up_scaling.config_rules",
    "solar_plugins.depth_up_scaling.layer_map",
    "solar_plugins.evaluation.backend",
    "solar_plugins.evaluation.benchmarks",
    "solar_plugins.cli.evaluate",
    "solar_plugins.flan_filter",
    "solar_plugins.flan_filter.args",
    "solar_plugins.cli.filter",
    "solar_plugins.flan_filter.task_names",
    "solar_plugins.cli.report",
    "solar_plugins.recipes.rows",
    "solar_plugins.sdpo.args",
    "solar_plugins.sdpo.preference_rows",
    "solar_plugins.cli.pack",
    "solar_plugins.cli.unpack",
    "solar_plugins.sharing.pack",
    "solar_plugins.sharing.unpack",
    "solar_plugins.cli.synth_math",
    "solar_plugins.synth_math.generate",
    "solar_plugins.synth_math.seeds",
]

_LOADED = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


def _loaded_after(code: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{_LOADED}"], capture_output=True, text=True, check=True
    )
    return set(run.stdout.splitlines()[-1].split())


def test_light_modules_import_nothing_heavy():
    everything = "\n".join(f"import {name}" for name in LIGHT)
    found = _loaded_after(everything) & HEAVY
    if found:  # say which one it was
        for name in LIGHT:
            assert not _loaded_after(f"import {name}") & HEAVY, name
    assert not found


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["check", "--help"], ["plan", "--help"]]
)
def test_help_imports_nothing_heavy(arguments):
    code = f"from solar_plugins.cli import cli\ncli({arguments!r}, standalone_mode=False)"
    assert not _loaded_after(code) & HEAVY


def test_a_quick_check_imports_nothing_heavy(tmp_path):
    chain = tmp_path / "merge.yml"
    chain.write_text("merge_method: linear\nmodels: [{model: a/b, parameters: {weight: 1}}]\n")
    code = f"from solar_plugins.check import check_files\nprint(*check_files([{str(chain)!r}]))"
    assert not _loaded_after(code) & HEAVY


def _imports(file: Path) -> list[tuple[str, bool]]:
    """Every module that a file imports, and whether that happens when the file is imported."""
    found: list[tuple[str, bool]] = []

    def walk(node: ast.AST, at_import: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.module, at_import))
            found.extend((f"{node.module}.{alias.name}", at_import) for alias in node.names)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.iter_child_nodes(node):
            walk(child, at_import and not inside and not typing_only)

    walk(ast.parse(file.read_text(encoding="utf-8")), True)
    return found


def test_plugins_never_import_each_other():
    for plugin in PLUGINS:
        for file in (PACKAGE / plugin).glob("**/*.py"):
            for name, _ in _imports(file):
                for other in set(PLUGINS) - {plugin}:
                    assert not name.startswith(f"solar_plugins.{other}"), f"{file}: {name}"


@pytest.mark.parametrize("plugin", PLUGINS)
def test_only_plugin_py_and_what_it_alone_uses_see_axolotl(plugin):
    for file in (PACKAGE / plugin).glob("*.py"):
        at_import = {name.partition(".")[0] for name, early in _imports(file) if early}
        if file.name != "plugin.py":
            assert "axolotl" not in at_import, file


def test_nothing_imports_mergekit_at_import_time():
    for file in PACKAGE.glob("**/*.py"):
        at_import = {name.partition(".")[0] for name, early in _imports(file) if early}
        assert "mergekit" not in at_import, file


def test_modules_that_others_build_on_import_none_of_ours():
    for name in ("errors.py", "atomic.py"):
        ours = [m for m, _ in _imports(PACKAGE / name) if m.startswith("solar_plugins")]
        assert ours == [], name
