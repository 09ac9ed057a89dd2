"""train -> train -> merge through `solar run`, and what it does when something changes or fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from solar_plugins.chain.run.run_folder import sha256

pytestmark = pytest.mark.slow


def record(folder: Path, stage: str) -> dict:
    return json.loads((folder / "run/.solar/stages" / f"{stage}.json").read_text())


def weights(folder: Path, stage: str) -> Path:
    return folder / "run" / stage / "model.safetensors"


def test_chain_runs_once_and_again_only_where_something_changed(solar):
    folder = solar.folder
    cpt = folder / "cpt.yml"
    up = "plugins: [solar_plugins.DepthUpScalingPlugin]\ndepth_up_scaling: {as_llama: true}\n"
    cpt.write_text(cpt.read_text() + up)  # the base is a Mistral
    # The real command, as a process of its own that imports everything itself.
    cold = subprocess.run(
        [sys.executable, "-m", "solar_plugins.cli", "run", "chain.yml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert cold.returncode == 0, cold.stdout + cold.stderr
    assert "mix: done" in cold.stdout
    for stage, kind in (("cpt", "train"), ("sft", "train"), ("mix", "merge")):
        entry = record(folder, stage)
        assert (entry["kind"], entry["state"]) == (kind, "done")
        assert entry["facts"]["num_hidden_layers"] == 6
        config = json.loads((folder / "run" / stage / "config.json").read_text())
        assert config["architectures"] == ["LlamaForCausalLM"]
        assert entry["outputs"]["model.safetensors"]["sha256"] == sha256(weights(folder, stage))
        assert entry["peak_memory_gib"] > 0.1
    facts = record(folder, "cpt")["facts"]
    assert facts["proofs"]["depth_up_scaling"]["as_llama"]
    assert facts["planned"]["steps"] == facts["proofs"]["stage"]["steps"] == 4
    assert facts["planned"]["flops"] > 6 * facts["planned"]["tokens"] * 32 * 32 * 4
    assert facts["planned"]["hours"] is None, "no data sheet says what this CPU can do"
    assert (folder / "run/.solar/logs/sft.log").stat().st_size > 1000
    resolved = (folder / "run/.solar/resolved/sft.yml").read_text()
    assert "base_model: run/cpt\n" in resolved
    assert "solar_plugins.StagePlugin" in resolved

    before = {stage: weights(folder, stage).stat().st_mtime_ns for stage in ("cpt", "sft", "mix")}
    status, output = solar("run", "chain.yml")
    assert status == 0, output
    assert output.count("done: already") == 3

    # One number of one recipe: this stage and what comes after it, the old output kept.
    status, output = solar("run", "chain.yml", "--set", "sft.num_epochs=1", "--dry-run")
    assert status == 0
    assert "skip" in output.splitlines()[0]
    assert "recipe.num_epochs: 3 -> 1" in output.splitlines()[1]
    status, output = solar("run", "chain.yml", "--set", "sft.num_epochs=1")
    assert status == 0, output
    assert "sft: changed: recipe.num_epochs: 3 -> 1; the old output is kept at" in output
    assert weights(folder, "cpt").stat().st_mtime_ns == before["cpt"]
    (kept,) = (folder / "run").glob("sft.previous-*")
    assert (kept / "model.safetensors").stat().st_mtime_ns == before["sft"]
    assert len(list((folder / "run").glob("mix.previous-*"))) == 1

    # A done output that was damaged since is named, and neither used nor overwritten.
    good = weights(folder, "cpt").read_bytes()
    weights(folder, "cpt").write_bytes(good[:-100])
    status, output = solar("run", "chain.yml")
    assert status == 1
    assert output.splitlines()[-1].startswith("Error: run/cpt/model.safetensors: ")
    assert "when its stage was done. Restore it, or delete run/cpt" in output
    weights(folder, "cpt").write_bytes(good)
    status, output = solar("run", "chain.yml", "--set", "sft.num_epochs=1")
    assert status == 0, output
    assert output.count("done: already") == 3


def test_a_full_disk_is_one_line_and_loses_nothing(solar):
    """A limit on file size stands for the disk; the model is the file that does not fit."""
    assert solar("run", "chain.yml", "--until", "cpt")[0] == 0
    before = sha256(weights(solar.folder, "cpt"))
    status, output = solar("run", "chain.yml", "--until", "sft", file_size_limit=150_000)
    assert status == 1
    assert output.splitlines()[-1].startswith("Error: sft: ")
    assert "Full log: run/.solar/logs/sft.log" in output
    assert record(solar.folder, "sft")["state"] == "failed"
    assert sha256(weights(solar.folder, "cpt")) == before
    status, output = solar("run", "chain.yml", "--until", "sft")
    assert status == 0, output
    assert "cpt: done: already" in output


def test_a_plugin_that_cannot_be_imported_stops_the_stage(solar):
    """Axolotl alone prints the traceback and trains without it."""
    recipe = solar.folder / "cpt.yml"
    recipe.write_text(recipe.read_text() + "plugins: [no_such_package.Plugin]\n")
    status, output = solar("run", "chain.yml", "--until", "cpt")
    assert status == 1
    assert "no_such_package" in output.splitlines()[0]
    assert output.splitlines()[-1].startswith("1 finding, nothing was started")
    assert not (solar.folder / "run").exists()

    status, output = solar("run", "chain.yml", "--until", "cpt", "--no-check")
    assert status == 1
    assert output.splitlines()[-1] == (
        "Error: cpt: plugins: no_such_package.Plugin cannot be imported (No module named "
        "'no_such_package'); Axolotl would train without it. Install what it needs, or take it "
        "out of the list. Full log: run/.solar/logs/cpt.log"
    )
    assert not list((solar.folder / "run").glob("cpt/*.safetensors"))


def test_a_misspelt_key_stops_the_chain_before_it_starts(solar):
    """Axolotl alone drops it and trains with its default."""
    recipe = solar.folder / "sft.yml"
    recipe.write_text(recipe.read_text() + "warmup_stepz: 5\n")
    status, output = solar("run", "chain.yml", "--set", "cpt.learnin_rate=1e-3")
    assert status == 1
    assert "Did you mean 'warmup_steps'?" in output
    assert "set cpt: learnin_rate: unknown key" in output
    assert "2 findings, nothing was started" in output
    assert not (solar.folder / "run").exists()
