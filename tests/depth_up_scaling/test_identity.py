"""Which parameters silence a layer, found at the sizes of published models.

That the up-scaled model then has the base's logits is shown in test_architectures.py.
"""

import pytest
from tiny_architectures import model_class_of
from torch import nn
from transformers import AutoConfig

from solar_plugins.depth_up_scaling.identity import silencing_parameters, starred
from solar_plugins.depth_up_scaling.layer_map import layer_map
from solar_plugins.errors import SolarError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

GATED = {"mlp.down_proj.weight", "self_attn.o_proj.weight"}
LONG_ROPE = {"rope_type": "longrope", "long_factor": [1.0] * 48, "short_factor": [1.0] * 48}


def found(model_type, **fields):
    config = AutoConfig.for_model(model_type, **fields)
    depth = config.num_hidden_layers
    return silencing_parameters(model_class_of(config), config, layer_map(depth, depth // 4))


@pytest.mark.parametrize(
    ("model_type", "fields", "silent"),
    [
        ("llama", {"num_key_value_heads": 8, "eos_token_id": [1, 2], "vocab_size": 128256}, GATED),
        ("qwen2", {"num_attention_heads": 28, "num_key_value_heads": 4}, GATED),
        ("phi3", {"rope_parameters": LONG_ROPE, "num_hidden_layers": 16}, GATED),
        (
            "phi",
            {"partial_rotary_factor": 0.4},
            {"mlp.fc2.bias", "mlp.fc2.weight", "self_attn.dense.bias", "self_attn.dense.weight"},
        ),
        ("falcon", {}, {"mlp.dense_4h_to_h.weight", "self_attention.dense.weight"}),
        ("gemma2", {}, GATED),
        (
            "olmo2",  # the norm follows the projection: only its weight can be zero
            {"num_hidden_layers": 12},
            {"post_attention_layernorm.weight", "post_feedforward_layernorm.weight"},
        ),
        ("qwen3_moe", {}, {"mlp.experts.down_proj", "self_attn.o_proj.weight"}),
        (
            "jamba",
            {},
            {
                "feed_forward.down_proj.weight",
                "feed_forward.experts.down_proj",
                "mamba.out_proj.weight",
                "self_attn.o_proj.weight",
            },
        ),
    ],
)
def test_outputs_of(model_type, fields, silent):
    assert found(model_type, **fields) == silent


NOT_RESIDUAL = (
    "depth_up_scaling.init: with all parameters of the added layers at zero, openai-gpt still does "
    "not compute what the base computes: its blocks are not residual, or they compute with the "
    "layer's position or the model's depth. Write init: copy."
)
INVERSE = (
    "depth_up_scaling.init: identity is not possible with scale_attn_by_inverse_layer_idx: "
    "attention is divided by the layer's position, which differs between the 12 layers of the base "
    "and the 18 of the model. Write init: copy, or another base."
)
BY_DEPTH = (
    "depth_up_scaling.init: identity is not possible with scale_depth: each residual is scaled by "
    "1/sqrt(depth), now 12 in place of 8. Write init: copy, or another base."
)


@pytest.mark.parametrize(
    ("model_type", "fields", "line"),
    [
        ("openai-gpt", {}, NOT_RESIDUAL),  # the norm is on the residual stream
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, INVERSE),
        ("minicpm3", {"num_hidden_layers": 8, "scale_depth": 1.4}, BY_DEPTH),
    ],
)
def test_refused(model_type, fields, line):
    with pytest.raises(SolarError) as error:
        found(model_type, **fields)
    assert str(error.value) == line


def test_the_same_parameter_of_every_expert():
    layer = nn.ModuleDict({"experts": nn.ModuleList([nn.Linear(2, 2)] * 4)})
    layer["ffn"] = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    assert starred("experts.3.weight", layer) == "experts.*.weight"
    assert starred("ffn.2.weight", layer) == "ffn.2.weight"
    assert starred("experts.down_proj", nn.ModuleDict()) == "experts.down_proj"
