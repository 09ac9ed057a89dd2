"""What `solar run` does about a stage: skip, run, go on, again, or refuse. No tool is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from model_files import write_checkpoint, write_model

from solar_plugins.chain.chain_file import load_chain
from solar_plugins.chain.missing_inputs import missing_input
from solar_plugins.chain.run import launcher
from solar_plugins.chain.run.decision import decide
from solar_plugins.chain.run.record import DONE, RUNNING, Record
from solar_plugins.chain.run.run_folder import RunFolder, manifest
from solar_plugins.chain.training import metrics
from solar_plugins.cli import cli
from solar_plugins.errors import SolarError

CHAIN = """\
name: small
base_model: base
output_dir: ./run
stages:
  cpt: {train: cpt.yml}
  sft: {train: sft.yml, from: cpt}
"""


@pytest.fixture
def chain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model(Path("base"))
    Path("text.jsonl").write_text('{"text": "a"}\n')
    for name in ("cpt", "sft"):
        Path(f"{name}.yml").write_text(
            f"base_model: x\noutput_dir: ./run/{name}\nlearning_rate: 1e-5\n"
            "datasets: [{path: text.jsonl, type: completion}]\n"
        )
    Path("chain.yml").write_text(CHAIN)
    return load_chain("chain.yml")


def finish(chain, name, state=DONE, layers=2):
    """As if `solar run` had done the stage."""
    folder = RunFolder(chain.output_dir)
    decision = decide(chain, chain.stages[name], folder)
    write_model(folder.stage(name), layers)
    folder.write_record(
        Record(
            stage=name,
            kind="train",
            from_=list(chain.stages[name].from_),
            state=state,
            fingerprint=decision.fingerprint,
            inputs=decision.inputs,
            outputs=manifest(folder.stage(name)) if state == DONE else {},
        )
    )


def action(name="cpt", **options):
    chain = load_chain("chain.yml", **options)
    return decide(chain, chain.stages[name], RunFolder(chain.output_dir))


def test_done_and_unchanged_is_skipped(chain):
    assert action().action == "run"
    finish(chain, "cpt")
    assert action().action == "skip"
    for path in Path("run/cpt").iterdir():
        path.touch()  # another time, the same content
    assert action().action == "skip"
    finish(chain, "sft", state=RUNNING)
    assert action("sft").action == "continue"


def test_each_kind_of_change_runs_the_stage_again(chain):
    finish(chain, "cpt")
    finish(chain, "sft")
    changed = action(overrides={"cpt.learning_rate": 2e-5})
    assert (changed.action, changed.why) == (
        "again",
        "changed: recipe.learning_rate: 1e-5 -> 2e-05",
    )
    Path("text.jsonl").write_text('{"text": "b"}\n')
    assert action().why.startswith("changed: files.text.jsonl: ")
    Path("text.jsonl").write_text('{"text": "a"}\n')
    assert action().action == "skip", "the same content again"
    write_model(Path("base"), layers=1)
    assert action().why.startswith("changed: from.base_model: ")
    write_model(Path("base"), layers=2)
    assert action().action == "skip"


def test_another_input_model_runs_the_next_stage_again(chain):
    finish(chain, "cpt", layers=2)
    finish(chain, "sft")
    finish(chain, "cpt", layers=1)
    assert action("sft").why.startswith("changed: from.cpt: ")


def test_moving_the_run_folder_changes_nothing(chain):
    finish(chain, "cpt")
    finish(chain, "sft")
    Path("run").rename("elsewhere")
    assert action("sft", overrides={"output_dir": "elsewhere"}).action == "skip"


def test_a_changed_output_is_an_error_that_names_the_file(chain):
    finish(chain, "cpt")
    file = Path("run/cpt/model.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(SolarError) as error:
        action()
    assert str(error.value) == (
        "run/cpt/model.safetensors: its content changed since its stage was done. "
        "Restore it, or delete run/cpt and solar run makes the stage again."
    )
    file.unlink()
    with pytest.raises(SolarError, match=r"^run/cpt/model.safetensors: gone since its stage"):
        action()


def solar(*arguments):
    result = CliRunner().invoke(cli, ["run", *arguments])
    return result.exit_code, result.output.strip()


def test_folders_that_are_not_ours_are_refused(chain):
    write_model(Path("run/sft"))
    line = (
        "Error: run/sft: is not empty and holds nothing that this chain has made. "
        "Move it away, or choose another place: --set output_dir=FOLDER."
    )
    assert solar("chain.yml") == (1, line)
    assert not Path("run/.solar/stages").exists(), "nothing was started"
    Path("run/.solar").mkdir()
    Path("run/.solar/run.json").write_text(json.dumps({"chain": "big", "chain_file": "big.yml"}))
    line = (
        "Error: run: is the folder of the chain 'big' (big.yml), not of 'small'. "
        "Choose another one: --set output_dir=FOLDER."
    )
    assert solar("chain.yml") == (1, line)


def test_faults_of_the_input_are_one_line_before_anything_starts(chain):
    assert solar("no.yml") == (1, "Error: no.yml: no such file.")
    Path("sft.yml").write_text("a: [1\nb: 2")
    status, output = solar("chain.yml")
    assert status == 1
    assert output.startswith("chain.yml:6:9: stages.sft.train: sft.yml:2: not readable as YAML")
    assert output.splitlines()[-1].startswith("1 finding, nothing was started")
    status, output = solar("chain.yml", "--no-check")
    assert (status, output.split(":")[:3]) == (1, ["Error", " sft.yml", "2"])
    Path("sft.yml").write_text("datasets: [{path: ./gone.jsonl}]\n")
    line = (
        "Error: sft.yml: datasets[0].path: ./gone.jsonl is not there. "
        "Name a path or a hub id that exists."
    )
    assert solar("chain.yml", "--no-check") == (1, line)
    line = (
        "Error: chain.yml: base_model: ./gone is not there. "
        "Name a folder with a model, or a hub id (owner/name)."
    )
    assert solar("chain.yml", "--no-check", "--base-model", "./gone") == (1, line)
    assert solar("chain.yml", "--set", "seed")[0] == 2
    assert not Path("run/.solar/stages").exists()


def test_a_missing_model_names_the_command_that_makes_it(chain):
    Path("recipes").mkdir()
    Path("recipes/solar.yml").write_text(
        "name: s\nbase_model: b\noutput_dir: ./outputs/s\n"
        "stages:\n  cpt: {train: cpt.yml}\n  mix: {merge: m.yml, from: cpt}\n"
    )
    Path("recipes/cpt.yml").write_text("base_model: b\noutput_dir: ./outputs/s/cpt\n")
    assert missing_input({"base_model": "./outputs/s/cpt"}) == (
        "base_model: ./outputs/s/cpt is not there. Make it first: "
        "axolotl train recipes/cpt.yml (or solar run recipes/solar.yml --until cpt)"
    )
    assert missing_input({"base_model": "./outputs/s/mix"}) == (
        "base_model: ./outputs/s/mix is not there. Make it first: "
        "mergekit-yaml recipes/m.yml outputs/s/mix (or solar run recipes/solar.yml --until mix)"
    )
    assert missing_input({"base_model": "owner/name"}) is None


def test_the_data_of_an_sdpo_step_are_inputs_too(chain, monkeypatch):
    """Found before the first stage starts, not hours later when the step's turn comes."""
    step = "  - datasets: [{path: ./data/math_alignment.jsonl, type: chat_template.argilla_chat}]\n"
    recipe = Path("sft.yml").read_text().replace("datasets:", "#")
    recipe += "plugins: [solar_plugins.StepwiseDPOPlugin]\nrl: dpo\nsdpo:\n  steps:\n" + step
    Path("sft.yml").write_text(recipe)
    run = CliRunner().invoke(cli, ["run", "chain.yml", "--no-check"])
    assert run.exit_code == 1
    assert (
        "sdpo.steps[0].datasets[0].path: ./data/math_alignment.jsonl is not there. "
        "Make it first: solar synth-math from-metamathqa"
    ) in " ".join(run.output.split())
    assert not Path("run/.solar/stages").exists()
    made = {"sdpo": {"steps": [{"datasets": [{"path": "./run/world/pairs.jsonl"}]}]}}
    assert missing_input(made, made_below=Path("./run")) is None
    assert missing_input(made).startswith("sdpo.steps[0].datasets[0].path: ./run/world")


def test_the_launchers_command_line():
    command = launcher.train_command(Path("a.yml"), "torchrun", ["--nnodes", "2"])
    assert command[1:] == [
        *("-m", "axolotl.cli.main", "train", "a.yml", "--launcher", "torchrun"),
        *("--", "--nnodes", "2"),
    ]
    assert launcher.choose(None, []) == launcher.IN_PROCESS, "no GPU in the tests"
    assert launcher.choose(None, ["--nnodes", "2"]) == "accelerate"
    assert launcher.processes("torchrun", []) == launcher.processes(launcher.IN_PROCESS, []) == 1
    assert launcher.processes("accelerate", []) == 1, "no GPU in the tests"
    assert launcher.processes("torchrun", ["--nnodes", "2"]) is None
    with pytest.raises(SolarError, match="found after '--', but --launcher none"):
        launcher.choose("none", ["--nnodes", "2"])


def test_processes_that_the_launchers_options_ask_for():
    def count(launcher_name, *options):
        return launcher.processes(launcher_name, options)

    assert count("torchrun", "--standalone", "--nproc-per-node=8") == 8
    assert count("torchrun", "--nnodes", "2", "--nproc_per_node", "4") == 8
    assert count("accelerate", "--num_processes=4", "--mixed_precision", "no") == 4
    assert count("torchrun", "--nnodes=1:4", "--nproc-per-node=8") is None
    assert count("accelerate", "--config_file", "my.yml") is None


@pytest.mark.parametrize("step_folder", ["", "step_2"])
def test_a_zero_checkpoint_of_other_processes_is_refused_before_anything_starts(chain, step_folder):
    finish(chain, "cpt", state=RUNNING)
    write_checkpoint(Path("run/cpt") / step_folder, 5, zero_processes=2)
    place = Path("run/cpt") / step_folder
    line = (
        f"Error: {place}/checkpoint-5 was saved by 2 processes under DeepSpeed's ZeRO, and "
        f"this run would resume it on 4. Start 2 (--launcher torchrun -- --nproc-per-node=2), or "
        f"delete {place}/checkpoint-* to begin there from the start."
    )
    options = ("chain.yml", "--no-check", "--launcher", "torchrun", "--", "--nproc-per-node=4")
    assert solar(*options) == (1, line)
    before = json.loads(Path("run/.solar/stages/cpt.json").read_text())
    assert before["attempts"] == 0, "no attempt was begun"


def test_metrics_of_an_attempt_that_goes_on_replace_what_it_redoes(tmp_path):
    path = tmp_path / "sft.jsonl"
    first = metrics.MetricsFile(path)
    for step in range(1, 6):
        first.append(step, 8, step / 8, {"loss": 1.0 * step})
    second = metrics.MetricsFile(path)
    second.append(4, 8, 0.5, {"loss": float("nan")})
    second.append(5, 8, 0.6, {"loss": 50.0})
    with path.open("a") as file:
        file.write('{"step": 6, "lo')  # killed while it wrote
    assert [(r["step"], r["loss"]) for r in metrics.read(path)] == [
        *((1, 1.0), (2, 2.0), (3, 3.0), (4, None), (5, 50.0))
    ]
    assert metrics.last_loss(path) == 50.0
