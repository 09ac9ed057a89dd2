"""Where MergeKit's passthrough is right, `solar dus --out` and the model in memory have its bits.

Where it is not, test_dus_on_disk.py compares the written model with the one in memory.
"""

import pytest
import torch
import yaml
from in_memory import load_up_scaled
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from solar_plugins.depth_up_scaling import on_disk
from solar_plugins.depth_up_scaling.args import parse
from solar_plugins.depth_up_scaling.mergekit_config import mergekit_config
from solar_plugins.models.base_files import read_config

pytestmark = pytest.mark.slow

BLOCK = {"remove_layers": 3}


def merged(base, out, block, dtype=None):
    """MergeKit's own result on the config that `solar dus BASE` prints."""
    config = read_config(str(base))
    text = mergekit_config(str(base), {**config, **({"dtype": dtype} if dtype else {})}, block)
    run_merge(
        MergeConfiguration.model_validate(yaml.safe_load(text)),
        str(out),
        MergeOptions(clone_tensors=True, copy_tokenizer=False, quiet=True, cuda=False),
    )


def tensors(folder):
    return {
        k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()
    }


@pytest.mark.parametrize("family", ["llama", "mistral"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_in_memory(family, dtype, tiny_base, tmp_path):
    base = tiny_base(family)
    merged(base, tmp_path, parse(BLOCK), dtype)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    ours = load_up_scaled(base, BLOCK, dtype=dtype)
    assert theirs.config.num_hidden_layers == ours.config.num_hidden_layers == 10
    a, b = theirs.state_dict(), ours.state_dict()
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


@pytest.mark.parametrize(
    "family",
    ["llama", "mistral", "gemma", "phi3", "olmo2", "mixtral", "gpt2"],
)
def test_on_disk(family, tiny_base, tmp_path):
    """The same model out of both folders, and the same config but for the mark."""
    base, block = tiny_base(family), parse(BLOCK)
    merged(base, tmp_path / "theirs", block)
    on_disk.write(on_disk.prepare(str(base), block), tmp_path / "ours", "")
    ours, theirs = (
        AutoModelForCausalLM.from_pretrained(tmp_path / who) for who in ("ours", "theirs")
    )
    a, b = ours.state_dict(), theirs.state_dict()
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    a, b = ours.config.to_dict(), theirs.config.to_dict()
    apart = {key for key in a.keys() | b.keys() if a.get(key) != b.get(key)}
    assert apart <= {"depth_up_scaling", "transformers_version", "_name_or_path"}


def test_several_slices(tiny_base, tmp_path):
    base = tiny_base("llama")
    block = parse({"layer_ranges": [[0, 5], [2, 5], [4, 8], [7, 8]]})
    merged(base, tmp_path / "theirs", block)
    on_disk.write(on_disk.prepare(str(base), block), tmp_path / "ours", "")
    a, b = tensors(tmp_path / "theirs"), tensors(tmp_path / "ours")
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
