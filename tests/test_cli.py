"""`solar` itself: what it says of its commands, and where one is misspelt or cannot run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from solar_plugins.cli import COMMANDS, cli


def test_every_command_has_a_line_in_the_help_and_an_example():
    listed = CliRunner().invoke(cli, ["--help"], terminal_width=80).stdout
    for name, says in COMMANDS.items():
        assert f"  {name:<13}  {says}" in listed.splitlines()
        text = CliRunner().invoke(cli, [name, "--help"]).stdout
        assert f"Usage: cli {name}" in text
        assert f"solar {name} " in text.partition("Options:")[0]  # an example to begin with


def test_a_misspelt_command():
    result = CliRunner().invoke(cli, ["pln"])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "Error: No such command 'pln'. Did you mean 'plan'?"


def test_a_tool_that_is_not_installed(tmp_path, monkeypatch: pytest.MonkeyPatch):
    for name in [*sys.modules, "axolotl"]:
        if name.partition(".")[0] == "axolotl":
            monkeypatch.setitem(sys.modules, name, None)  # as if it were not there
    recipe = tmp_path / "sft.yml"
    recipe.write_text("base_model: owner/base\nlearning_rate: 1.0e-5\n", encoding="utf-8")
    result = CliRunner().invoke(cli, ["check", str(recipe)])
    assert result.exit_code == 1
    assert "axolotl" in result.stderr.splitlines()[-1]
    assert "Write pip install 'solar-plugins[train]'" in result.stderr


def test_a_reader_that_has_enough_is_no_error():
    command = [sys.executable, "-m", "solar_plugins.cli", "schema", "recipe"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout is not None
    run.stdout.close()
    _, errors = run.communicate(timeout=60)
    assert errors == ""
