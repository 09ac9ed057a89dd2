"""What users reported: one bad file hides no other, and a fix never makes a file worse."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from solar_plugins.check import check_files, values
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
    check = values.check_ranges

    def fail(source):
        if source.name == first:
            raise NotImplementedError
        check(source)

    monkeypatch.setattr(values, "check_ranges", fail)
    Path(first).write_text(RECIPE.replace("sequence_len", "sequence_leng"), encoding="utf-8")
    assert _quick(first, second) == [
        "first.yml: a validator failed on it: NotImplementedError. Further faults of this file may "
        "not be listed.",
        "first.yml:3:1: sequence_leng: unknown key, Axolotl would drop it in silence. Did you mean "
        "'sequence_len'?",
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


def test_a_fix_that_adds_a_finding_is_left_out_and_the_others_are_not(write):
    spoilt = RECIPE.replace("learning_rate: 1.0e-4", "learning_rat: 50")  # a rate out of range
    file = write(spoilt.replace("type: completion", "type: complition"))
    result = CliRunner().invoke(cli, ["check", "--quick", "--fix", file])
    assert "1 file changed" in result.stderr
    assert Path(file).read_text(encoding="utf-8") == spoilt


def test_a_fix_that_changes_something_else_is_left_out(write):
    text = "x: &same {learning_rate: 1.0e-4}\n<<: *same\n" + RECIPE.replace("learning_rate", "y")
    file = write(f"{text}learning_rat: 2.0e-4\n")  # the merge key gives learning_rate already
    before = Path(file).read_text(encoding="utf-8")
    CliRunner().invoke(cli, ["check", "--quick", "--fix", file])
    assert Path(file).read_text(encoding="utf-8") == before


def test_two_fixes_write_no_key_twice(write):
    file = write(RECIPE.replace("learning_rate: 1.0e-4", "learning_rat: 1.0e-4\nlearning_rte: 1"))
    before = Path(file).read_text(encoding="utf-8")
    CliRunner().invoke(cli, ["check", "--quick", "--fix", file])
    assert Path(file).read_text(encoding="utf-8") == before


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("push_to_hub: true", "Take it out."),  # push_dataset_to_hub is another purpose
        ("warmup_step: ten", "Take it out."),  # a number is needed there
        ("warmup_step: 10", "Did you mean 'warmup_steps'?"),
        ("output_dirs: [a]", "Take it out."),
        ("save_step: 0.5", "Did you mean 'save_steps'?"),
        ("wandb_run: mine", "Take it out."),  # a name, and no id
        ("lr: 1e-4", "Did you mean 'learning_rate'?"),
    ],
)
def test_a_key_is_advised_that_takes_this_value_for_this_purpose(write, line, advice):
    file = write(RECIPE.replace("learning_rate: 1.0e-4", line))
    (text,) = (text for text in _quick(file) if f": {line.partition(':')[0]}: " in text)
    assert text.endswith(f"unknown key, Axolotl would drop it in silence. {advice}")


def test_fields_of_messages_are_named_in_the_data_under_rl(write):
    entry = "{path: org/data, type: chat_template.default, roles: {user: [human]}}"
    texts = _quick(
        write(RECIPE.replace("{path: org/data, type: completion}", entry) + "rl: dpo\n"),
        write(RECIPE.replace("{path: org/data, type: completion}", entry), "sft.yml"),
    )
    assert [text.partition(" ")[2] for text in texts if "roles" in text] == [
        "datasets[0].roles: unknown key, Axolotl would drop it in silence. Take it out, and call "
        "the fields of the data role and content: `rl` reads no others."
    ]


@pytest.mark.parametrize("value", ["", "[]"])
def test_datasets_without_a_value(write, value):
    file = write(RECIPE.replace("[{path: org/data, type: completion}]", value))
    assert [text.partition(" ")[2] for text in _quick(file)] == [
        "datasets: empty. Write `- path: …` and `type: …` below it."
    ]


WARNING = "`sample_packing` without an attention backend does not handle cross-sample"

# what is added to the recipe, the options, and what must be said
OF_AXOLOTL = {
    "a warning reaches the reader": (
        "sample_packing: true\n", None, f"a.yml: note: Axolotl warns: {WARNING}",
    ),
    "several streams that are packed": (
        "sample_packing: true\nstreaming: true\nmax_steps: 1\nattn_implementation: sdpa\n", None,
        "a.yml: refused by Axolotl: Sample packing with multiple streaming datasets",
    ),
    "a wrong type behind a refusal": (
        "load_in_4bit: true\nnum_epochs: [3]\n", None,
        "a.yml:8:1: num_epochs: [3] found, input should be a valid number.",
    ),
    "a key without a value": (
        "learning_rate:\n", None,
        "a.yml:6:1: learning_rate: empty. Axolotl needs it.",
    ),
    "the number of GPUs": (
        "rl: dpo\nadapter: qlora\nload_in_4bit: true\nlora_r: 8\nlora_alpha: 8\n"
        "lora_target_linear: true\ngradient_checkpointing: true\n"
        "gradient_checkpointing_kwargs: {use_reentrant: true}\n", 2,
        "a.yml: refused by Axolotl: The `use_reentrant: True` implementation",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", OF_AXOLOTL)
def test_what_axolotl_says_reaches_the_reader(write, case):
    added, gpus, wanted = OF_AXOLOTL[case]
    text = RECIPE.replace("learning_rate: 1.0e-4\n", "") if "learning" in added else RECIPE
    entry = "{path: org/data, type: completion}"
    if "streaming" in added:
        text = text.replace(entry, f"{entry}, {entry}")
    if gpus:
        text = text.replace("completion", "chatml.intel")
    file = write(text + added)
    found = [finding.text for finding in check_files([file], gpus=gpus)]
    assert any(text.startswith(wanted) for text in found), found
    if gpus:
        assert not any("use_reentrant" in finding.text for finding in check_files([file], gpus=1))
