"""`make` knows when its environment is another checkout's, or another Python's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTE = 'note: ; @printf "%s\\n" "$$MADE_FOR" >.venv/.installed\n'
"""What the rule writes at its end, without what it installs before."""


def run_make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make` as from a shell, also where `make test` runs this."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "PYTHON"}
    command = ["make", "-C", str(folder), "-f", "Makefile", "-f", "note.mk", *arguments]
    return subprocess.run(command, env=plain, capture_output=True, text=True, timeout=60)


def make(folder: Path, *arguments: str) -> str:
    run = run_make(folder, *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with an environment, in a folder with blanks and umlauts."""
    folder = tmp_path / "Büro (neu) 1"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    (folder / "note.mk").write_text(NOTE, encoding="utf-8")
    venv = [sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")]
    subprocess.run(venv, check=True, timeout=60)
    make(folder, "note")
    return folder


def test_an_environment_that_fits_is_kept_and_named(checkout: Path):
    for arguments in ([], [f"PYTHON={sys.executable}"]):
        run = make(checkout, "install", *arguments)
        version = ".".join(map(str, sys.version_info[:3]))
        assert f".venv is installed: Python {version}" in run.splitlines()


def test_a_changed_requirement_is_added_to_the_environment(checkout: Path):
    os.utime(checkout / ".venv/.installed", (0, 0))  # older than what it is made from
    run = make(checkout, "-n", "install")
    assert "-m venv  .venv" in run
    assert "--editable '.[dev]'" in run


def test_a_moved_checkout_has_its_environment_made_anew(checkout: Path):
    moved = checkout.rename(checkout.with_name("Büro (alt)"))
    assert "-m venv --clear .venv" in make(moved, "-n", "test")
    assert "-m venv --clear .venv" not in make(moved.rename(checkout), "-n", "test")


def test_another_python_has_its_environment_made_anew(checkout: Path):
    other = checkout / "other python"
    other.write_text(f'#!/bin/sh\n"{sys.executable}" "$@" | sed "s|^|/other|"\n')
    other.chmod(0o755)
    assert f'"{other}" -m venv --clear .venv' in make(checkout, "-n", "test", f"PYTHON={other}")


def test_a_python_that_is_missing_is_one_line(checkout: Path):
    run = run_make(checkout, "install", "PYTHON=no-such-python")
    assert run.returncode != 0
    assert run.stderr.splitlines()[0] == (
        "error: needed: Python 3.10, 3.11 or 3.12; found: no-such-python. "
        "Write make PYTHON=/path/to/python3.11"
    )
