"""On families that MergeKit's passthrough gets right, both must give the same bits."""

import pytest
import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from test_architectures import MAP, up_scaled
from transformers import AutoModelForCausalLM

from solar_plugins.depth_up_scaling.commands import mergekit_config, read_config


@pytest.mark.parametrize("family", ["llama", "mistral"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_same_bits(family, dtype, tiny_base, tmp_path):
    base = tiny_base(family)
    config = {**read_config(str(base)), "dtype": dtype}
    text = mergekit_config(str(base), config, remove_layers=3)
    run_merge(
        MergeConfiguration.model_validate(yaml.safe_load(text)),
        str(tmp_path),
        MergeOptions(clone_tensors=True, copy_tokenizer=False, quiet=True, cuda=False),
    )
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    ours, _, _ = up_scaled(base, dtype=dtype)
    assert theirs.config.num_hidden_layers == ours.config.num_hidden_layers == len(MAP)
    a, b = theirs.state_dict(), ours.state_dict()
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
