"""The merge configs through MergeKit, on tiny models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recipe_files import merge
from safetensors.torch import load_file

from solar_plugins.recipes.named_data import renamed

pytestmark = pytest.mark.slow


def merged(name: str, places: dict[str, str], out: Path) -> dict[str, torch.Tensor]:
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    config = MergeConfiguration.model_validate(renamed(merge(name), places))
    run_merge(config, str(out), MergeOptions(clone_tensors=True, quiet=True))
    # Names of tokenizer files as MergeKit copies them: the next stage must find one.
    assert (out / "tokenizer_config.json").is_file()
    return load_all(out)


def load_all(folder: Path) -> dict[str, torch.Tensor]:
    return {
        k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()
    }


def test_dus_is_the_papers_layer_map(tiny_base, tmp_path):
    from transformers import AutoModelForCausalLM

    places = {"mistralai/Mistral-7B-v0.1": str(tiny_base)}
    tensors, base = merged("dus", places, tmp_path / "dus"), load_all(tiny_base)
    layers = [*range(24), *range(8, 32)]
    for target, source in enumerate(layers):
        prefix = f"model.layers.{source}."
        for name in [name for name in base if name.startswith(prefix)]:
            copied = tensors[name.replace(prefix, f"model.layers.{target}.")]
            assert torch.equal(copied, base[name])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "dus")
    assert model.config.num_hidden_layers == len(layers) == 48


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("sft_v3_v4", 0.5, 0.5),
        ("dpo_v1_v2", 0.5, 0.5),
        ("merge_v1", 0.5, 0.5),
        ("merge_v2", 0.4, 0.6),
        ("merge_v3", 0.6, 0.4),
    ],
)
def test_averages_are_weighted_in_the_order_of_the_table(name, first, second, tiny_pair, tmp_path):
    models = [model["model"] for model in merge(name)["models"]]
    places = dict(zip(models, map(str, tiny_pair), strict=True))
    tensors = merged(name, places, tmp_path / "out")
    one, other = map(load_all, tiny_pair)
    assert tensors.keys() == one.keys()
    for key, tensor in tensors.items():
        expected = first * one[key].double() + second * other[key].double()
        # bf16 keeps 8 bits: half a unit in the last place of the larger term.
        torch.testing.assert_close(tensor.double(), expected, rtol=2**-7, atol=2**-9)
        swapped = second * one[key].double() + first * other[key].double()
        if first != second and tensor.ndim == 2:
            assert (tensor.double() - expected).norm() < 0.1 * (tensor.double() - swapped).norm()


def test_merge_v4_is_spherical(tiny_pair, tmp_path):
    places = dict(
        zip(
            [model["model"] for model in merge("merge_v4")["models"]],
            map(str, tiny_pair),
            strict=True,
        )
    )
    tensors = merged("merge_v4", places, tmp_path / "out")
    one, other = map(load_all, tiny_pair)
    key = "model.layers.1.self_attn.q_proj.weight"
    a, b = one[key].double(), other[key].double()
    angle = torch.acos((a * b).sum() / a.norm() / b.norm())
    # Shoemake (1985) at t = 1/2: both terms have the weight sin(angle / 2) / sin(angle).
    expected = (a + b) * torch.sin(angle / 2) / torch.sin(angle)
    torch.testing.assert_close(tensors[key].double(), expected, rtol=2**-6, atol=2**-9)
    # Random matrices are nearly orthogonal, where the mean is a factor of sqrt(2) shorter.
    assert tensors[key].norm() > 1.3 * ((a + b) / 2).norm()
