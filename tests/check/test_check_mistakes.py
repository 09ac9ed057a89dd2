"""Planted mistakes: each is found, on its line, and said in one line that helps."""

from __future__ import annotations

from pathlib import Path

import pytest
from good_files import FILES, spoil

from solar_plugins.check import check_files, kind_of

_SFT = FILES["sft.yml"]
_DATASETS = _SFT[_SFT.index("\ndatasets:") + 1 : _SFT.index("sequence")]

# File, what to replace, by what, line, YAML path, kind; what is said is in errors.yml.
QUICK = {
    "dataset for datasets": (
        "sft.yml", "datasets:\n  - path: vic", "dataset:\n  - path: vic",
        7, "dataset", "unknown-key",
    ),
    "typo at the top": (
        "sft.yml", "learning_rate", "learning_rat",
        18, "learning_rat", "unknown-key",
    ),
    "typo in a dataset": (
        "sft.yml", "split: train", "splt: train",
        9, "datasets[0].splt", "unknown-key",
    ),
    "typo in a dataset of a step": (
        "dpo.yml", "split: train_prefs", "splits: train_prefs",
        12, "sdpo.steps[1].datasets[0].splits", "unknown-key",
    ),
    "key that preference data drop": (
        "dpo.yml", "split: train_prefs", "shards: 4",
        12, "sdpo.steps[1].datasets[0].shards", "unknown-key",
    ),
    "typo in our block": (
        "cpt.yml", "remove_layers", "remove_layer",
        5, "depth_up_scaling.remove_layer", "unknown-key",
    ),
    "typo in a step": (
        "dpo.yml", "datasets:\n        - path: allen", "dataset:\n        - path: allen",
        9, "sdpo.steps[1].dataset", "unknown-key",
    ),
    "block two spaces out": (
        "cpt.yml", "  remove_layers: 8", "remove_layers: 8",
        5, "remove_layers", "unknown-key",
    ),
    "block without its plugin": (
        "cpt.yml", "plugins:\n  - solar_plugins.DepthUpScalingPlugin\n", "",
        2, "depth_up_scaling", "unknown-key",
    ),
    "deprecated attention flag": (
        "sft.yml", "attn_implementation: flash_attention_2", "flash_attention: true",
        21, "flash_attention", "deprecated-key",
    ),
    "deprecated beta": (
        "dpo.yml", "rl_beta: 0.1", "dpo_beta: 0.1",
        13, "dpo_beta", "deprecated-key",
    ),
    "missing data file": (
        "sft.yml", "path: rows.jsonl", "path: row.jsonl",
        11, "datasets[1].path", "missing-file",
    ),
    "missing deepspeed file": (
        "sft.yml", "zero3.json", "zero2.json",
        23, "deepspeed", "missing-file",
    ),
    "missing chat template": (
        "sft.yml", "num_epochs: 1", "chat_template_jinja: solar.jinja",
        16, "chat_template_jinja", "missing-file",
    ),
    "misspelt plugin of ours": (
        "cpt.yml", "DepthUpScalingPlugin", "DepthUpscalingPlugin",
        3, "plugins[0]", "plugin",
    ),
    "plugin of a package that is not installed": (
        "cpt.yml", "solar_plugins.DepthUpScalingPlugin", "solarplugins.DepthUpScalingPlugin",
        3, "plugins[0]", "plugin",
    ),
    "plugins as a text": (
        "cpt.yml", "plugins:\n  - solar_plugins", "plugins: solar_plugins",
        2, "plugins", "wrong-value",
    ),
    "datasets as a text": (
        "sft.yml", _DATASETS, "datasets: rows.jsonl\n",
        7, "datasets", "wrong-value",
    ),
    "dataset without a path": (
        "sft.yml", "path: rows.jsonl\n    type", "type",
        11, "datasets[1]", "missing-key",
    ),
    "unknown dataset type": (
        "sft.yml", "type: alpaca\n", "type: alpacca\n",
        10, "datasets[0].type", "wrong-value",
    ),
    "unknown preference type": (
        "dpo.yml", "chatml.intel", "chatml.intell",
        8, "sdpo.steps[0].datasets[0].type", "wrong-value",
    ),
    "unknown optimizer": (
        "sft.yml", "adamw_torch_fused", "adamw_torch_fuse",
        17, "optimizer", "wrong-value",
    ),
    "unknown scheduler": (
        "sft.yml", "cosine", "cosin",
        19, "lr_scheduler", "wrong-value",
    ),
    "number that YAML takes for a text": (
        "sft.yml", "lr_scheduler: cosine", "lr_scheduler_kwargs: {min_lr: 1e-6}",
        19, "lr_scheduler_kwargs.min_lr", "wrong-value",
    ),
    "filtered dataset that is not there": (
        "sft.yml", "datasets: [rows.jsonl]", "datasets: [row.jsonl]",
        6, "flan_filter.datasets[0]", "wrong-value",
    ),
    "no base model": (
        "sft.yml", "base_model: ./outputs/small/cpt\n", "",
        0, "base_model", "missing-key",
    ),
    "layers that are text": (
        "cpt.yml", "remove_layers: 8", "remove_layers: eight",
        5, "depth_up_scaling.remove_layers", "wrong-value",
    ),
    "sdpo without rl": (
        "dpo.yml", "rl: dpo\n", "",
        0, "rl", "wrong-value",
    ),
    "unknown merge key": (
        "mix.yml", "dtype", "dtypes",
        8, "dtypes", "unknown-key",
    ),
    "unknown merge method": (
        "mix.yml", "merge_method: slerp", "merge_method: slrp",
        1, "merge_method", "wrong-value",
    ),
    "parameter of another method": (
        "mix.yml", "  t: 0.5", "  weight: 0.5",
        7, "parameters.weight", "unknown-key",
    ),
    "t beyond 1": (
        "mix.yml", "t: 0.5", "t: 1.5",
        7, "parameters.t", "wrong-value",
    ),
    "no t": (
        "mix.yml", "parameters:\n  t: 0.5\n", "",
        0, "parameters.t", "missing-key",
    ),
    "slerp of three": (
        "mix.yml", "dpo\n", "dpo\n  - model: org/third\n",
        3, "models", "wrong-value",
    ),
    "slerp without a base": (
        "mix.yml", "base_model: ./outputs/small/sft\n", "",
        0, "base_model", "missing-key",
    ),
    "backward layers": (
        "dus.yml", "[8, 32]", "[32, 8]",
        8, "slices[1].sources[0].layer_range", "layer-range",
    ),
    "no layers": (
        "dus.yml", "[8, 32]", "[8, 8]",
        8, "slices[1].sources[0].layer_range", "layer-range",
    ),
    "layers past the end": (
        "dus.yml", "[8, 32]", "[8, 40]",
        8, "slices[1].sources[0].layer_range", "layer-range",
    ),
    "one layer number": (
        "dus.yml", "[8, 32]", "8",
        8, "slices[1].sources[0].layer_range", "wrong-value",
    ),
    "unknown dtype": (
        "dus.yml", "bfloat16", "bf16",
        9, "dtype", "wrong-value",
    ),
    "misspelt task": (
        "h6.yml", "hellaswag", "helaswag",
        4, "tasks[1]", "wrong-value",
    ),
    "unknown key of lm-eval": (
        "h6.yml", "batch_size", "batchsize",
        5, "batchsize", "unknown-key",
    ),
    "tab in YAML": (
        "h6.yml", "  dtype", "\tdtype",
        3, "", "unreadable",
    ),
    "the same key twice": (
        "sft.yml", "num_epochs: 1", "sequence_len: 4096",
        16, "", "unreadable",
    ),
    "a list for a file": (
        "h6.yml", FILES["h6.yml"], "- a\n- b\n",
        0, "", "unreadable",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", QUICK)
def test_a_mistake_is_found_without_axolotl(good_chain, says, mistake):
    file, old, new, line, path, kind = QUICK[mistake]
    spoil(file, old, new)
    found = list(check_files([file], with_axolotl=False))
    assert [(f.file, f.line, f.path, f.kind) for f in found if f.path == path] == [
        (file, line, path, kind)
    ], [f.text for f in found]
    finding = next(f for f in found if f.path == path)
    says(finding.text)


def test_good_files_have_no_finding(good_chain):
    names = [name for name in FILES if name.endswith(".yml")]
    assert [f.text for f in check_files(names, with_axolotl=False)] == []


# What `solar check` prints, one text for each kind of finding.
TEXTS = {
    "unknown-key": (
        "sft.yml", "learning_rate", "learning_rat",
    ),
    "deprecated-key": (
        "sft.yml", "attn_implementation: flash_attention_2", "flash_attention: true",
    ),
    "wrong-value": (
        "mix.yml", "t: 0.5", "t: 2",
    ),
    "missing-key": (
        "sft.yml", "base_model: ./outputs/small/cpt\n", "",
    ),
    "missing-file": (
        "sft.yml", "zero3.json", "zero2.json",
    ),
    "plugin": (
        "cpt.yml", "DepthUpScalingPlugin", "DepthUpscalingPlugin",
    ),
    "layer-range": (
        "dus.yml", "[8, 32]", "[8, 40]",
    ),
    "unreadable": (
        "sft.yml", "num_epochs: 1", "sequence_len: 4096",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
def test_the_whole_line(good_chain, says, kind):
    file, old, new = TEXTS[kind]
    spoil(file, old, new)
    found = [f for f in check_files([file], with_axolotl=False) if f.kind == kind]
    (finding,) = found
    says(finding.text)


def test_a_missing_file_is_named(good_chain):
    assert [f.text for f in check_files(["nothing.yml"])] == ["nothing.yml: no such file."]


def test_a_file_that_its_comments_explain_is_a_note(good_chain, says):
    spoil("sft.yml", "path: rows.jsonl", "path: math.jsonl")
    spoil("sft.yml", "base_model", "# Run   python join.py    makes math.jsonl\nbase_model")
    spoil("sft.yml", "[rows.jsonl]", "[math.jsonl]")
    (note,) = check_files(["sft.yml"], with_axolotl=False)
    assert note.is_note
    says(note.text)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"stages": {}}, "chain"),
        ({"merge_method": "linear"}, "merge"),
        ({"tasks": ["a"], "model": "hf"}, "evaluate"),
        ({"generator": "miniature_world"}, "data"),
        ({"base_model": "x", "datasets": []}, "train"),
        ({"base_model": "x", "models": []}, "merge"),
        ({"dataset": [], "learning_rate": 1}, "train"),
        ({"merge_methd": "linear"}, "merge"),
        ({"nothing": 1}, None),
    ],
)
def test_files_are_told_apart_by_their_keys(content, kind):
    assert kind_of(content) == kind


def test_a_file_of_no_tool_is_a_finding(good_chain):
    Path("other.yml").write_text("hello: world\n", encoding="utf-8")
    (finding,) = check_files(["other.yml"])
    assert finding.kind == "unreadable"
    assert finding.message.startswith("neither a chain (stages), an Axolotl recipe")


# Shapes that nobody meant, found by changing nodes of good files at random.
SHAPES = {
    "a list for the merge method": ("mix.yml", "merge_method: slerp", "merge_method: [slerp]"),
    "a number for the plugins": (
        "cpt.yml",
        "plugins:\n  - solar_plugins.DepthUpScalingPlugin",
        "plugins: 3",
    ),
    "nothing for a stage": ("chain.yml", "{train: dpo.yml, from: sft}", ""),
    "a number for a stage's file": ("chain.yml", "{train: cpt.yml}", "{train: 3}"),
    "a null byte for a stage's file": ("chain.yml", "{train: cpt.yml}", '{train: "a\\0b"}'),
    "a text for the slices": ("dus.yml", FILES["dus.yml"][28:-16], "slices: all\n"),
    "a number for the steps": (
        "dpo.yml",
        FILES["dpo.yml"][FILES["dpo.yml"].index("sdpo") : FILES["dpo.yml"].index("rl_beta")],
        "sdpo: 2\n",
    ),
    "a mapping that holds itself": (
        "sft.yml",
        "saves_per_epoch: 1",
        "lr_scheduler_kwargs: &me\n  again: *me",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("through_the_chain", [False, True])
def test_a_wrong_shape_is_a_finding_and_no_traceback(good_chain, shape, through_the_chain):
    file, old, new = SHAPES[shape]
    spoil(file, old, new)
    checked = "chain.yml" if through_the_chain else file
    found = list(check_files([checked], with_axolotl=False))
    assert found
    assert all("\n" not in finding.text for finding in found)
