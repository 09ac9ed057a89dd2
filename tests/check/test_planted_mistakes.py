"""More than a hundred planted mistakes: each is found at its place, and fixed where it can be."""

from __future__ import annotations

from pathlib import Path

import planted_files
import pytest
import yaml
from planted_mistakes import MISTAKES, readers_of

from solar_plugins.check import check_files, fixes

pytestmark = pytest.mark.slow


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    planted_files.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_is_found_in_the_good_files(good):
    names = [name for name in planted_files.FILES if name.endswith(".yml")]
    assert [finding.text for finding in check_files(names)] == []


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_found(good, name):
    mistake = MISTAKES[name]
    file = good / mistake.file
    before = file.read_text(encoding="utf-8")
    assert mistake.old in before
    file.write_text(before.replace(mistake.old, mistake.new, 1), encoding="utf-8")
    found = [f for f in check_files(readers_of(mistake.file)) if not f.is_note]
    assert mistake.path in {finding.path for finding in found}, [f.text for f in found]
    for finding in found:
        assert "\n" not in finding.text
        assert (finding.line > 0) == (finding.column > 0) or finding.kind == "unreadable"
    if mistake.fixed:
        quick = check_files(readers_of(mistake.file), with_axolotl=False)
        assert fixes.fix_file(mistake.file, quick) != ""
        fixed = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert fixed == yaml.safe_load(before)
