"""Findings for machines: SARIF 2.1.0 as GitHub and editors read it; JSON is `Finding.as_dict`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from solar_plugins import __version__
from solar_plugins.check.finding import KINDS, Finding

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as one run of SARIF 2.1.0, with the fixes as replacements."""
    texts = {kind: {"text": text} for kind, text in KINDS.items()}
    rules = [
        {"id": kind, "shortDescription": text, "fullDescription": text}
        for kind, text in texts.items()
    ]
    driver = {"name": "solar check", "version": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding) for finding in findings],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: Finding) -> dict[str, Any]:
    file = Path(finding.file)
    # RFC 3986: what is no letter escaped; an absolute path with its scheme.
    artifact = {"uri": file.as_uri() if file.is_absolute() else quote(file.as_posix())}
    place: dict[str, Any] = {"artifactLocation": artifact}
    if finding.line:
        place["region"] = {"startLine": finding.line, "startColumn": finding.column}
    result: dict[str, Any] = {
        "ruleId": finding.kind,
        "ruleIndex": list(KINDS).index(finding.kind),
        "level": "note" if finding.is_note else "error",
        "message": {"text": ": ".join(filter(None, (finding.path, finding.message)))},
        "locations": [{"physicalLocation": place}],
    }
    if finding.fix:
        start, end = (_place(file, at) for at in (finding.fix.start, finding.fix.end))
        keys = ("startLine", "startColumn", "endLine", "endColumn")
        region = dict(zip(keys, (*start, *end), strict=True))
        change = {"deletedRegion": region, "insertedContent": {"text": finding.fix.text}}
        changes = [{"artifactLocation": artifact, "replacements": [change]}]
        result["fixes"] = [{"artifactChanges": changes}]
    return result


def _place(file: Path, index: int) -> tuple[int, int]:
    before = _text(file)[:index]
    return before.count("\n") + 1, index - before.rfind("\n")


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8-sig")
