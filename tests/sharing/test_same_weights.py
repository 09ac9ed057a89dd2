"""run -> pack -> unpack elsewhere -> run again: the same weights, bit for bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny_chain
from click.testing import CliRunner
from solar_process import Solar

from solar_plugins.chain.run.run_folder import sha256
from solar_plugins.cli import cli
from solar_plugins.sharing import unpack, verify
from solar_plugins.sharing.trust import archive

pytestmark = pytest.mark.slow

STAGES = ("cpt", "sft", "mix")


def test_a_shared_chain_makes_the_same_weights_on_another_path(server, tmp_path: Path, monkeypatch):
    first = tmp_path / "tiny"  # the name says that this is the chain at tiny size
    first.mkdir()
    making = server.Process(target=tiny_chain.write, args=(first,))
    making.start()
    making.join()
    status, output = Solar(server, first)("run", "chain.yml")
    assert status == 0, output
    made = {stage: sha256(first / "run" / stage / "model.safetensors") for stage in STAGES}

    monkeypatch.chdir(first)
    data = ["--include", "text.jsonl", "--include", "sums.jsonl"]
    pack = tmp_path / "small.solar.zip"
    result = CliRunner().invoke(cli, ["pack", "chain.yml", "--out", str(pack), *data])
    assert result.exit_code == 0, result.output
    assert "not packed: base (a folder)" in result.output
    files = archive.from_bytes(pack.read_bytes(), "pack")
    assert {"chain.yml", "cpt.yml", "sft.yml", "mix.yml", "text.jsonl", "sums.jsonl"} < set(files)
    assert not any("safetensors" in name or name.startswith("base/") for name in files)

    other = tmp_path / "some" / "other place" / "theirs"
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["unpack", str(pack), "--to", str(other)])
    assert result.exit_code == 0, result.output
    assert "downloads  model base, unless a folder of that name is there" in result.output
    assert "model A" not in result.output  # the chain names the models of its merge
    result = CliRunner().invoke(cli, ["verify", str(other)])
    assert result.exit_code == 0, result.output
    assert "note: base: not here yet" in result.output
    shutil.copytree(first / "base", other / "base")
    shutil.rmtree(first)

    outputs: list[Path] = []

    def run(folder: Path, chain: str, output_dir: Path) -> int:
        """`solar run` as `verify` runs it, forked from warm imports and from outside the folder."""
        outputs.append(other / "again")
        status, output = Solar(server, tmp_path)(
            "run", str(folder / chain), "--set", f"output_dir={output_dir}"
        )
        shutil.copytree(output_dir, other / "again")
        print(output)
        return status

    opened = unpack.open_folder(other)
    assert [d for d in verify.against_lock(opened, other) if d.matters] == []
    assert list(verify.rerun(opened, other, run)) == []
    again = {stage: sha256(outputs[0] / stage / "model.safetensors") for stage in STAGES}
    assert again == made
    assert "small: mix" in (outputs[0] / "mix" / "README.md").read_text()

    (other / "base/config.json").write_text((other / "base/config.json").read_text() + " ")
    (other / "sft.yml").write_text((other / "sft.yml").read_text() + "trust_remote_code: true\n")
    result = CliRunner().invoke(cli, ["verify", str(other)])
    assert result.exit_code == 1
    assert "sft.yml: changed since it was packed." in result.output
    assert "base: other content than then." in result.output
    assert "--allow trust_remote_code=sft.yml" in result.output
