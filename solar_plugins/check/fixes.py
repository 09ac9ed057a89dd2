"""`solar check --fix`: applies the unambiguous fixes to the text, and changes nothing else."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import yaml

from solar_plugins import atomic
from solar_plugins.check.finding import Finding
from solar_plugins.check.source import LOADER
from solar_plugins.errors import SolarError
from solar_plugins.recipes import yaml_file


def fix_file(path: str | Path, findings: Iterable[Finding]) -> str:
    """Write `path` with the fixes of `findings`, whole or not at all.

    Comments, order, quotes and line ends elsewhere stay as they are.

    Returns:
        What was changed, as a unified diff; "" if nothing was.
    """
    path = Path(path)
    raw = path.read_bytes().decode("utf-8")
    line_end = "\r\n" if "\r\n" in raw else "\n"
    mark = "\ufeff" if raw.startswith("\ufeff") else ""
    before = raw.removeprefix(mark).replace("\r\n", "\n")  # as positions were counted
    after = fixed(before, findings)
    if after == before:
        return ""
    atomic.write_text(path, mark + after.replace("\n", line_end))
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(difflib.unified_diff(old, new, str(path), f"{path} (fixed)"))


def fixed(text: str, findings: Iterable[Finding]) -> str:
    """`text` with each fix put in, from the end so that positions stay true.

    Of two that touch the same characters the later one wins; a change after which the text would
    no longer be YAML, or would have a key twice, is left out.
    """
    is_strict = _parses(text)
    fixes = {finding.fix for finding in findings if finding.fix is not None}
    start_of_last = len(text) + 1
    for fix in sorted(fixes, key=lambda fix: (fix.start, fix.end), reverse=True):
        if fix.end > start_of_last:
            continue
        changed = text[: fix.start] + fix.text + text[fix.end :]
        if not _parses(changed, is_strict):
            continue
        text, start_of_last = changed, fix.start
    return text


def _parses(text: str, is_strict: bool = True) -> bool:
    """Whether `text` is YAML; if `is_strict`, also without a key that is there twice."""
    try:
        if is_strict:
            yaml_file.parse(text, "")
        else:
            yaml.compose(text, Loader=LOADER)
    except (SolarError, yaml.YAMLError):
        return False
    return True
