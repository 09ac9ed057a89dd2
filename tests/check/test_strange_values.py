"""Shipped files with values of wrong types and sizes: findings or one line, never a traceback."""

from __future__ import annotations

import copy
import datetime
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from solar_plugins.cli import cli

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SEEDS = 120

# fmt: off
VALUES = [
    None, True, 0, -1, 10**30, 1.5, float("nan"), float("inf"), "", "x", "../x", "/etc/passwd",
    "a\nb", "\u202e", "${HOME}", "1e-5", "x" * 5000, b"x", datetime.date(2020, 1, 1),
    [], [[]], [None], ["a"], [1, 2], [{}], [{"path": [1]}], [{"path": "a", "type": 3}],
    {}, {"a": 1}, {1: 2}, {None: 1}, {"path": 3}, {"a": {"b": {"c": [1]}}},
]
# fmt: on


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("recipes", "mergekit_configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _places(value: Any, place: tuple = ()) -> Iterator[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in items if isinstance(value, dict | list) else ():
        yield (*place, key)
        if isinstance(below, dict | list):
            yield from _places(below, (*place, key))


def _spoiled(content: dict, draw: random.Random) -> dict:
    """`content` with a value replaced, a key renamed, or something taken out."""
    content = copy.deepcopy(content)
    *above, last = draw.choice(list(_places(content)))
    block = content
    for key in above:
        block = block[key]
    kind = draw.random()
    if kind < 0.75:
        block[last] = copy.deepcopy(draw.choice(VALUES))
    elif kind < 0.9 and isinstance(block, dict):
        block[draw.choice(["strange", 1, None, True])] = block.pop(last)
    else:
        del block[last]
    return content


def test_no_strange_value_is_a_traceback(project):
    texts = {
        file: file.read_text(encoding="utf-8")
        for folder in ("recipes", "mergekit_configs")
        for file in sorted((project / folder).rglob("*.yml"))
    }
    chains = [str(file) for file, text in texts.items() if "\nstages:" in text]
    refused = 0
    for seed in range(SEEDS):
        draw = random.Random(seed)
        file = draw.choice(list(texts))
        content = _spoiled(yaml.safe_load(texts[file]), draw)
        file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")
        chain = str(file) if str(file) in chains else draw.choice(chains)
        for command in (
            ["check", "--quick", "--format", "sarif", str(file)],
            ["check", "--quick", "--fix", str(file)],
            ["show", str(file)],
            ["diff", str(file), str(draw.choice(list(texts)))],
            ["export", chain, "--to", "slurm"],
            ["run", "--dry-run", chain],
        ):
            result = CliRunner().invoke(cli, command)
            fault = result.exception
            assert fault is None or isinstance(fault, SystemExit), (seed, command, repr(fault))
            assert result.exit_code in (0, 1), (seed, command, result.output)
            errors = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
            assert len(errors) <= 1, (seed, command, result.output)
            refused += result.exit_code
        file.write_text(texts[file], encoding="utf-8")
    assert refused > SEEDS  # else the blows hit nothing
