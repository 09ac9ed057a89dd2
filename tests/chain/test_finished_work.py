"""Finished stages survive what changes no result, and are listed, redone or kept where one changed.

No tool is started: what would train is replaced by `made`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from model_files import write_checkpoint, write_model

from solar_plugins.chain.chain_file import load_chain
from solar_plugins.chain.run import fingerprint, stages
from solar_plugins.chain.run.decision import decide
from solar_plugins.chain.run.record import DONE, Record
from solar_plugins.chain.run.run_folder import RunFolder, manifest
from solar_plugins.chain.run.runner import Runner
from solar_plugins.chain.run.worker import Outcome
from solar_plugins.cli import cli
from solar_plugins.recipes import registry

CHAIN = """\
name: small
base_model: base
output_dir: ./run
stages:
  cpt: {train: cpt.yml}
  sft: {train: sft.yml, from: cpt}
  dpo: {train: dpo.yml, from: sft}
"""
STAGES = ("cpt", "sft", "dpo")
PLUGINS = {"cpt": "DepthUpScalingPlugin", "sft": "FlanFilterPlugin", "dpo": "StepwiseDPOPlugin"}
HOUR = 3600.0


@pytest.fixture
def chain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_model(Path("base"))
    Path("text.jsonl").write_text('{"text": "a"}\n')
    for name in STAGES:
        Path(f"{name}.yml").write_text(
            f"base_model: x\noutput_dir: ./run/{name}\nlearning_rate: 1.0e-5\n"
            f"plugins: [solar_plugins.{PLUGINS[name]}]\n"
            f"datasets: [{{path: text.jsonl, type: completion}}]\n"
        )
    Path("chain.yml").write_text(CHAIN)
    return load_chain("chain.yml")


def finish(name, wall_s=1.0, mark="", chain=None):
    """As if the stage had been trained; `mark` makes its weights other ones."""
    chain = chain or load_chain("chain.yml")
    stage, folder = chain.stages[name], RunFolder(chain.output_dir)
    decision = decide(chain, stage, folder)
    write_model(folder.stage(name))
    (folder.stage(name) / "mark").write_text(name + mark)
    folder.write_record(
        Record(
            stage=name,
            kind="train",
            from_=list(stage.from_),
            state=DONE,
            fingerprint=decision.fingerprint,
            inputs=decision.inputs,
            outputs=manifest(folder.stage(name)),
            wall_s=wall_s,
            versions=fingerprint.tool_versions("train"),
        )
    )


@pytest.fixture
def finished(chain):
    for name in STAGES:
        finish(name, wall_s=HOUR)
    RunFolder(chain.output_dir).write_run(chain, CHAIN, {})
    return chain


@pytest.fixture
def made(monkeypatch):
    """The stages that a run makes, in order; each gets other weights than before."""
    names = []

    def run_stage(self, decision, workers):
        name = decision.stage.name
        names.append(name)
        if decision.action == "again":
            self.folder.set_aside(name)
        finish(name, mark=" anew", chain=self.chain)

    monkeypatch.setattr(Runner, "_run_stage", run_stage)
    monkeypatch.setattr(Runner, "_workers", lambda self, kinds: None)
    monkeypatch.setattr("solar_plugins.sharing.card.write_cards", lambda folder: None)
    return names


def solar(*arguments):
    result = CliRunner().invoke(cli, ["run", "chain.yml", "--no-check", *arguments])
    return result.exit_code, result.output


def record(name):
    return json.loads(Path(f"run/.solar/stages/{name}.json").read_text())


def shorten(wall_s):
    """Let each stage have taken `wall_s` seconds."""
    for name in STAGES:
        content = record(name) | {"wall_s": wall_s}
        Path(f"run/.solar/stages/{name}.json").write_text(json.dumps(content))


def state_of_run():
    files = [path for path in Path("run").rglob("*") if path.is_file()]
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
        if path.name not in ("lock", "run.json", "chain.yml")
    }


def test_a_comment_in_every_file_of_the_plugins_changes_nothing(
    finished, made, monkeypatch, tmp_path
):
    """The package with other source files: nothing runs, nothing is moved."""
    other = tmp_path / "elsewhere" / "solar_plugins"
    shutil.copytree(
        fingerprint.PACKAGE, other, ignore=shutil.ignore_patterns("__pycache__", "*.json")
    )
    for file in other.rglob("*.py"):
        file.write_text(file.read_text() + "# a comment\n")
    monkeypatch.setattr(fingerprint, "PACKAGE", other)
    before = state_of_run()
    status, output = solar()
    assert (status, output.count("done: already"), made) == (0, 3, []), output
    assert state_of_run() == before


def test_a_file_in_the_run_folder_that_no_stage_made_counts_and_moves_along(chain):
    def files(run: str) -> dict[str, str]:
        there = load_chain("chain.yml", overrides={"output_dir": run})
        recipe = {"datasets": [{"path": f"{run}/mine.jsonl"}]}
        return fingerprint.inputs(there, there.stages["cpt"], recipe, RunFolder(Path(run)))["files"]

    Path("run").mkdir(exist_ok=True)
    Path("run/mine.jsonl").write_text("a")
    before = files("run")
    assert list(before) == ["mine.jsonl"]
    Path("run").rename("moved")
    assert files("moved") == before
    Path("moved/mine.jsonl").write_text("b")
    assert files("moved") != before


def test_files_of_the_package_that_a_recipe_names_are_known_by_the_result_version(chain):
    recipe = {"include_path": str(fingerprint.PACKAGE / "miniature" / "lm_eval_tasks")}
    found = fingerprint.inputs(chain, chain.stages["cpt"], recipe, RunFolder(chain.output_dir))
    assert found["files"] == {}
    assert found["recipe"] == {"include_path": "{solar_plugins}/miniature/lm_eval_tasks"}


def test_every_plugin_and_generator_has_a_result_version(finished, monkeypatch):
    assert record("sft")["inputs"]["result_versions"] == {"flan_filter": 1, "stage": 1}
    assert registry.result_versions("merge", {}) == {"merge": 1}
    assert registry.result_versions("evaluate", {"tasks": ["mmlu", "mini_arc"]}) == {"evaluate": 2}
    assert registry.result_versions("evaluate", {"tasks": ["mini_mmlu"]}) == {"evaluate": 1}
    generators = {"miniature_world": 1, "untrained_model": 1, "flan_index": 2, "synth_math": 1}
    for generator, version in generators.items():
        assert registry.result_versions("data", {"generator": generator}) == {generator: version}
    newer = registry.Plugin("solar_plugins.flan_filter.plugin", "flan_filter", 2)
    monkeypatch.setitem(registry.PLUGINS, "FlanFilterPlugin", newer)
    status, output = solar("--dry-run")
    assert status == 1
    assert "sft: changed: result_versions.flan_filter: 1 -> 2; took 1:00:00" in output
    assert "cpt            train     skip" in output


def test_a_patch_release_of_torch_is_one_warning(finished, made, monkeypatch):
    installed = fingerprint.tool_version
    monkeypatch.setattr(
        fingerprint, "tool_version", lambda name: "99.0" if name == "torch" else installed(name)
    )
    then = record("cpt")["versions"]["torch"]
    line = f"cpt, sft, dpo: made with torch {then}, 99.0 is installed; kept"
    status, output = solar("--dry-run")
    assert (status, output.splitlines()[-1]) == (0, line)
    status, output = solar()
    assert (status, output.count(line), made) == (0, 1, [])


def test_below_the_limit_a_changed_stage_and_what_follows_are_made_again(finished, made):
    shorten(299.0)
    status, output = solar("--set", "cpt.learning_rate=2.0e-5")
    assert status == 0, output
    assert output.splitlines()[:4] == [
        "cpt: changed: recipe.learning_rate: 1e-05 -> 2e-05; took 4:59",
        "sft: after cpt; took 4:59",
        "dpo: after sft; took 4:59",
        "3 finished stages to be made again, 14:57 in all",
    ]
    assert made == ["cpt", "sft", "dpo"]
    assert len(list(Path("run").glob("cpt.previous-*"))) == 1
    made.clear()
    status, output = solar("--set", "cpt.learning_rate=2.0e-5")
    assert (status, made, output.count("done: already")) == (0, [], 3)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_above_the_limit_nothing_is_started_or_moved(finished, made, dry):
    before = state_of_run()
    status, output = solar("--set", "sft.learning_rate=2.0e-5", *dry)
    assert status == 1
    assert output.splitlines()[-4:] == [
        "sft: changed: recipe.learning_rate: 1e-05 -> 2e-05; took 1:00:00",
        "dpo: after sft; took 1:00:00",
        "2 finished stages to be made again, 2:00:00 in all",
        "Error: 2 finished stages would be made again, 2:00:00 in all: nothing was started. For "
        "each of sft, write --redo STAGE to make it and what follows from it again (the old "
        "output is kept aside), or --keep STAGE to accept its output as it is.",
    ]
    assert (made, state_of_run()) == ([], before)


def test_a_changed_data_file_is_treated_alike(finished, made):
    Path("text.jsonl").write_text('{"text": "b"}\n')
    status, output = solar()
    assert status == 1
    assert "cpt: changed: files.text.jsonl: " in output
    assert "For each of cpt, sft, dpo, write --redo STAGE" in output
    shorten(1.0)
    assert (solar()[0], made) == (0, ["cpt", "sft", "dpo"])


def test_redo_answers_for_what_follows(finished, made):
    changed = ("--set", "sft.learning_rate=2.0e-5")
    status, output = solar(*changed, "--redo", "sft")
    assert (status, made) == (0, ["sft", "dpo"]), output
    assert len(list(Path("run").glob("dpo.previous-*"))) == 1


def test_redo_makes_an_unchanged_stage_again(finished, made):
    status, output = solar("--redo", "dpo")
    assert (status, made) == (0, ["dpo"]), output
    assert "dpo: asked for with --redo; took 1:00:00" in output
    made.clear()
    assert (solar()[0], made) == (0, [])


def test_what_redo_allowed_goes_on_after_an_interruption(finished, made, monkeypatch):
    make = Runner._run_stage

    def interrupted(self, decision, workers):
        if decision.stage.name == "sft":
            raise KeyboardInterrupt
        make(self, decision, workers)

    monkeypatch.setattr(Runner, "_run_stage", interrupted)
    status, output = solar("--redo", "cpt", "--redo", "dpo")
    assert status == 130
    assert "interrupted: the same command without --redo goes on from here." in output
    monkeypatch.setattr(Runner, "_run_stage", make)
    assert (solar()[0], made) == (0, ["cpt", "sft", "dpo"])


def test_keep_accepts_the_output_and_notes_it(finished, made):
    changed = ("--set", "sft.learning_rate=2.0e-5")
    weights = Path("run/sft/model.safetensors").stat().st_mtime_ns
    was = record("sft")
    status, output = solar(*changed, "--keep", "sft", "--dry-run")
    assert (status, record("sft")) == (0, was)
    assert "sft            train     keep      changed: recipe.learning_rate" in output
    status, output = solar(*changed, "--keep", "sft")
    assert (status, made) == (0, []), output
    assert Path("run/sft/model.safetensors").stat().st_mtime_ns == weights
    now = record("sft")
    assert now["inputs"]["recipe"]["learning_rate"] == 2e-5
    (note,) = now["kept"]
    assert note["changed"] == ["recipe.learning_rate: 1e-05 -> 2e-05"]
    assert note["fingerprint"] == was["fingerprint"] != now["fingerprint"]
    assert (now["outputs"], now["wall_s"]) == (was["outputs"], HOUR)
    assert (solar(*changed)[0], made) == (0, [])


def test_redo_before_a_kept_stage(finished, made):
    status, output = solar("--redo", "cpt", "--keep", "sft")
    assert (status, made) == (0, ["cpt"]), output
    assert record("sft")["kept"][0]["changed"][0].startswith("from.cpt: ")
    assert (solar()[0], made) == (0, ["cpt"])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ("--redo", "sfd"),
            "--redo: chain.yml has no stage 'sfd'. Did you mean 'sft'? Its stages: cpt, sft, dpo.",
        ),
        (
            ("--keep", "sfd"),
            "--keep: chain.yml has no stage 'sfd'. Did you mean 'sft'? Its stages: cpt, sft, dpo.",
        ),
        (
            ("--redo", "sft", "--until", "cpt"),
            "--redo sft: not one of the stages of this run: cpt.",
        ),
        (
            ("--redo", "sft", "--keep", "sft"),
            "--redo sft --keep sft: the options exclude each other.",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(finished, made, options, line):
    for dry in ((), ("--dry-run",)):
        status, output = solar(*options, *dry)
        assert (status, output.splitlines()[-1]) == (1, f"Error: {line}")
    assert made == []


def test_a_stage_that_is_not_done_cannot_be_kept(chain, made):
    line = "Error: --keep cpt: the stage is not done, so nothing can be kept."
    status, output = solar("--keep", "cpt")
    assert (status, output.splitlines()[-1]) == (1, line)


def test_a_lost_stage_does_not_repeat_what_follows_without_asking(finished, made):
    shutil.rmtree("run/cpt")
    status, output = solar()
    assert (status, made) == (1, [])
    assert "For each of sft, write --redo STAGE" in output
    assert (solar("--keep", "sft")[0], made) == (0, ["cpt"])


class Children:
    """Stands for the processes: the first makes a model and a checkpoint, the second finds them."""

    def start(self, work, *args, **options):
        self.work = work
        return self

    def wait(self, tick):
        if self.work is not stages.check:
            write_model(Path("run/cpt"))
            write_checkpoint(Path("run/cpt"), 5)
            return Outcome()
        return Outcome(value={"facts": {}, "outputs": manifest(Path("run/cpt"))})


@pytest.mark.parametrize("removed", [False, True])
def test_checkpoints_go_once_the_stage_is_verified_if_the_chain_says_so(
    chain, monkeypatch, removed
):
    monkeypatch.setattr(Runner, "_workers", lambda self, kinds: Children())
    monkeypatch.setattr("solar_plugins.sharing.card.write_cards", lambda folder: None)
    options = ("--until", "cpt", "--set", f"remove_checkpoints={removed}")
    status, output = solar(*options)
    assert status == 0, output
    assert record("cpt")["state"] == DONE
    assert Path("run/cpt/checkpoint-5").exists() is not removed
    assert Path("run/cpt/model.safetensors").exists()
    write_checkpoint(Path("run/cpt/step_1"), 7)  # of sDPO; left by a run without the key
    status, output = solar(*options)
    assert (status, "cpt: done: already" in output) == (0, True)
    assert Path("run/cpt/step_1/checkpoint-7").exists() is not removed


def test_prepared_data_belong_to_the_content_that_they_were_made_from(finished):
    chain = load_chain("chain.yml")
    runner = Runner(chain, display=None)
    stage, folder = chain.stages["cpt"], runner.folder

    def prepare():
        runner._prepare(decide(chain, stage, folder))
        text = folder.resolved("cpt").read_text()
        (line,) = [line for line in text.splitlines() if "dataset_prepared_path" in line]
        return Path(line.partition(": ")[2])

    first = prepare()
    assert first.parent == Path("run/.solar/prepared/cpt")
    whole = first / "0123"
    whole.mkdir(parents=True)
    for name in ("state.json", "dataset_info.json"):
        (whole / name).touch()
    assert prepare() == first
    assert whole.is_dir(), "the same content: nothing is tokenised again"
    Path("text.jsonl").write_text('{"text": "b"}\n')
    assert prepare() != first
    assert not first.exists(), "rows of the old file"


@pytest.fixture
def released(tmp_path, monkeypatch):
    """A finished run of the miniature chain, made by the version before records had a version.

    Its weights and data are replaced by short texts, with their sizes and digests in the records.
    """
    files = json.loads((Path(__file__).parent / "released_run.json").read_text())
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    # As if no result had changed since; see
    # `test_what_changes_the_results_of_a_plugin_since_then_is_found`.
    sdpo = registry.PLUGINS["StepwiseDPOPlugin"]
    monkeypatch.setitem(
        registry.PLUGINS, "StepwiseDPOPlugin", dataclasses.replace(sdpo, result_version=1)
    )
    return tmp_path


def solar_tiny(*arguments):
    command = ["run", "recipes/tiny/solar.yml", "--no-check", *arguments]
    result = CliRunner().invoke(cli, command)
    return result.exit_code, result.output


def test_a_run_of_the_released_version_is_done(released, made):
    status, output = solar_tiny("--dry-run")
    assert status == 0, output
    lines = [line.split() for line in output.splitlines() if not line.endswith("; kept")]
    assert [line[2] for line in lines] == ["skip"] * 11
    stages = Path("outputs/tiny/.solar/stages")
    assert "version" not in json.loads((stages / "cpt.json").read_text()), "nothing is written"
    status, output = solar_tiny()
    assert (status, made) == (0, []), output
    new = json.loads((stages / "h6.json").read_text())
    assert new["version"] == 2
    assert "code" not in new["inputs"]
    assert new["inputs"]["recipe"]["include_path"] == "{solar_plugins}/miniature/lm_eval_tasks"
    assert new["versions"]["lm_eval"] == "0.4.11"
    Path("outputs/tiny").rename("elsewhere")
    status, output = solar_tiny("--set", "output_dir=elsewhere")
    assert (status, made, output.count("done: already")) == (0, [], 11), output


def test_a_run_of_the_released_version_that_was_moved_is_done(released, made):
    Path("outputs/tiny").rename("elsewhere")
    status, output = solar_tiny("--set", "output_dir=elsewhere")
    assert (status, made, output.count("done: already")) == (0, [], 11), output


def test_what_changed_since_the_released_version_is_found(released):
    _, output = solar_tiny("--dry-run", "--set", "sft_v4.learning_rate=1e-6")
    assert "sft_v4: changed: recipe.learning_rate: " in output
    assert "5 finished stages to be made again" in output


def test_what_changes_the_results_of_a_plugin_since_then_is_found(released, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(released)
    _, output = solar_tiny("--dry-run")
    assert "cand_1: changed: result_versions.sdpo: 1 -> 2; took " in output
    assert "4 finished stages to be made again" in output


def test_a_record_of_the_future_is_refused(finished):
    path = Path("run/.solar/stages/cpt.json")
    path.write_text(json.dumps(record("cpt") | {"version": 3}))
    status, output = solar()
    assert status == 1
    assert output.splitlines()[-1] == (
        "Error: run/.solar/stages/cpt.json: not a record that this version of solar_plugins can "
        "read (version 3). Delete it together with run/cpt to make the stage again."
    )
