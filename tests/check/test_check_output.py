"""What `solar check` writes: fixes into files, SARIF and JSON for machines; and its hook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from good_files import spoil

from solar_plugins.check import check_files, finding, fixes
from solar_plugins.cli import cli
from solar_plugins.cli.check import check_command

ROOT = Path(__file__).parents[2]


def _found(file: str) -> list[finding.Finding]:
    return list(check_files([file], with_axolotl=False))


def test_a_fix_changes_these_characters_and_no_others(good_chain):
    good = Path("sft.yml").read_text(encoding="utf-8")
    text = "# ünïcödé — 例\n" + good.replace("num_epochs: 1", "num_epochs:   1   # kept")
    spoiled = (
        text.replace("learning_rate:", "learning_rat:")
        .replace("cosine", '"cosin"')
        .replace("attn_implementation: flash_attention_2", "flash_attention: true # why not")
        .replace("split: train", "splt: train")
    )
    Path("sft.yml").write_text(spoiled, encoding="utf-8")
    change = fixes.fix_file("sft.yml", _found("sft.yml"))
    wanted = text.replace(
        "attn_implementation: flash_attention_2",
        "attn_implementation: flash_attention_2 # why not",
    )
    assert Path("sft.yml").read_text(encoding="utf-8") == wanted
    assert change.count("\n+") == 5  # four lines and the header's own
    assert fixes.fix_file("sft.yml", _found("sft.yml")) == ""


def test_a_key_that_only_the_extended_file_has_is_no_reason_to_leave_a_typo(good_chain):
    short = "extends: ./sft.yml\nlearning_rat: 1.0e-5\nflash_attention: true\n"
    Path("short.yml").write_text(short, encoding="utf-8")
    fixes.fix_file("short.yml", _found("short.yml"))
    assert Path("short.yml").read_text(encoding="utf-8") == (
        "extends: ./sft.yml\nlearning_rate: 1.0e-5\nattn_implementation: flash_attention_2\n"
    )


def test_line_ends_of_windows_and_a_byte_order_mark_stay(good_chain):
    good = Path("sft.yml").read_bytes()
    spoiled = good.replace(b"learning_rate", b"learning_rat").replace(b"\n", b"\r\n")
    Path("sft.yml").write_bytes(b"\xef\xbb\xbf" + spoiled)
    fixes.fix_file("sft.yml", _found("sft.yml"))
    assert Path("sft.yml").read_bytes() == b"\xef\xbb\xbf" + good.replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # the right key stands there as well: which of the two is meant?
        ("learning_rate: 2.0e-5", "learning_rate: 2.0e-5\nlearning_rat: 1.0e-5"),
        # the same block at two places
        (
            "saves_per_epoch: 1",
            "lr_scheduler_kwargs: &same {min_lr: 1e-6}\noptim_args: *same",
        ),
        # nothing is near enough
        ("saves_per_epoch: 1", "frobnicate: 1"),
        # a flag that is off says nothing
        ("attn_implementation: flash_attention_2", "flash_attention: false"),
    ],
)
def test_what_may_mean_two_things_is_left_alone(good_chain, old, new):
    spoil("sft.yml", old, new)
    spoiled = Path("sft.yml").read_text(encoding="utf-8")
    fixes.fix_file("sft.yml", [f for f in _found("sft.yml") if "min_lr" not in f.path])
    assert Path("sft.yml").read_text(encoding="utf-8") == spoiled


def test_a_value_behind_an_alias_is_not_written_over(good_chain):
    spoil("sft.yml", "saves_per_epoch: 1", "x: &name cosin\nlr_scheduler: *name")
    spoil("sft.yml", "lr_scheduler: cosine\n", "")
    (aliased,) = [f for f in _found("sft.yml") if f.path == "lr_scheduler"]
    assert aliased.fix is None


def test_the_command_fixes_a_whole_chain(good_chain):
    spoil("mix.yml", "slerp", "slrp")
    spoil("cpt.yml", "remove_layers", "remove_layer")
    done = CliRunner().invoke(cli, ["check", "--quick", "--fix", "chain.yml"])
    assert done.exit_code == 0, done.output
    assert "-merge_method: slrp\n+merge_method: slerp\n" in done.stdout
    assert "-  remove_layer: 8\n+  remove_layers: 8\n" in done.stdout
    assert "2 files changed" in done.stderr
    assert _found("chain.yml") == []


def test_sarif(good_chain):
    spoil("sft.yml", "learning_rate", "learning_rat")
    spoil("sft.yml", "path: rows.jsonl", "path: row.jsonl")
    result = CliRunner().invoke(cli, ["check", "--quick", "--format", "sarif", "sft.yml"])
    assert result.exit_code == 1
    (run,) = json.loads(result.stdout)["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == list(finding.KINDS)
    by_rule = {r["ruleId"]: r for r in run["results"]}
    typo = by_rule["unknown-key"]
    assert rules[typo["ruleIndex"]] == "unknown-key"
    assert typo["level"] == "error"
    place = typo["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "sft.yml"}
    assert place["region"] == {"startLine": 18, "startColumn": 1}
    (change,) = typo["fixes"][0]["artifactChanges"][0]["replacements"]
    assert change["insertedContent"] == {"text": "learning_rate"}
    lines = Path("sft.yml").read_text(encoding="utf-8").splitlines()
    region = change["deletedRegion"]
    assert region["startLine"] == region["endLine"] == 18
    assert lines[17][region["startColumn"] - 1 : region["endColumn"] - 1] == "learning_rat"
    assert "fixes" not in by_rule["missing-file"]


def test_sarif_names_files_by_uris(good_chain):
    text = Path("sft.yml").read_text(encoding="utf-8").replace("learning_rate", "learning_rat")
    files = [Path("mein rezept ü.yml"), Path("there.yml").absolute()]
    for file in files:
        file.write_text(text, encoding="utf-8")
    command = ["check", "--quick", "--format", "sarif", *map(str, files)]
    (run,) = json.loads(CliRunner().invoke(cli, command).stdout)["runs"]
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    uris = {place["artifactLocation"]["uri"] for place in places}
    assert uris == {"mein%20rezept%20%C3%BC.yml", files[1].as_uri()}


def test_the_chain_file_says_what_is_wrong_in_set(good_chain):
    spoil("chain.yml", "from: cpt}", "from: cpt, set: {learning_rat: 1, warmup_ratio: 3}}")
    found = {(f.file, f.line, f.path): f.message for f in _found("chain.yml")}
    assert set(found) == {
        ("chain.yml", 7, "stages.sft.set.learning_rat"),
        ("chain.yml", 7, "stages.sft.set.warmup_ratio"),
    }


def test_what_a_misspelt_name_can_only_mean():
    known = ["adamw_4bit", "adamw_8bit", "cosine", "constant"]
    assert finding.unambiguous_match("adamw_bit", known) is None
    assert finding.unambiguous_match("adamw-8bit", known) == "adamw_8bit"
    assert finding.unambiguous_match("cosin", known) == "cosine"
    assert finding.unambiguous_match("linear", known) is None


def test_the_hooks_for_pre_commit_are_commands_that_exist():
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks] == ["solar-check", "solar-check-fix", "solar-check-full"]
    options = {name for parameter in check_command.params for name in parameter.opts}
    for hook in hooks:
        program, command, *flags = hook["entry"].split()
        assert (program, command) == ("solar", "check")
        assert set(flags) <= options
        # Axolotl's validators are not among what the package itself installs.
        assert ("--quick" in flags) == ("additional_dependencies" not in hook)
        assert {"name", "description", "language", "types"} <= set(hook)
