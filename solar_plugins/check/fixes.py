"""`solar check --fix`: applies the unambiguous fixes to the text, and changes nothing else."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from solar_plugins import atomic, check
from solar_plugins.check.finding import LOADER, Finding, Fix
from solar_plugins.check.source import at


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
    after = fixed(before, findings, partial(check.faults_of, path))
    if after == before:
        return ""
    atomic.write_text(path, mark + after.replace("\n", line_end))
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    return "".join(difflib.unified_diff(old, new, str(path), f"{path} (fixed)"))


def fixed(text: str, findings: Iterable[Finding], faults: Callable[[str], set[Any]]) -> str:
    """`text` with each fix put in, from the end so that positions stay true.

    A fix is left out if the text would then be no YAML, say something else anywhere but at the
    fix's own place, or have a fault that it had not; and where two fixes write one key.
    """
    fixes = {finding.fix for finding in findings if finding.fix is not None}
    writers = Counter(fix.target for fix in fixes)
    wrong, start_of_last = faults(text), len(text) + 1
    for fix in sorted(fixes, key=lambda fix: (fix.start, fix.end), reverse=True):
        changed = text[: fix.start] + fix.text + text[fix.end :]
        if fix.end > start_of_last or writers[fix.target] > 1 or not _keeps(text, changed, fix):
            continue
        if (still_wrong := faults(changed)) <= wrong:
            text, wrong, start_of_last = changed, still_wrong, fix.start
    return text


def _keeps(before: str, after: str, fix: Fix) -> bool:
    """Whether both texts say the same but for what `fix` changes."""
    try:
        old, new = (yaml.load(text, Loader=LOADER) for text in (before, after))
    except (yaml.YAMLError, ValueError):
        return False
    (*above, key), target = fix.place, fix.target[-1]
    ours, theirs = at(old, tuple(above)), at(new, tuple(above))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if key != target and target in ours:
            return False  # the key is there already, if only through a merge key
        ours.pop(key, None)
        ours[target] = theirs.get(target)
    elif isinstance(key, int) and isinstance(ours, list) and len(ours) == len(theirs or ()):
        ours[key] = theirs[key]
    return old == new
