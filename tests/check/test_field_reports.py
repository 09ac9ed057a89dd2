"""What users reported: one bad file hides no other, and a fix never makes a file worse."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from solar_plugins.check import check_files, recipe
from solar_plugins.cli import cli

RECIPE = """\
base_model: org/model
datasets: [{path: org/data, type: completion}]
sequence_len: 128
micro_batch_size: 1
learning_rate: 1.0e-4
output_dir: ./out
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def written(text: str, name: str = "a.yml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return written


def _quick(*files: str) -> list[str]:
    return [finding.text for finding in check_files(files, with_axolotl=False)]


def test_a_validator_that_fails_is_a_finding_and_the_next_file_is_checked(write, monkeypatch):
    first = write(RECIPE, "first.yml")
    second = write(RECIPE.replace("learning_rate", "learning_rat"), "second.yml")
    check = recipe.check

    def fail(source, files, **kwargs):
        if source.name == first:
            raise NotImplementedError
        check(source, files, **kwargs)

    monkeypatch.setattr(recipe, "check", fail)
    assert _quick(first, second) == [
        "first.yml: a validator failed on it: NotImplementedError. Further faults of this file may "
        "not be listed.",
        "second.yml:5:1: learning_rat: unknown key, Axolotl would drop it in silence. Did you mean "
        "'learning_rate'?",
    ]


@pytest.mark.slow
def test_an_empty_base_model_is_one_line(write):
    file = write(RECIPE.replace("org/model", ""))
    assert [finding.text for finding in check_files([file])] == [
        "a.yml:1:1: base_model: empty. Axolotl needs a model to start from; write `base_model: "
        "mistralai/Mistral-7B-v0.1`, or a folder."
    ]


def test_the_rest_of_a_file_with_a_key_twice_is_checked(write):
    file = write(RECIPE + "sequence_len: 256\nlearning_rat: 1\n")
    first, second = _quick(file)
    assert first == (
        "a.yml:7: not readable as YAML: the key 'sequence_len' is given twice, first on line 3."
    )
    assert second.startswith("a.yml:8:1: learning_rat: unknown key, Axolotl would drop it")


def test_a_flag_that_is_off_is_taken_out(write):
    file = write(RECIPE + "flash_attention: false\n")
    assert _quick(file) == [
        "a.yml:7:1: flash_attention: deprecated in Axolotl. Take it out.",
    ]


@pytest.mark.parametrize(
    "pair",
    ["xformers_attention: true\nflash_attention: true\n", "wandb_run: a\nwandb_runid: b\n"],
)
def test_a_fix_writes_no_key_twice(write, pair):
    file = write(RECIPE + pair)
    CliRunner().invoke(cli, ["check", "--quick", "--fix", file])
    after = Path(file).read_text(encoding="utf-8").splitlines()
    keys = [line.partition(":")[0] for line in after]
    assert sorted(keys) == sorted(set(keys))
    assert not any("again" in text for text in _quick(file))


def test_a_fix_after_which_more_is_found_is_taken_back(write, monkeypatch):
    from solar_plugins.check import values

    file = write(RECIPE.replace("learning_rate:", "learning_rat:"))
    before = Path(file).read_text(encoding="utf-8")

    def worse(source):
        if "learning_rate" in source.content:
            source.add(("sequence_len",), "wrong-value", "one.")
            source.add(("micro_batch_size",), "wrong-value", "two.")

    monkeypatch.setattr(values, "check_effects", worse)
    result = CliRunner().invoke(cli, ["check", "--quick", "--fix", file])
    assert "0 files changed" in result.stderr
    assert Path(file).read_text(encoding="utf-8") == before
