"""What `solar run` holds: one commit of all that a chain takes from the Hub."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import hub_server
import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import constants
from model_files import write_model

from solar_plugins.chain.chain_file import load_chain
from solar_plugins.chain.resolve import resolve
from solar_plugins.chain.run.decision import decide
from solar_plugins.chain.run.record import DONE, Record
from solar_plugins.chain.run.run_folder import RunFolder, manifest
from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.sharing import lock

CHAIN = """\
name: small
base_model: open/model
output_dir: ./run
stages:
  cpt: {train: cpt.yml}
  mix: {merge: mix.yml}
  pairs: {train: pairs.yml, from: cpt}
"""
STREAM = {"pretraining_dataset": "open/rows", "output_dir": "./run/cpt", "max_steps": 1}
PAIRS = {"path": "open/pairs", "type": "chatml.intel", "split": "train"}
ROWS, ROWS_LATER, MODEL = "a" * 40, "e" * 40, "f" * 40
LOCK = Path("run/.solar/solar.lock.json")


@pytest.fixture
def online(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    sdpo = {"steps": [{"datasets": [dict(PAIRS)]}]}
    plugins = ["solar_plugins.StepwiseDPOPlugin"]
    write(cpt=STREAM, pairs={"rl": "dpo", "plugins": plugins, "sdpo": sdpo})
    Path("mix.yml").write_text("merge_method: passthrough\nmodels: [{model: open/model}]\n")
    Path("chain.yml").write_text(CHAIN)
    monkeypatch.setitem(hub_server.MODELS, "open/model", {"gated": False, "sha": MODEL})
    with hub_server.hub() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield monkeypatch


def write(**recipes):
    for name, recipe in recipes.items():
        Path(f"{name}.yml").write_text(yaml.safe_dump({"base_model": "x", **recipe}))


def held():
    return lock.hold(load_chain("chain.yml"))


def solar(*words):
    return CliRunner().invoke(cli, list(words))


def test_every_resolved_file_has_the_commit_from_the_first_time_on(online):
    for hub_is_there in (True, True, False):
        chain, faults, notes = held()
        assert (faults, notes) == ([], [])
        cpt, mix, pairs = (resolve(chain, stage) for stage in chain.order())
        assert cpt["revision_of_model"] == MODEL
        assert mix["models"] == [{"model": f"open/model@{MODEL}"}]
        assert cpt["pretraining_dataset"] == [
            {"path": "open/rows", "split": "train", "revision": ROWS}
        ]
        assert pairs["sdpo"]["steps"][0]["datasets"] == [PAIRS | {"revision": "b" * 40}]
        # the Hub goes on, and then away
        online.setitem(hub_server.DATASETS, "open/rows", {"gated": False, "sha": ROWS_LATER})
        online.setattr(constants, "HF_HUB_OFFLINE", not hub_is_there)
    online.setattr(constants, "HF_HUB_OFFLINE", False)
    LOCK.unlink()
    assert held()[0].revisions["open/rows"] == ROWS_LATER


def test_what_is_named_stays_and_what_is_not_known_is_said(online):
    online.setattr(constants, "HF_HUB_OFFLINE", True)
    with Path("chain.yml").open("a") as file:
        file.write(f"revisions: {{open/model: {MODEL}}}\n")
    write(cpt=STREAM | {"pretraining_dataset": [{"path": "open/rows", "revision": ROWS}]})
    chain, faults, notes = held()
    assert chain.revisions == {"open/model": MODEL}
    assert resolve(chain, chain.stages["cpt"])["pretraining_dataset"][0]["revision"] == ROWS
    assert not LOCK.exists()
    assert (faults, notes) == (
        [],
        [
            f"not pinned, no commit is known ({constants.ENDPOINT} was not asked "
            "(HF_HUB_OFFLINE is set)): open/pairs"
        ],
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "gone/rows",
            "{hub}/datasets/gone/rows is not there, or is private. Correct the name, or "
            "`hf auth login` with an account that may read it.",
        ),
        (
            "gated/rows",
            "gated/rows is gated, and you are not let in (yet): accept its terms at "
            "{hub}/datasets/gated/rows, then `hf auth login`.",
        ),
        ("open/rows@" + "0" * 40, "{hub}/datasets/open/rows has no revision '" + "0" * 40 + "'."),
    ],
)
def test_gone_and_gated_are_found_before_anything_starts(online, name, said):
    path, _, revision = name.partition("@")
    entry = {"path": path, **({"revision": revision} if revision else {})}
    write(cpt=STREAM | {"pretraining_dataset": [entry]})
    said = said.format(hub=constants.ENDPOINT)
    run = solar("run", "chain.yml")
    assert (run.exit_code, run.output.splitlines()) == (
        1,
        [said, "nothing was started (--no-check starts all the same)"],
    )
    assert not Path("run").exists()
    dry = solar("run", "chain.yml", "--dry-run")
    assert (dry.exit_code, dry.output.splitlines()[0]) == (1, said)


def test_moved_is_said_and_held_under_the_name_that_the_recipe_has(online):
    write(cpt=STREAM | {"pretraining_dataset": "old/name"})
    chain, _, notes = held()
    assert notes == ["old/name is called new/name on the Hub today. Write that name."]
    assert chain.revisions["old/name"] == "c" * 40
    assert "old/name" in json.loads(LOCK.read_text())["datasets"]["hub"]


def test_the_hub_is_not_asked_about_what_a_stage_makes(online):
    Path("mix.yml").write_text("merge_method: linear\nmodels: [{model: A}, {model: B}]\n")
    text = CHAIN.replace("{merge: mix.yml}", "{merge: mix.yml, from: [cpt, base_model]}")
    Path("chain.yml").write_text(text)
    chain, faults, notes = held()
    assert (faults, notes) == ([], [])
    assert "run/cpt" not in chain.revisions


def finish(chain, name):
    folder = RunFolder(chain.output_dir)
    found = decide(chain, chain.stages[name], folder)
    write_model(folder.stage(name))
    made = manifest(folder.stage(name))
    record = Record(name, found.stage.kind, list(found.stage.from_), DONE, "", found.inputs, made)
    folder.write_record(record)


def action(chain, name):
    found = decide(chain, chain.stages[name], RunFolder(chain.output_dir))
    return found.action, found.why


def test_a_commit_found_out_later_makes_nothing_again_and_another_one_does(online):
    plain = load_chain("chain.yml")
    for name in ("cpt", "mix"):
        finish(plain, name)
    chain = held()[0]
    assert chain.revisions["open/rows"] == ROWS
    for name in ("cpt", "mix"):
        assert action(chain, name)[0] == "skip", name
        finish(chain, name)
    assert action(plain, "cpt")[0] == "skip"  # the lock is gone
    other = replace(chain, revisions={"open/rows": ROWS_LATER, "open/model": MODEL})
    kind, why = action(other, "cpt")
    assert kind == "again"
    assert "revisions.pretraining_dataset[0]" in why
    other = replace(chain, revisions={"open/rows": ROWS, "open/model": ROWS})
    assert {action(other, name)[0] for name in ("cpt", "mix")} == {"again"}


def test_todays_name_of_a_moved_data_set_makes_nothing_again(online):
    old = {"base_model": "x", "output_dir": "./run/cpt", "datasets": [{"type": "alpaca"}]}
    for path in ("c-s-ale/alpaca-gpt4-data", "llm-wizard/alpaca-gpt4-data"):
        old["datasets"][0]["path"] = path
        write(cpt=old)
        chain = load_chain("chain.yml")
        if path.startswith("c-s"):
            finish(chain, "cpt")
    assert action(chain, "cpt")[0] == "skip"


def test_the_lock_of_an_unpacked_pack_is_held(online):
    hub = {"source": "hub", "revision": ROWS_LATER}
    rows = {"local": {}, "hub": {"open/rows": hub}}
    content = {
        "format": 1,
        "name": "small",
        "chain": "chain.yml",
        "models": {"local": {}, "hub": {}},
        "datasets": rows,
    }
    Path("solar.lock.json").write_text(json.dumps(content))
    assert held()[0].revisions["open/rows"] == ROWS_LATER
    Path("solar.lock.json").write_text("{}")
    with pytest.raises(SolarError, match="not a lock of format 1"):
        held()
