"""Merge configs as people publish them: what goes in, and what the merged model is run with."""

from __future__ import annotations

import json
from pathlib import Path

import planted_files
import pytest

from solar_plugins.check import check_files, fixes

LINEAR = """\
merge_method: linear
models:
  - {model: models/llama, parameters: {weight: 0.5}}
  - {model: models/tuned, parameters: {weight: 0.5}}
dtype: float32
"""
NAMED = LINEAR + "base_model: models/llama\n"
SLERP = """\
merge_method: slerp
base_model: models/llama
models: [{model: models/llama}, {model: models/tuned}]
parameters: {t: T}
dtype: float32
"""
STACK = """\
merge_method: passthrough
slices:
  - sources: [{model: models/llama, layer_range: [0, 3]MORE}]
  - sources: [{model: models/llama, layer_range: [1, 4]}]
dtype: float32
"""
ANCHORS = """\
one: &one models/llama
halve: &halve
  parameters: {scale: [{filter: q_proj, value: 0.5}, {value: 1.0}]}
merge_method: passthrough
slices:
  - sources: [{model: *one, layer_range: [0, 3]}]
  - sources:
      - model: *one
        layer_range: [1, 4]
        <<: *halve
dtype: float32
"""
COVERED = "[{filter: layers, value: 0.5}, {filter: norm, value: 1}, {filter: e, value: 0}]"


@pytest.fixture(autouse=True)
def _models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    planted_files.write(tmp_path)


def found(text: str) -> list[tuple[str, str, bool]]:
    Path("merge.yml").write_text(text, encoding="utf-8")
    return [(f.path, f.message, f.is_note) for f in check_files(["merge.yml"])]


def change(model: str, file: str, **values: object) -> None:
    path = Path("models", model, file)
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    "text",
    [
        LINEAR,
        NAMED,
        ANCHORS,
        SLERP.replace("T", COVERED),
        SLERP.replace("T", "[{filter: '*', value: 0.5}]"),
        # the file has a value for what the filters of a model let through
        LINEAR.replace("0.5}}", "[{filter: mlp, value: 1}]}}", 1) + "parameters: {weight: 1}\n",
        # a tokenizer from outside of the merge
        LINEAR + "tokenizer_source: models/chatml\n",
        LINEAR + "tokenizer_source: other/model\n",
        LINEAR + "tokenizer: {source: models/chatml}\n",
        STACK.replace("MORE", "") + "base_model: models/tuned\n",
    ],
)
def test_what_mergekit_takes_is_no_finding(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (
            LINEAR.replace("tuned", "../models/llama"),
            "models[1].model",
            "models/../models/llama is there already, and MergeKit takes a model once.",
        ),
        (
            SLERP.replace("T", "[{filter: self_attn, value: 0}, {filter: mlp, value: 1}]"),
            "parameters.t",
            "no filter matches model.layers.0.input_layernorm.weight, and slerp needs t for every "
            "tensor. Write `- value: 0.5` as the last entry.",
        ),
        (
            LINEAR.replace("0.5}}", "{filter: mlp, value: 1}}}", 1),
            "models[0].parameters.weight",
            "linear needs weight for every tensor.",
        ),
        (SLERP.replace("T", "much"), "parameters.t", "'much' found, a number is needed."),
        (SLERP.replace("T", "[0, half]"), "parameters.t[1]", "'half' found, a number is needed."),
        (SLERP.replace("T", "true"), "parameters.t", "True found, a number is needed."),
        (SLERP.replace("T", ".nan"), "parameters.t", "nan found, a number is needed."),
        (
            SLERP.replace("T", "[{filter: modelnorm, value: 1}, {value: 0.5}]"),
            "parameters.t[0].filter",
            "'modelnorm' is in the name of no tensor, so it filters nothing. Take it out.",
        ),
        (
            LINEAR + "base_model: models/tuned_more\n",
            "base_model",
            "models/tuned_more is none of the models. linear has no base: MergeKit would merge it "
            "as one more. Write one of the models, `base_model: models/llama`.",
        ),
        (
            STACK.replace("MORE", ", revision: v1"),
            "slices[0].sources[0].revision",
            "MergeKit reads the revision from the name. Write `model: NAME@REVISION`.",
        ),
        (
            LINEAR + "tokenizer_source: model:models/tuned\n",
            "tokenizer_source",
            "is the old form. Write `tokenizer_source: models/tuned`.",
        ),
        (LINEAR + "tokenizer: union\n", "tokenizer", "Write `tokenizer_source: union`."),
        (LINEAR + "tokenizer: {source: unoin}\n", "tokenizer.source", "Did you mean 'union'?"),
        (
            LINEAR + "tokenizer_source: ./models/tunde\n",
            "tokenizer_source",
            "One of union, base or a model of the merge is needed.",
        ),
        (LINEAR.replace("tuned", "a+b+c"), "models[1].model", "or MODEL+ADAPTER."),
        (LINEAR + "spare: &spare 1\n", "spare", "unknown key"),
    ],
)
def test_what_mergekit_refuses_late_or_drops_is_found(text, place, said):
    ((path, message, is_note),) = found(text)
    assert (path, is_note) == (place, False)
    assert said in message


def test_the_old_form_of_a_tokenizer_is_fixed():
    found(LINEAR + "tokenizer_source: model:models/tuned\n")
    fixes.fix_file("merge.yml", check_files(["merge.yml"]))
    assert found(Path("merge.yml").read_text()) == []


def test_a_filter_of_models_that_are_not_here_is_a_note():
    text = SLERP.replace("models/", "org/").replace(
        "T", "[{filter: modelnorm, value: 1}, {value: 0}]"
    )
    ((path, _, is_note),) = found(text)
    assert (path, is_note) == ("parameters.t[0].filter", True)


def test_an_adapter_after_its_model():
    Path("lora").mkdir()
    Path("lora/adapter_config.json").write_text("{}")
    assert found(LINEAR.replace("tuned,", "tuned+./lora,")) == []
    for name, said in (
        ("./lora", "./lora is a LoRA adapter. Write its model before it: `MODEL+./lora`."),
        ("models/tuned+models/llama", "after the + stands a LoRA adapter."),
        ("models/tuned+./none", "no such file: ./none (a model)."),
    ):
        ((path, message, _),) = found(LINEAR.replace("models/tuned", name))
        assert path == "models[1].model"
        assert said in message


def test_an_adapter_of_another_model(says):
    Path("lora").mkdir()
    name = {"base_model_name_or_path": "models/wide"}
    Path("lora/adapter_config.json").write_text(json.dumps(name))
    ((path, message, _),) = found(LINEAR.replace("tuned,", "tuned+lora,"))
    assert path == "models[1].model"
    says(message)
    name["base_model_name_or_path"] = "models/llama"
    Path("lora/adapter_config.json").write_text(json.dumps(name))
    assert found(LINEAR.replace("tuned,", "tuned+lora,")) == []


SETTINGS = [
    ({"rope_theta": 500000.0}, "rope_theta (500000.0 and 10000.0)"),
    (
        {"rope_parameters": {"rope_theta": 1e6, "rope_type": "yarn", "factor": 4.0}},
        "rope_theta (1000000.0 and 10000.0), rope_type (yarn and default).",
    ),
    ({"rms_norm_eps": 1e-5}, "rms_norm_eps (1e-05 and 1e-06)"),
    ({"sliding_window": 2048}, "sliding_window (2048 and 4096)"),
]


@pytest.mark.parametrize(("config", "said"), SETTINGS)
def test_models_that_are_run_differently_are_found(config, said):
    change("llama", "config.json", rms_norm_eps=1e-6, sliding_window=4096)
    change("tuned", "config.json", **config)
    ((path, message, is_note),) = found(LINEAR)
    assert (path, is_note) == ("models[1].model", False)
    assert message.startswith("models/tuned differs from models/llama in ")
    assert said in message
    assert message.endswith(
        "MergeKit takes those of either, by chance. Write `base_model: models/llama`, or the other."
    )
    ((_, message, is_note),) = found(NAMED)
    assert is_note
    assert message.endswith("The merge has those of models/llama.")


def test_one_setting_under_the_names_of_two_versions_is_no_difference():
    change("llama", "config.json", rope_theta=1e6, rope_scaling=None, torch_dtype="bfloat16")
    change("tuned", "config.json", rope_parameters={"rope_theta": 1e6, "rope_type": "default"})
    for model, number in (("llama", 0.0), ("tuned", 0.1)):
        change(model, "config.json", attention_dropout=number, _name_or_path=model)
    assert found(LINEAR) == []


def test_tokenizers_that_differ_are_found_unless_the_file_names_one():
    change("tuned", "tokenizer_config.json", eos_token="a", chat_template="{{ messages }}")
    ((_, message, _),) = found(LINEAR)
    assert "in eos_token (a and </s>), chat template." in message
    ((_, message, _),) = found(LINEAR + "chat_template: chatml\n")
    assert "chat template" not in message
    assert found(LINEAR + "tokenizer_source: models/tuned\n") == []


def test_a_method_that_a_base_changes_is_not_told_to_name_one():
    change("tuned", "config.json", rope_theta=5e5)
    ((_, message, _),) = found(LINEAR.replace("linear", "nuslerp"))
    assert message.endswith("by chance. `solar run` takes those of the first model.")
