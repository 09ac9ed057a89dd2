"""`solar doctor`: what is here, what is missing, and what to write."""

from __future__ import annotations

import json
import sys
from importlib import metadata

import pytest
from click.testing import CliRunner

from solar_plugins.check import doctor
from solar_plugins.cli import cli
from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow


def test_a_machine_that_has_everything():
    run = CliRunner().invoke(cli, ["doctor", "--quick", "--json"])
    facts = {fact["subject"]: fact for fact in json.loads(run.stdout)}
    assert run.exit_code == 0
    assert facts["axolotl"]["found"] == metadata.version("axolotl")
    assert facts["Hub"]["found"] == "HF_HUB_OFFLINE is set"
    assert "GiB free at" in facts["disk"]["found"]


def test_a_tool_that_is_missing_is_named_with_what_to_write(monkeypatch: pytest.MonkeyPatch):
    found = metadata.version

    def version(name: str) -> str:
        if name in ("trl", "deepspeed"):
            raise metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(metadata, "version", version)
    run = CliRunner().invoke(cli, ["doctor", "--quick"])
    assert run.exit_code == 1
    lines = [line for line in run.stdout.splitlines() if "not installed" in line]
    assert [" ".join(line.split()) for line in lines if "flash" not in line] == [
        "WRONG trl not installed preference tuning: pip install 'solar-plugins[train]'",
        "note deepspeed not installed ZeRO-2 and ZeRO-3 need it",
    ]


def test_a_seam_that_does_not_fit(monkeypatch: pytest.MonkeyPatch):
    import solar_plugins.seams.trl as seam

    def broken() -> None:
        raise SolarError("trl: 9.0 found, >=1.9,<1.10 works")

    monkeypatch.setattr(seam, "self_test", broken)
    facts = {fact.subject: fact for fact in doctor.examine()}
    assert facts["seam trl"].state == doctor.WRONG
    assert facts["seam trl"].found == "trl: 9.0 found, >=1.9,<1.10 works"
    assert all(
        fact.state == doctor.OK
        for name, fact in facts.items()
        if name.startswith("seam ") and name != "seam trl"
    )
    assert "GPUs" in facts


def test_a_python_that_the_tools_do_not_run_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    python = next(doctor.examine(quick=True))
    assert (python.state, python.found) == (doctor.WRONG, "3.14.0")
