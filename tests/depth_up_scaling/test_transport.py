"""`init: optimal_transport`: new layers out of two whose heads and neurons are matched."""

import pytest
import torch
from coverage_judge import up_scaled
from scipy.optimize import linear_sum_assignment
from tiny_architectures import IDS, LAYERS
from transformers import AutoConfig, AutoModelForCausalLM

from solar_plugins.depth_up_scaling.growth import grow
from solar_plugins.depth_up_scaling.layer_map import interleave
from solar_plugins.depth_up_scaling.tensor_plan import blueprint
from solar_plugins.errors import SolarError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

MAP = interleave(LAYERS, 4)  # layer 4 between the base's 3 and 4, layer 9 behind its last


def matched(lower, upper):
    """Of the lower layer's rows the one for each of the upper's, by squared distance."""
    distance = ((upper[:, None] - lower[None]) ** 2).sum(-1)
    return linear_sum_assignment(distance.double().numpy())[1]


def restated(lower, upper, heads):
    """Each tensor of a Llama's new layer, in plain torch."""

    def of_heads(tensor):
        """One row for each key and value, with all queries that share them."""
        return tensor.reshape(heads, -1)

    made = {name: (lower[name] + upper[name]) / 2 for name in upper if "norm" in name}
    for module, names, rows in (
        ("mlp", ("gate_proj", "up_proj"), lambda tensor: tensor),
        ("self_attn", ("q_proj", "k_proj", "v_proj"), of_heads),
    ):
        keys = [f"{module}.{name}.weight" for name in names]
        both = [torch.cat([rows(weights[key]) for key in keys], 1) for weights in (lower, upper)]
        order = matched(*both)
        for key in keys:
            moved = rows(lower[key])[order].reshape(lower[key].shape)
            made[key] = (moved + upper[key]) / 2
    for key in ("mlp.down_proj.weight", "self_attn.o_proj.weight"):
        made[key] = torch.zeros_like(upper[key])
    return made


def plain(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_equal_to_a_restatement(tiny_base):
    """The tensors of a layer lie in several shards; four heads share two keys and values."""
    folder = tiny_base("llama", "40KB")
    model, _, _ = up_scaled(folder, MAP, init="optimal_transport")
    layers = plain(folder).model.layers
    lower, upper = layers[3].state_dict(), layers[4].state_dict()
    wanted = restated(lower, upper, AutoConfig.from_pretrained(folder).num_key_value_heads)
    found = model.model.layers[4].state_dict()
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)
    gate = "mlp.gate_proj.weight"
    assert not torch.allclose(found[gate], (lower[gate] + upper[gate]) / 2)  # it does reorder
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, plain(folder)(IDS).logits)


def test_units_in_another_order_are_found_again(tiny_base, tmp_path):
    """Qwen2, with biases: layer 4 is layer 3 with its units shuffled, and so is their mean."""
    base = plain(tiny_base("qwen2"))
    own, shuffled = base.model.layers[3].state_dict(), {}
    heads = base.config.num_key_value_heads
    random = torch.Generator().manual_seed(0)
    for name, tensor in own.items():
        dim = 1 if name.split(".")[-2] in ("o_proj", "down_proj") else 0
        if "norm" in name:
            shuffled[name] = tensor
            continue
        count = heads if "attn" in name else own["mlp.gate_proj.weight"].shape[0]
        order = torch.randperm(count, generator=random.manual_seed(count))
        parts = tensor.unflatten(dim, (count, -1)).index_select(dim, order)
        shuffled[name] = parts.flatten(dim, dim + 1)
    base.model.layers[4].load_state_dict(shuffled)
    base.save_pretrained(tmp_path)
    model, _, _ = up_scaled(tmp_path, MAP, init="optimal_transport")
    for name, found in model.model.layers[4].state_dict().items():
        if name.split(".")[-2] not in ("o_proj", "down_proj"):
            assert torch.equal(found, shuffled[name]), name


@pytest.mark.parametrize(
    ("family", "what"),
    [
        ("gpt2", "gpt2 have attn.c_attn.weight (32, 96)"),
        ("bitnet", "bitnet have mlp.ffn_sub_norm.weight (48,)"),
        ("mixtral", "mixtral have mlp.gate.weight (4, 32)"),
        ("phi3", "phi3 have self_attn.qkv_proj.weight (96, 32)"),
    ],
)
def test_other_shapes_are_refused(family, what, tiny_base):
    model = plain(tiny_base(family))
    with pytest.raises(SolarError) as error:
        blueprint(type(model), grow(model.config, MAP, "optimal_transport"))
    assert str(error.value) == (
        "depth_up_scaling.init: optimal_transport matches heads (q_proj, k_proj, v_proj, o_proj) "
        f"and neurons (gate_proj, up_proj, down_proj), and layers of {what}. Write init: average "
        "or identity."
    )
