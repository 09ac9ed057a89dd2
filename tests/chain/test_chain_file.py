"""The chain file: order, paths, and one line for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from solar_plugins.chain.chain_file import load_chain
from solar_plugins.chain.resolve import merge_models, resolve
from solar_plugins.errors import SolarError

HEAD = "name: small\nbase_model: some/base\noutput_dir: ./outputs/small\nstages:\n"
GOOD = (
    HEAD
    + """\
  mix: {merge: mix.yml, from: [b, a]}
  a: {train: a.yml}
  b: {train: a.yml, from: a, after: world}
  world: {data: a.yml}
  h6: {evaluate: a.yml, from: [mix, base_model]}
"""
)


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yml").write_text(
        "base_model: x\nlearning_rate: 1e-5\nnested: {key: 1}\n"
        "datasets: [{path: ./outputs/small/world/t.jsonl}, {path: data/t.jsonl}]\n"
    )
    Path("mix.yml").write_text(
        "slices:\n- sources: [{model: ONE, layer_range: [0, 2]}]\n"
        "- sources: [{model: TWO, layer_range: [0, 2]}]\n"
        "merge_method: passthrough\nbase_model: ONE\ntokenizer_source: TWO\n"
    )

    def write_chain(text: str) -> str:
        Path("chain.yml").write_text(text)
        return "chain.yml"

    return write_chain


def test_order_follows_from_and_after_and_else_the_file(write):
    chain = load_chain(write(GOOD))
    assert [stage.name for stage in chain.order()] == ["a", "world", "b", "mix", "h6"]
    assert [stage.name for stage in chain.order(until="b")] == ["a", "world", "b"]
    assert chain.stages["a"].from_ == ("base_model",), "no from: the base model goes in"
    assert chain.model_path("base_model") == "some/base"
    assert chain.model_path("a") == "outputs/small/a"


def test_resolve_fills_in_models_and_moves_paths_along(write):
    settings = {"output_dir": "/big/run", "b.learning_rate": 2e-5, "b.nested.key": 3, "seed": 7}
    chain = load_chain(write(GOOD), base_model="other/base", overrides=settings)
    a, b = (resolve(chain, chain.stages[name]) for name in "ab")
    assert (a["base_model"], b["base_model"]) == ("other/base", "/big/run/a")
    assert (a["learning_rate"], b["learning_rate"]) == ("1e-5", 2e-5)
    assert (b["nested"], b["seed"], b["output_dir"]) == ({"key": 3}, 7, "/big/run/b")
    assert [entry["path"] for entry in b["datasets"]] == ["/big/run/world/t.jsonl", "data/t.jsonl"]
    assert b["plugins"] == ["solar_plugins.StagePlugin"]


def test_a_stage_may_change_keys_of_its_file(write):
    text = HEAD + "  a: {train: a.yml, set: {learning_rate: 2.0e-5, nested.key: 3}}\n"
    written = load_chain(write(text))
    recipe = resolve(written, written.stages["a"])
    assert (recipe["learning_rate"], recipe["nested"]) == (2e-5, {"key": 3})
    asked = load_chain(write(text), overrides={"a.nested.key": 4})
    recipe = resolve(asked, asked.stages["a"])
    assert (recipe["learning_rate"], recipe["nested"]) == (2e-5, {"key": 4})


def test_the_kth_model_of_a_merge_is_the_kth_of_from(write):
    chain = load_chain(write(GOOD))
    config = resolve(chain, chain.stages["mix"])
    assert merge_models(config) == ["outputs/small/b", "outputs/small/a"]
    assert config["base_model"] == "outputs/small/b"
    assert config["tokenizer_source"] == "outputs/small/a"


def test_an_adapter_of_a_merge_is_a_model_of_from(write):
    Path("mix.yml").write_text(
        "merge_method: linear\nmodels:\n- {model: ONE}\n- {model: ONE+TWO}\n"
        "- model: {model: {path: ONE}, lora: {path: TWO}}\n"
    )
    chain = load_chain(write(GOOD))
    config = resolve(chain, chain.stages["mix"])
    one, two = "outputs/small/b", "outputs/small/a"
    assert merge_models(config) == [one, two]
    assert [entry["model"] for entry in config["models"]] == [
        one,
        f"{one}+{two}",
        {"model": {"path": one}, "lora": {"path": two}},
    ]


@pytest.mark.parametrize(
    ("deep", "ranges"),
    [
        (32, [[0, 24], [8, 32]]),  # as written
        (36, [[0, 27], [9, 36]]),  # a quarter, as written
        (6, [[0, 5], [1, 6]]),
        (2, None),  # nothing can be left out of two layers at a seam
    ],
)
def test_an_up_scaling_follows_the_depth_of_the_base(write, deep, ranges):
    Path("up.yml").write_text(
        "slices:\n- sources: [{model: ONE, layer_range: [0, 24]}]\n"
        "- sources: [{model: ONE, layer_range: [8, 32]}]\nmerge_method: passthrough\n"
    )
    Path("base").mkdir()
    Path("base/config.json").write_text(f'{{"num_hidden_layers": {deep}}}')
    chain = load_chain(write(HEAD + "  up: {merge: up.yml}\n"), base_model="./base")
    if ranges is None:
        with pytest.raises(SolarError, match="2 layers"):
            resolve(chain, chain.stages["up"])
        return
    slices = resolve(chain, chain.stages["up"])["slices"]
    assert [slice_["sources"][0]["layer_range"] for slice_ in slices] == ranges


def test_other_stacks_stay_as_they_are_written(write):
    Path("base").mkdir()
    Path("base/config.json").write_text('{"num_hidden_layers": 6}')
    chain = load_chain(
        write(HEAD + "  mix: {merge: mix.yml, from: [base_model, base_model]}\n"), "./base"
    )
    slices = resolve(chain, chain.stages["mix"])["slices"]
    assert [slice_["sources"][0]["layer_range"] for slice_ in slices] == [[0, 2], [0, 2]]


def test_another_base_gets_a_folder_of_its_own(write):
    chain = load_chain(write(GOOD), base_model="Other/Base-8B")
    assert chain.model_path("a") == "outputs/small-base-8b/a"
    recipe = resolve(chain, chain.stages["a"])
    assert recipe["datasets"][0]["path"] == "outputs/small-base-8b/world/t.jsonl"
    same = load_chain(write(GOOD), base_model="some/base")
    assert same.model_path("a") == "outputs/small/a"


def test_base_model_made_by_a_stage_moves_along(write):
    text = GOOD.replace("some/base", "./outputs/small/world/init")
    assert load_chain(write(text), overrides={"output_dir": "x"}).base_model == "x/world/init"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            HEAD + "  a: {train: a.yml, from: c}\n  b: {train: a.yml, from: a}\n"
            "  c: {merge: mix.yml, from: b}\n",
            "chain.yml: stages: a -> b -> c -> a is a circle, none of them can be first. "
            "Take one of these from: or after: out.",
        ),
        (
            HEAD + "  cpt: {train: a.yml}\n  sft: {train: a.yml, from: ctp}\n",
            "chain.yml: stages.sft.from: no stage 'ctp'. Did you mean 'cpt'? "
            "Stages: cpt, sft, base_model.",
        ),
        (
            HEAD + "  cpt: {train: b.yml}\n",
            "chain.yml: stages.cpt.train: no such file: b.yml. Did you mean 'a.yml'? "
            "The path counts from the chain file's folder.",
        ),
        (
            HEAD + "  cpt: {train: a.yml, merge: a.yml}\n",
            "chain.yml: stages.cpt: train and merge found. "
            "Exactly one of train, merge, evaluate, data.",
        ),
        (
            HEAD + "  cpt: {trian: a.yml}\n",
            "chain.yml: stages.cpt.trian: unknown key. Did you mean 'train'? "
            "A stage has one of train, merge, evaluate, data, and from, after, set.",
        ),
        (
            HEAD + "  cpt: {train: a.yml, set: [learning_rate]}\n",
            "chain.yml: stages.cpt.set: ['learning_rate'] found. Write {KEY: VALUE} of a.yml.",
        ),
        (
            "sed: 3\n" + HEAD + "  cpt: {train: a.yml}\n",
            "chain.yml: sed: unknown key. Did you mean 'seed'? "
            "A chain has name, base_model, output_dir, stages, data, revisions, seed, "
            "remove_checkpoints.",
        ),
        (
            "remove_checkpoints: yes please\n" + HEAD + "  cpt: {train: a.yml}\n",
            "chain.yml: remove_checkpoints: 'yes please' found. Write true or false.",
        ),
        (
            "data: [a.jsonl]\n" + HEAD + "  cpt: {train: a.yml}\n",
            "chain.yml: data: ['a.jsonl'] found. Write {DATA SET: FILE OR FOLDER}.",
        ),
        (
            HEAD + "  cpt: {train: a.yml}\n  cpt: {train: a.yml}\n",
            "chain.yml:6: not readable as YAML: the key 'cpt' is given twice, first on line 5.",
        ),
        (
            HEAD + "  cpt: {train: a.yml\n  sft: [",
            "chain.yml:6: not readable as YAML: expected ',' or '}', but got ':'.",
        ),
        (
            HEAD + "  cpt: {train: a.yml, set: {until: 2001-99-99}}\n",
            "chain.yml:5: not readable as YAML: '2001-99-99' looks like a date or a number, and is "
            "none. Put it in quotes.",
        ),
        (HEAD, "chain.yml: stages: no stage found. Write NAME: {train: FILE} below it."),
        ("", "chain.yml: holds nothing. A mapping of keys to values is needed."),
        (
            HEAD + "  a: {train: a.yml}\n  b: {train: a.yml, from: [a, base_model]}\n",
            "chain.yml: stages.b.from: 2 models found. Training starts from one; merge them first.",
        ),
    ],
)
def test_every_mistake_is_one_line(write, text, line):
    with pytest.raises(SolarError) as error:
        load_chain(write(text))
    assert str(error.value) == line


def test_wrong_settings_are_one_line(write):
    path = write(GOOD)
    with pytest.raises(SolarError, match=r"^--set ouput_dir: not a key of a chain. Did you mean"):
        load_chain(path, overrides={"ouput_dir": "x"})
    with pytest.raises(SolarError, match=r"^--set sft.seed: chain.yml has no stage 'sft'"):
        load_chain(path, overrides={"sft.seed": 1})
    with pytest.raises(SolarError, match=r"^--until: chain.yml has no stage 'bb'. Did you mean"):
        load_chain(path).order(until="bb")
    with pytest.raises(SolarError, match=r"^no.yml: no such file.$"):
        load_chain("no.yml")
    chain = load_chain(write(GOOD.replace("[b, a]", "b")))
    with pytest.raises(SolarError, match=r"2 models found \(ONE, TWO\), but stages.mix.from has 1"):
        resolve(chain, chain.stages["mix"])


def test_data_of_the_chain_and_of_the_command_line_are_read_by_every_stage(write):
    text = "data: {data/t.jsonl: ./mine.jsonl, held_out_text: ./articles.txt}\n" + GOOD
    chain = load_chain(write(text), overrides={"data.data/t.jsonl": "./other.jsonl"})
    a, h6 = (resolve(chain, chain.stages[name]) for name in ("a", "h6"))
    assert [entry["path"] for entry in a["datasets"]] == [
        "./outputs/small/world/t.jsonl",
        "./other.jsonl",
    ]
    assert h6["metadata"] == {
        "data": {"data/t.jsonl": "./other.jsonl", "held_out_text": "./articles.txt"}
    }
