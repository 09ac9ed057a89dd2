"""SLURM scripts, SkyPilot pipelines and shell scripts: what stands in them."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from exported_chain import NEEDS, export

from solar_plugins.cli import cli

# The options of sbatch that the scripts use, from its manual.
SBATCH_OPTIONS = {
    "job-name", "chdir", "output", "open-mode", "nodes", "ntasks-per-node", "cpus-per-task",
    "gpus-per-node", "time", "requeue", "signal", "partition", "account",
}  # fmt: skip


def _directives(script: Path) -> dict[str, str]:
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/bin/bash"
    block = [line for line in lines if line.startswith("#SBATCH ")]
    assert lines[1 : 1 + len(block)] == block  # sbatch reads none after the first command
    words = [shlex.split(line.removeprefix("#SBATCH "))[0] for line in block]
    parsed = dict(word.removeprefix("--").partition("=")[::2] for word in words)
    assert set(parsed) <= SBATCH_OPTIONS
    return parsed


def _is_bash(script: Path) -> None:
    result = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_slurm_has_one_job_for_each_stage_after_what_it_needs(chains):
    made = export("all.yml", "--to", "slurm", "--option=--partition=h100", "--hours", "12")
    assert [path.name for path in made] == [
        *(f"{number:02}_{name}.sbatch" for number, name in enumerate(NEEDS, 1)),
        "submit.sh",
    ]
    assert {path.parent for path in made} == {Path("jobs/all-kinds")}, "the chain's name"
    for path in made:
        _is_bash(path)
    gpus = {}
    for path, name in zip(made, NEEDS, strict=False):
        options = _directives(path)
        assert options["job-name"] == f"all-kinds.{name}"
        assert Path(options["chdir"]) == chains
        assert Path(options["output"]).parent.is_dir()  # sbatch does not make it
        assert options["time"] == "12:00:00"
        assert options["partition"] == "h100"
        assert "requeue" in options
        gpus[name] = options.get("gpus-per-node")
        assert f"solar run all.yml --until {name}" in path.read_text(encoding="utf-8")
    trained = ("cpt", "sft_a", "sft_b", "h6")
    expected = {name: "8" if name in trained else None for name in NEEDS}
    assert gpus == {**expected, "table_9": "1"}
    submit = made[-1].read_text(encoding="utf-8")
    order = list(NEEDS)
    for name, needs in NEEDS.items():
        (line,) = re.findall(rf"^job\[{name}\]=\$\(sbatch.*$", submit, re.M)
        assert re.findall(r"afterok:\$\{job\[(\w+)\]\}", line) == needs
        # One run works in a folder at a time: each job also waits for the one before it.
        before = order[order.index(name) - 1] if order.index(name) else None
        waits = set(re.findall(r"after\w+:\$\{job\[(\w+)\]\}", line))
        assert before is None or before in waits


def test_several_nodes_find_each_other(chains):
    made = {p.name: p for p in export("all.yml", "--to", "slurm", "--nodes", "4", "--gpus", "2")}
    for path in made.values():
        _is_bash(path)
    script = made["02_cpt.sbatch"].read_text(encoding="utf-8")
    assert _directives(made["02_cpt.sbatch"])["nodes"] == "4"
    assert _directives(made["05_mix.sbatch"])["nodes"] == "1"
    (command,) = [line for line in script.splitlines() if line.startswith("solar run")]
    assert command.endswith(" &")
    _, _, options = command.partition(" --launcher torchrun -- ")
    host = '"$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):29400"'
    assert f"--nnodes=4 --nproc-per-node=2 --rdzv-backend=c10d --rdzv-endpoint={host}" in options
    assert '--rdzv-id="$SLURM_JOB_ID"' in options
    launchers = re.search(r"^export SOLAR_LAUNCHERS=(.*)$", script, re.M)
    assert launchers
    torchrun = Path(launchers[1]) / "torchrun"
    assert torchrun == made["torchrun"].absolute()
    assert torchrun.stat().st_mode & 0o111
    assert "srun --nodes=" in torchrun.read_text(encoding="utf-8")


def test_what_the_run_is_given_goes_into_every_job(chains):
    made = export(
        "all.yml", "--to", "slurm", "--until", "cpt", "--base-model", "my org/model",
        "--set", "output_dir=/big disk/out", "--setup", "module load cuda", "--out", "my jobs",
    )  # fmt: skip
    assert [path.name for path in made] == ["01_world.sbatch", "02_cpt.sbatch", "submit.sh"]
    for path in made:
        _is_bash(path)
    text = made[1].read_text(encoding="utf-8")
    assert "\nmodule load cuda\n" in text
    (command,) = [line for line in text.splitlines() if line.startswith("solar run")]
    words = shlex.split(command)
    assert words[:5] == ["solar", "run", "all.yml", "--until", "cpt"]
    assert words[5:8] == ["--base-model=my org/model", "--set", "output_dir=/big disk/out"]


def test_a_row_of_the_paper_ends_with_its_scores(chains):
    paper = Path(__file__).parents[2] / "recipes" / "paper.yml"
    made = export(str(paper), "--to", "slurm", "--until", "SFT v1", "--out", str(chains / "jobs"))
    names = ["01_cpt.sbatch", "02_sft_v1.sbatch", "03_h6.sbatch", "submit.sh"]
    assert [path.name for path in made] == names
    training, evaluation = (made[number].read_text(encoding="utf-8") for number in (1, 2))
    assert "--until sft_v1 --launcher" in training
    assert "--until 'SFT v1' &" in evaluation


def test_skypilot_runs_the_stages_one_after_the_other(chains):
    (path,) = export(
        "all.yml", "--to", "skypilot", "--nodes", "2", "--gpu", "A100", "--store", "s3://mine"
    )
    header, *tasks = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    assert header == {"name": "all-kinds"}
    assert [task["name"] for task in tasks] == [
        f"all-kinds-{name.replace('_', '-')}" for name in NEEDS
    ]
    for task, name in zip(tasks, NEEDS, strict=True):
        # The fields of SkyPilot's task specification that are used.
        assert set(task) == {
            "name", "resources", "num_nodes", "workdir", "file_mounts", "setup", "run"
        }  # fmt: skip
        trains = name in ("cpt", "sft_a", "sft_b")
        assert task["num_nodes"] == (2 if trains else 1)
        assert ("accelerators" in task["resources"]) == (trains or name in ("h6", "table_9"))
        wanted = "A100:1" if name == "table_9" else "A100:8"
        assert task["resources"].get("accelerators", wanted) == wanted
        assert task["resources"]["job_recovery"] == {"max_restarts_on_errors": 3}
        assert task["file_mounts"] == {"/outputs": {"source": "s3://mine", "mode": "MOUNT_CACHED"}}
        assert (
            f"solar run all.yml --until {name} --set output_dir=/outputs/all-kinds" in task["run"]
        )
        script = chains / f"{name}.sh"
        script.write_text(task["run"], encoding="utf-8")
        _is_bash(script)
        assert ('"$SKYPILOT_NODE_RANK" != 0' in task["run"]) == trains


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["all.yml"], 2, "--to"),
        (["all.yml", "--to", "skypilot"], 2, "--store s3://NAME"),
        (["all.yml", "--to", "shell", "--option", "--partition=p"], 2, "is for sbatch"),
        (["gone.yml", "--to", "shell"], 1, "gone.yml: no such file."),
        (["all.yml", "--to", "shell", "--until", "ctp"], 1, "Did you mean 'cpt'?"),
        (["all.yml", "--to", "shell", "--set", "cpt"], 2, "Write KEY=VALUE"),
        (["all.yml", "--to", "slurm", "--setup", "a\nb"], 1, "a line break"),
        (["all.yml", "--to", "shell", "--nodes", "0"], 2, "0 is not in the range"),
    ],
)
def test_bad_input_is_one_line(chains, arguments, status, says):
    result = CliRunner().invoke(cli, ["export", *arguments])
    assert result.exit_code == status
    assert says in result.stderr
    assert not Path("jobs").exists()
