"""Whether a stage's weights are others than those it began with."""

from __future__ import annotations

import json
import shutil

import pytest

from solar_plugins.chain.verify.model import check_model
from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow


def test_weights_that_are_the_bases_are_refused(tmp_path):
    import torch
    from safetensors.torch import load_file, save_file
    from tiny_models import byte_tokenizer, write_tiny_model

    base = write_tiny_model(tmp_path / "base", byte_tokenizer(), num_hidden_layers=2)
    trained = tmp_path / "trained"
    shutil.copytree(base, trained)
    with pytest.raises(SolarError, match=r"has the same values in all \d+ tensors"):
        check_model(trained, str(base))
    weights = load_file(trained / "model.safetensors")
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    save_file(halves, trained / "model.safetensors", {"format": "pt"})
    with pytest.raises(SolarError, match="nothing was learned"):
        check_model(trained, str(base))
    weights[max(weights)][-1] += 1
    save_file(weights, trained / "model.safetensors", {"format": "pt"})
    assert check_model(trained, str(base))["num_hidden_layers"] == 2
    assert check_model(base)["num_hidden_layers"] == 2, "a merge may be its input"
    assert check_model(base, "someone/on-the-hub")


def test_an_adapter_that_adds_nothing_is_refused(tmp_path):
    import torch
    from safetensors.torch import save_file

    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    weights = {"q.lora_A.weight": torch.ones(2, 4), "q.lora_B.weight": torch.zeros(4, 2)}
    save_file(weights, tmp_path / "adapter_model.safetensors")
    with pytest.raises(SolarError, match="lora_B is 0 in all 1 tensors"):
        check_model(tmp_path, "unused")
    weights["q.lora_B.weight"][0, 0] = 1
    save_file(weights, tmp_path / "adapter_model.safetensors")
    assert check_model(tmp_path, "unused")["adapter"]
