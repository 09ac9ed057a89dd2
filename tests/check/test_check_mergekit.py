"""Our reading of merge configs against MergeKit's own, on the same configs."""

from __future__ import annotations

import pytest
import yaml
from good_files import FILES

from solar_plugins.check import check_files

pytestmark = pytest.mark.slow

CONFIGS = {
    "passthrough": (FILES["dus.yml"], True),
    "slerp": (FILES["mix.yml"], True),
    "no method": ("models: [{model: a/b}]", False),
    "models and slices": (FILES["dus.yml"] + "models: [{model: a/b}]\n", False),
    "neither": ("merge_method: linear", False),
    "range of three": (FILES["dus.yml"].replace("[0, 24]", "[0, 8, 24]"), False),
    "range of texts": (FILES["dus.yml"].replace("[0, 24]", "[first, 24]"), False),
    "no range": (FILES["dus.yml"].replace("        layer_range: [0, 24]\n", ""), False),
    "model that is a number": (FILES["mix.yml"].replace("./outputs/small/dpo", "7"), False),
    "models that are a mapping": ("merge_method: linear\nmodels: {model: a/b}", False),
    "two tokenizers": (
        FILES["mix.yml"] + "tokenizer_source: base\ntokenizer: {source: base}\n",
        False,
    ),
    "gradient": (FILES["mix.yml"].replace("t: 0.5", "t: [0, 0.5, 1]"), True),
    "filters": (
        FILES["mix.yml"].replace("t: 0.5", "t: [{filter: mlp, value: 0.2}, {value: 0.5}]"),
        True,
    ),
    "weights per model": (
        "merge_method: linear\nmodels:\n"
        "  - {model: a/b, parameters: {weight: 0.4}}\n"
        "  - {model: a/c, parameters: {weight: 0.6}}\n",
        True,
    ),
    "weights for all": (
        "merge_method: linear\nmodels: [{model: a/b}, {model: a/c}]\nparameters: {weight: 1}\n",
        True,
    ),
    "modules": (
        "merge_method: linear\nmodules:\n  text:\n    models:\n"
        "      - {model: a/b, parameters: {weight: 0.4}}\n",
        True,
    ),
    "ties": (
        "merge_method: ties\nbase_model: a/base\nmodels:\n"
        "  - {model: a/b, parameters: {weight: 0.4, density: 0.5}}\n"
        "  - {model: a/c, parameters: {weight: 0.4}}\nparameters: {normalize: true}\n",
        True,
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_mergekit_refuses_is_a_finding(good_chain, name):
    from mergekit.config import MergeConfiguration

    text, is_good = CONFIGS[name]
    (good_chain / "config.yml").write_text(text, encoding="utf-8")
    found = [finding.text for finding in check_files(["config.yml"])]
    assert (found == []) is is_good, found
    content = yaml.safe_load(text)
    if is_good:
        MergeConfiguration.model_validate(content)
    else:
        with pytest.raises((ValueError, RuntimeError)):
            MergeConfiguration.model_validate(content)


# What MergeKit takes without a word and we do not: typo keys, impossible layers, and parameters
# that do not reach where they are read.
SILENT = {
    "typo": (FILES["dus.yml"].replace("dtype", "dtpe"), "dtpe"),
    "backwards": (FILES["dus.yml"].replace("[0, 24]", "[24, 0]"), "slices[0]"),
    "negative": (FILES["dus.yml"].replace("[0, 24]", "[-1, 24]"), "slices[0]"),
    "missing weight": (
        "merge_method: linear\nmodels:\n  - {model: a/b, parameters: {weight: 0.4}}\n"
        "  - {model: a/c}\n",
        "models[1].parameters.weight",
    ),
    "shared parameter at a model": (
        "merge_method: slerp\nbase_model: a/b\nmodels:\n"
        "  - {model: a/b, parameters: {t: 0.4}}\n  - {model: a/c}\n",
        "models[0].parameters.t",
    ),
    "weight that is a text": (
        "merge_method: linear\nmodels: [{model: a/b, parameters: {weight: much}}]\n",
        "models[0].parameters.weight",
    ),
    "passthrough of two": (
        FILES["dus.yml"].replace(
            "        layer_range: [0, 24]\n",
            "        layer_range: [0, 24]\n      - {model: a/b, layer_range: [0, 24]}\n",
        ),
        "slices[0].sources",
    ),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_mergekit_takes_in_silence_is_a_finding(good_chain, name):
    from mergekit.config import MergeConfiguration

    text, path = SILENT[name]
    MergeConfiguration.model_validate(yaml.safe_load(text))
    (good_chain / "config.yml").write_text(text, encoding="utf-8")
    assert any(finding.path.startswith(path) for finding in check_files(["config.yml"]))
