"""Chains: the file itself, its stages' files, and how the stages fit each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from good_files import FILES, spoil

from solar_plugins.check import check_files
from solar_plugins.cli import cli

CHAIN = {
    "unknown stage": (
        "chain.yml", "from: cpt", "from: ctp",
        "chain.yml:7:25: stages.sft.from: no stage 'ctp'. Did you mean 'cpt'? "
        "Stages: dus, cpt, sft, dpo, mix, h6, base_model.",
    ),
    "misspelt kind": (
        "chain.yml", "{train: dpo.yml", "{trian: dpo.yml",
        "chain.yml:8:9: stages.dpo.trian: unknown key. Did you mean 'train'? "
        "A stage has one of train, merge, evaluate, data, and from, after, set.",
    ),
    "missing stage file": (
        "chain.yml", "{train: dpo.yml", "{train: dpos.yml",
        "chain.yml:8:9: stages.dpo.train: dpos.yml: no such file. "
        "Paths count from the chain file's folder.",
    ),
    "cycle": (
        "chain.yml", "{train: cpt.yml}", "{train: cpt.yml, from: dpo}",
        "chain.yml:4:1: stages: cpt -> sft -> dpo -> cpt is a circle, none of them can be first. "
        "Take one of these from: or after: out.",
    ),
    "one model for two": (
        "chain.yml", "from: [sft, dpo]", "from: [sft]",
        "chain.yml:9:25: stages.mix.from: 1 model for 2 in mix.yml (./outputs/small/sft, "
        "./outputs/small/dpo). Name one stage for each, in this order.",
    ),
    "path that no stage makes": (
        "sft.yml", "base_model: ./outputs/small/cpt", "base_model: ./outputs/small/cpts",
        "sft.yml:1:1: base_model: no stage of the chain makes ./outputs/small/cpts. "
        "Did you mean 'cpt'? Stages: dus, cpt, sft, dpo, mix, h6.",
    ),
    "data of a stage that may run later": (
        "sft.yml", "path: rows.jsonl", "path: ./outputs/small/dpo/rows.jsonl",
        "sft.yml:11:5: datasets[1].path: ./outputs/small/dpo/rows.jsonl is made by the "
        "stage 'dpo', "
        "which may run later. Write `after: dpo` at this stage of the chain.",
    ),
    "more layers removed than there are": (
        "cpt.yml", "remove_layers: 8", "remove_layers: 16",
        "cpt.yml:5:3: depth_up_scaling.remove_layers: 16 of 32 layers leaves 32, no deeper "
        "than the "
        "base. Choose 1 to 15; SOLAR 10.7B uses 8 (48 layers).",
    ),
    "layers past the end of what a stage before makes": (
        "mix.yml", "models:\n  - model: ./outputs/small/sft\n  - model: ./outputs/small/dpo\n",
        "slices:\n  - sources:\n      - {model: ./outputs/small/sft, layer_range: [0, 49]}\n"
        "      - {model: ./outputs/small/dpo, layer_range: [0, 49]}\n",
        "mix.yml:5:38: slices[0].sources[0].layer_range: [0, 49] reaches past the end of "
        "./outputs/small/sft, which has 48 layers. Write at most 48.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", CHAIN)
def test_a_mistake_in_a_chain(good_chain, mistake):
    file, old, new, text = CHAIN[mistake]
    spoil(file, old, new)
    found = [finding.text for finding in check_files(["chain.yml"], with_axolotl=False)]
    assert text in found


def test_a_chain_that_does_not_load_still_has_its_stages_checked(good_chain):
    spoil("chain.yml", "from: cpt", "from: ctp")
    spoil("cpt.yml", "learning_rate", "learning_rat")
    found = {(f.file, f.path) for f in check_files(["chain.yml"], with_axolotl=False)}
    assert found == {("chain.yml", "stages.sft.from"), ("cpt.yml", "learning_rat")}


def test_a_file_that_two_stages_run_is_told_once(good_chain):
    spoil("chain.yml", "  dpo:", "  again: {train: sft.yml, from: cpt}\n  dpo:")
    spoil("sft.yml", "learning_rate", "learning_rat")
    found = list(check_files(["chain.yml", "sft.yml"], with_axolotl=False))
    assert [f.path for f in found] == ["learning_rat"]


def test_a_recipe_alone_knows_its_chain(good_chain):
    """`base_model: ./outputs/small/cpt` is not there yet; the chain beside the recipe makes it."""
    assert list(check_files(["sft.yml", "mix.yml"], with_axolotl=False)) == []
    Path("chain.yml").unlink()
    Path("cpt.yml").unlink()
    found = [f.path for f in check_files(["sft.yml", "mix.yml"], with_axolotl=False)]
    assert "base_model" in found


def test_the_command(good_chain):
    good = CliRunner().invoke(cli, ["check", "--quick", "chain.yml"])
    assert (good.exit_code, good.stdout) == (0, "")
    spoil("mix.yml", "t: 0.5", "t: 2")
    bad = CliRunner().invoke(cli, ["check", "--quick", "chain.yml"])
    assert bad.exit_code == 1
    assert bad.stdout == "mix.yml:7:3: parameters.t: 2 found, t of slerp runs from 0 to 1.\n"
    as_json = CliRunner().invoke(cli, ["check", "--quick", "--json", "chain.yml"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout) == [
        {
            "file": "mix.yml",
            "line": 7,
            "path": "parameters.t",
            "message": "2 found, t of slerp runs from 0 to 1.",
            "kind": "wrong-value",
            "is_note": False,
            "column": 3,
            "fix": None,
        }
    ]
    assert CliRunner().invoke(cli, ["check"]).exit_code == 2


def test_a_folder_is_walked(good_chain):
    for name, text in {
        "below/typo.yml": FILES["sft.yml"].replace("learning_rate:", "learning_rat:"),
        "below/broken.yaml": "base_model: [\n",
        "below/task.yaml": "task: mine\ndoc_to_text: !function mine.text\n",
        "compose.yml": "services: {}\n",
        ".github/ci.yml": "base_modl: x\n",
    }.items():
        (good_chain / name).parent.mkdir(exist_ok=True)
        (good_chain / name).write_text(text)
    run = CliRunner().invoke(cli, ["check", "--quick", "."])
    assert run.exit_code == 1
    assert {line.partition(":")[0] for line in run.stdout.splitlines()} == {
        "below/typo.yml",
        "below/broken.yaml",
    }
    nothing = CliRunner().invoke(cli, ["check", "--quick", ".github"])
    assert nothing.exit_code == 1
    assert nothing.output.splitlines()[-1] == (
        "Error: .github: no chain, recipe, merge config or lm-eval config is below it."
    )


TOKENS = 'tokens: ["<|im_start|>"]\n'


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, 0),
        ({"dpo.yml": FILES["dpo.yml"] + TOKENS}, 1),
        ({"sft.yml": FILES["sft.yml"] + TOKENS}, 0),  # which dpo starts from
        (
            {
                "dpo.yml": FILES["dpo.yml"] + TOKENS,
                "mix.yml": FILES["mix.yml"] + "tokenizer_source: union\n",
            },
            0,
        ),
        ({"dpo.yml": FILES["dpo.yml"] + 'special_tokens: {pad_token: "<|pad|>"}\n'}, 0),
    ],
)
def test_trainings_that_add_other_tokens_are_not_merged(good_chain, changed, found, says):
    for name, text in changed.items():
        (good_chain / name).write_text(text)
    told = [f for f in check_files(["chain.yml"], with_axolotl=False) if f.kind == "tokenizer"]
    assert len(told) == found
    for finding in told:
        assert (finding.file, finding.path) == ("chain.yml", "stages.mix.from")
        says(finding.message)
