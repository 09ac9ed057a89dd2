"""Building an index and asking it, for tests and for benchmarks/flan_filter/recall.py."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from click.testing import CliRunner

from solar_plugins.cli import cli
from solar_plugins.flan_filter import index_file
from solar_plugins.flan_filter.matcher import Finding, Matcher

FLAN_COT = Path(__file__).resolve().parents[3] / "shared" / "data" / "flan_cot"
MUST_STAY = ("aqua", "creak", "ecqa", "qasc", "sensemaking", "strategyqa")


def index_of(folder: Path) -> index_file.Index:
    """The index of a folder of benchmarks, by `solar flan-index`; written beside it."""
    path = folder.parent / f"{folder.name}.index"
    result = CliRunner().invoke(cli, ["flan-index", "--from", str(folder), "--out", str(path)])
    assert result.exit_code == 0, result.output
    return index_file.read_index(path)


def removed(matcher: Matcher, prompts: list[str]) -> dict[int, Finding]:
    """Which prompts go, and why."""
    found: dict[int, Finding] = {}
    for begin in range(0, len(prompts), 8_192):
        part = [prompt.encode() for prompt in prompts[begin : begin + 8_192]]
        for finding in matcher.find(pa.array(part, pa.large_binary())):
            if finding.removes:
                found[begin + finding.row] = finding
    return found


def cot_file(task: str) -> list[dict[str, str]]:
    """Question ("q"), answer ("a") and rationale ("r") of each line of a file of FLAN's."""
    text = (FLAN_COT / f"{task}_train.tsv").read_bytes().decode("utf-8")
    # Not splitlines: some texts hold U+2028 or a carriage return.
    rows = [line.replace("\\n", "\n").split("\t") for line in text.split("\n") if line]
    return [dict(zip("qar", row, strict=True)) for row in rows]
