"""Findings for machines: JSON, and SARIF 2.1.0 as GitHub and editors read it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from solar_plugins import __version__
from solar_plugins.check.finding import KINDS, Finding

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings as plain values."""
    return [finding.as_dict() for finding in findings]


def as_sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as one run of SARIF 2.1.0, with the fixes as replacements."""
    rules = [
        {"id": kind, "shortDescription": {"text": text}, "fullDescription": {"text": text}}
        for kind, text in KINDS.items()
    ]
    driver = {"name": "solar check", "version": __version__, "rules": rules}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding) for finding in findings],
            }
        ],
    }


def _result(finding: Finding) -> dict[str, Any]:
    artifact = {"uri": _uri(Path(finding.file))}
    place: dict[str, Any] = {"artifactLocation": artifact}
    if finding.line:
        place["region"] = {"startLine": finding.line, "startColumn": finding.column}
    where = f"{finding.path}: " if finding.path else ""
    result: dict[str, Any] = {
        "ruleId": finding.kind,
        "ruleIndex": list(KINDS).index(finding.kind),
        "level": "note" if finding.is_note else "error",
        "message": {"text": where + finding.message},
        "locations": [{"physicalLocation": place}],
    }
    if finding.fix:
        region = _region(finding.file, finding.fix.start, finding.fix.end)
        change = {"deletedRegion": region, "insertedContent": {"text": finding.fix.text}}
        result["fixes"] = [
            {"artifactChanges": [{"artifactLocation": artifact, "replacements": [change]}]}
        ]
    return result


def _uri(file: Path) -> str:
    """RFC 3986: what is no letter escaped; an absolute path with its scheme."""
    return file.as_uri() if file.is_absolute() else quote(file.as_posix())


def _region(file: str, start: int, end: int) -> dict[str, int]:
    text = _text(file)
    line, column = _place(text, start)
    end_line, end_column = _place(text, end)
    return {
        "startLine": line,
        "startColumn": column,
        "endLine": end_line,
        "endColumn": end_column,
    }


@cache
def _text(file: str) -> str:
    return Path(file).read_text(encoding="utf-8-sig")


def _place(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1
