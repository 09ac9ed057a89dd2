"""``extends:``, `solar show` and `solar diff`: what a short file stands for, and what differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from solar_plugins import shipped
from solar_plugins.chain.chain_file import load_chain
from solar_plugins.chain.resolve import resolve
from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.recipes import extends

MINE = """\
extends: solar
name: mine
output_dir: ./outputs/mine
stages:
  cpt: {set: {max_steps: 20}}
  sft_v4: {train: my_sft.yml}
  h6: null
"""
MY_SFT = """\
extends: sft_v4
learning_rate: 1.0e-5
warmup_ratio: null
gradient_checkpointing_kwargs: {use_reentrant: true}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.yml").write_text(MINE)
    (tmp_path / "my_sft.yml").write_text(MY_SFT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def solar(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    return result.exit_code, result.output


def shipped_recipe(name: str) -> dict:
    return yaml.safe_load((shipped.root() / "recipes" / f"{name}.yml").read_text())


def test_a_recipe_has_what_it_extends_but_for_its_changes(folder: Path):
    made, base = extends.read_mapping("my_sft.yml"), shipped_recipe("sft_v4")
    assert made["learning_rate"] == 1.0e-5
    assert made["gradient_checkpointing_kwargs"] == {"use_reentrant": True}
    assert "warmup_ratio" not in made
    assert "extends" not in made
    changed = {"learning_rate", "warmup_ratio", "gradient_checkpointing_kwargs"}
    paths = {"deepspeed", "chat_template_jinja"}
    for key in set(base) - changed - paths:
        assert made[key] == base[key]
    for key in paths:  # they count from the repository's root, which is not here
        assert made[key] == str(shipped.root() / base[key])
        assert Path(made[key]).is_file()


def test_a_chain_has_what_it_extends_but_for_its_changes(folder: Path):
    chain = load_chain("mine.yml")
    assert list(chain.stages) == [
        *("flan_index", "synth_math", "cpt", "sft_v3", "sft_v4", "sft_v3_v4"),
        *("cand_1", "cand_2", "instruct"),
    ]
    assert chain.base_model == "mistralai/Mistral-7B-v0.1"
    assert chain.stages["sft_v4"].file == Path("my_sft.yml")
    assert chain.stages["sft_v3"].file.samefile(shipped.root() / "recipes/sft_v3.yml")
    assert resolve(chain, chain.stages["cpt"])["max_steps"] == 20
    merge = resolve(chain, chain.stages["instruct"])
    assert [model["model"] for model in merge["models"]] == [
        "outputs/mine/cand_1",
        "outputs/mine/cand_2",
    ]


def test_null_in_a_set_takes_the_key_out_of_the_stages_file(folder: Path):
    """Whether the chain below has a `set` for that stage or none."""
    (folder / "shorter.yml").write_text(
        "extends: ./mine.yml\n"
        "stages:\n  cpt: {set: {deepspeed: null}}\n  sft_v3: {set: {deepspeed: null}}\n"
    )
    chain = load_chain("shorter.yml")
    for name in ("cpt", "sft_v3"):
        assert not resolve(chain, chain.stages[name]).get("deepspeed")
    assert resolve(chain, chain.stages["cpt"])["max_steps"] == 20
    assert resolve(chain, chain.stages["cand_1"])["deepspeed"]


def test_paths_below_the_extended_chains_folder_move_along(folder: Path):
    (folder / "tiny.yml").write_text("extends: tiny/solar\nname: t\noutput_dir: ./elsewhere\n")
    chain = load_chain("tiny.yml")
    recipe = resolve(chain, chain.stages["base"])
    assert chain.base_model == "elsewhere/world/init"
    assert recipe["datasets"][0]["path"] == "elsewhere/world/pretrain.jsonl"


def test_a_stage_may_be_run_by_another_tool(folder: Path):
    (folder / "mix.yml").write_text("merge_method: linear\nmodels: []\n")
    text = MINE.replace("{train: my_sft.yml}", "{merge: mix.yml, from: [cpt, sft_v3]}")
    (folder / "mine.yml").write_text(text)
    assert load_chain("mine.yml").stages["sft_v4"].kind == "merge"


def test_files_of_ones_own_are_named_with_their_ending(folder: Path):
    (folder / "deep").mkdir()
    (folder / "deep/third.yml").write_text("extends: ../my_sft.yml\nnum_epochs: 7\n")
    made = extends.read_mapping("deep/third.yml")
    assert (made["num_epochs"], made["learning_rate"]) == (7, 1.0e-5)


def test_a_projects_own_copy_goes_before_the_shipped_one(folder: Path, monkeypatch):
    assert solar("new", "project")[0] == 0
    own = folder / "project/recipes/sft_v4.yml"
    own.write_text(own.read_text().replace("num_epochs: 3", "num_epochs: 4"))
    (folder / "project/mine.yml").write_text(MINE)
    (folder / "project/my_sft.yml").write_text(MY_SFT)
    chain = load_chain("project/mine.yml")
    assert chain.stages["cpt"].file == Path("project/recipes/cpt.yml")
    assert resolve(chain, chain.stages["sft_v4"])["num_epochs"] == 4
    # A copy that was made short itself falls back to the shipped one, not to itself.
    own.write_text("extends: sft_v4\nnum_epochs: 5\n")
    chain = load_chain("project/mine.yml")
    assert resolve(chain, chain.stages["sft_v4"])["num_epochs"] == 5
    monkeypatch.chdir(folder / "project")
    status, text = solar("pack", "mine.yml", "--out", "../own.zip")
    assert status == 1
    assert "would be recipes/sft_v4.yml, as another file" in text
    Path("recipes/sft_v4.yml").rename("recipes/sft_4.yml")
    Path("my_sft.yml").write_text("extends: ./recipes/sft_4.yml\n")
    status, text = solar("pack", "mine.yml", "--out", "../own.zip")
    assert status == 0, text
    assert solar("diff", "mine.yml", "../own.zip")[0] == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("extends: soler\n", "x.yml: extends: 'soler': no shipped recipe has this name. Did you"),
        ("extends: ./no.yml\n", "x.yml: extends: './no.yml': no such file. The path counts from ."),
        ("extends: [solar]\n", "x.yml: extends: ['solar'] found. Write the name of a shipped"),
        ("extends: ../../etc/passwd\n", "x.yml: extends: '../../etc/passwd': no shipped recipe"),
        ("extends: /etc/passwd\n", "x.yml: extends: '/etc/passwd': no shipped recipe"),
        ("extends: x.yml\n", "x.yml: extends: the files extend each other in a circle."),
        ("extends: y.yml\n", "extends: the files extend each other in a circle."),
    ],
)
def test_what_cannot_be_extended_is_one_line(text: str, line: str, folder: Path):
    (folder / "x.yml").write_text(text)
    (folder / "y.yml").write_text("extends: x.yml\n")
    with pytest.raises(SolarError) as caught:
        extends.read_mapping("x.yml")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_show_prints_the_plain_file_that_is_run(folder: Path):
    status, text = solar("show", "my_sft.yml")
    assert status == 0
    assert yaml.safe_load(text) == extends.read_mapping("my_sft.yml")
    status, text = solar("show", "mine.yml", "sft_v4", "--base-model", "me/other")
    chain = load_chain("mine.yml", base_model="me/other")
    assert yaml.safe_load(text) == resolve(chain, chain.stages["sft_v4"])
    assert solar("show", "mine.yml", "sft_v5")[0] == 1
    assert "Did you mean 'sft_v4'?" in solar("show", "mine.yml", "sft_v5")[1]
    assert "not a chain" in solar("show", "my_sft.yml", "cpt")[1]


def test_the_plain_chain_runs_what_the_short_one_runs(folder: Path):
    """Also where a stage reads the output of another one, in the folder of the extended chain."""
    Path("plain.yml").write_text(solar("show", "mine.yml")[1])
    assert "extends" not in Path("plain.yml").read_text()
    short, plain = load_chain("mine.yml"), load_chain("plain.yml")
    assert plain.stages.keys() == short.stages.keys()
    for name, stage in short.stages.items():
        assert resolve(plain, plain.stages[name]) == resolve(short, stage)
    flan_filter = resolve(plain, plain.stages["sft_v3"])["flan_filter"]
    assert flan_filter["index"] == "outputs/mine/flan_index/flan.index"


def test_diff_names_what_differs_in_effect(folder: Path):
    solar_yml = str(shipped.root() / "recipes/solar.yml")
    status, text = solar("diff", solar_yml, "mine.yml")
    assert status == 1
    lines = text.splitlines()
    assert 'name: "solar-10.7b-instruct" -> "mine"' in lines
    assert "cpt.max_steps: 9500 -> 20" in lines
    assert "sft_v4.learning_rate: 2e-05 -> 1e-05" in lines
    assert "sft_v4.warmup_ratio: 0.1 -> (not set)" in lines
    assert any(line.startswith("h6: ") and line.endswith("(not set)") for line in lines)
    assert len(lines) == 6  # and use_reentrant: nothing else, though every path is another
    found = json.loads(solar("diff", solar_yml, "mine.yml", "--json")[1])
    assert {"where": "cpt.max_steps", "a": 9500, "b": 20} in found


def test_diff_does_not_count_what_is_only_written_otherwise(folder: Path):
    (folder / "one.yml").write_text(
        "# a comment\nlearning_rate: 1.0e-5\nnum_epochs: 3\noutput_dir: ./a\n"
        "datasets: [{path: x/y, type: alpaca}]\nval_set_size: null\ndeepspeed: one.json\n"
    )
    (folder / "one.json").write_text('{"bf16": {"enabled": true}, "steps_per_print": 1}')
    (folder / "other.yml").write_text(
        "datasets:\n  - type: alpaca\n    path: x/y\nnum_epochs: 3.0\nlearning_rate: 1e-5\n"
        "deepspeed: sub/other.json\noutput_dir: ./b\n"
    )
    (folder / "sub").mkdir()
    other = folder / "sub/other.json"
    other.write_text('{\n "steps_per_print": 1,\n "bf16": {"enabled": true}}')
    assert solar("diff", "one.yml", "other.yml") == (0, "no difference in effect\n")
    other.write_text('{"steps_per_print": 1, "bf16": {"enabled": false}}')
    assert solar("diff", "one.yml", "other.yml") == (1, "deepspeed.bf16.enabled: true -> false\n")


def test_diff_tells_datasets_by_their_path_and_minds_their_order(folder: Path):
    (folder / "one.yml").write_text("datasets: [{path: a, type: alpaca}, {path: b}]\n")
    (folder / "other.yml").write_text("datasets: [{path: b}, {path: a, type: x}]\n")
    status, text = solar("diff", "one.yml", "other.yml")
    assert status == 1
    assert text.splitlines() == [
        'datasets.a.type: "alpaca" -> "x"',
        'datasets (order): ["a", "b"] -> ["b", "a"]',
    ]


def test_a_pack_of_a_short_chain_holds_all_of_it(folder: Path, monkeypatch):
    assert solar("pack", "mine.yml", "--out", "a.zip")[0] == 0
    status, text = solar("unpack", "a.zip", "--to", "theirs")
    assert status == 0
    assert "downloads  model mistralai/Mistral-7B-v0.1" in text
    assert (folder / "theirs/mine.yml").read_text().startswith("extends: ./recipes/solar.yml\n")
    assert (folder / "theirs/recipes/deepspeed/zero3_bf16.json").is_file()
    assert solar("diff", "mine.yml", "theirs/mine.yml")[0] == 0
    assert solar("diff", "mine.yml", "a.zip")[0] == 0
    assert "cpt.max_steps" in solar("diff", "a.zip", str(shipped.root() / "recipes/solar.yml"))[1]
    # Also where nothing is shipped: the pack stands by itself.
    monkeypatch.setattr(shipped, "PACKAGE", folder / "nowhere")
    monkeypatch.chdir(folder / "theirs")
    assert load_chain("mine.yml").stages["sft_v3"].file == Path("recipes/sft_v3.yml")


def test_another_base_has_a_folder_of_its_own_as_with_the_option(tmp_path):
    (tmp_path / "cpt.yml").write_text("base_model: a/b\noutput_dir: ./outputs/x/cpt\n")
    stages = "stages: {cpt: {train: cpt.yml}}\n"
    chain = f"name: x\nbase_model: a/b\noutput_dir: ./outputs/x\n{stages}"
    (tmp_path / "chain.yml").write_text(chain)
    mine = tmp_path / "mine.yml"
    mine.write_text("extends: ./chain.yml\nbase_model: Qwen/Qwen3-8B-Base\n")
    by_line = load_chain(mine)
    by_option = load_chain(tmp_path / "chain.yml", base_model="Qwen/Qwen3-8B-Base")
    assert by_line.output_dir == by_option.output_dir == Path("outputs/x-qwen3-8b-base")
    for chain in (by_line, by_option):
        recipe = resolve(chain, chain.stages["cpt"])
        assert recipe["base_model"] == "Qwen/Qwen3-8B-Base"
        assert recipe["output_dir"] == "outputs/x-qwen3-8b-base/cpt"
    mine.write_text("extends: ./chain.yml\nbase_model: Qwen/Qwen3-8B-Base\noutput_dir: ./o\n")
    assert load_chain(mine).output_dir == Path("o")
    mine.write_text("extends: ./chain.yml\nbase_model: a/b\n")
    assert load_chain(mine).output_dir == Path("outputs/x")
