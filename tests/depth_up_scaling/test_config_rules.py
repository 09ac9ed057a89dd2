"""Every per-layer field of a config follows its layers."""

import pytest

from solar_plugins.depth_up_scaling.config_rules import (
    grow,
    mark,
    refuse_grown,
    remap_indices,
)
from solar_plugins.depth_up_scaling.layer_map import layer_map, stacked
from solar_plugins.errors import SolarError

MAP = layer_map(8, 3)  # [0, 1, 2, 3, 4, 3, 4, 5, 6, 7]


def changes(**fields):
    return grow({"num_hidden_layers": 8, **fields}, MAP).changes


def refusal(**fields):
    with pytest.raises(SolarError) as error:
        grow({"num_hidden_layers": 8, "model_type": "some", **fields}, MAP)
    return str(error.value)


def test_depth_alone_when_nothing_is_per_layer():
    assert changes(hidden_size=64, rope_theta=1e4) == {"num_hidden_layers": 10}


def test_depth_under_its_own_name():
    assert grow({"n_layer": 8}, MAP, depth_key="n_layer").changes == {"n_layer": 10}


@pytest.mark.parametrize(
    "name", ["layer_types", "no_rope_layers", "sliding_windows", "a_list_nobody_knows"]
)
def test_one_entry_per_layer(name):
    assert changes(**{name: list("abcdefgh")})[name] == list("abcdedefgh")


def test_pattern_is_not_derived_anew():
    """Gemma's five sliding to one full: at depth 10 the pattern itself would put it elsewhere."""
    kinds = ["full" if (i + 1) % 6 == 0 else "sliding" for i in range(8)]
    grown = changes(layer_types=kinds, sliding_window_pattern=6)
    assert [i for i, kind in enumerate(grown["layer_types"]) if kind == "full"] == [7]
    assert "sliding_window_pattern" not in grown


@pytest.mark.parametrize("name", ["mlp_only_layers", "full_attn_idxs", "cross_attention_layers"])
def test_sets_of_layer_indices(name):
    assert changes(**{name: [0, 4, 7]})[name] == [0, 4, 6, 9]
    assert changes(**{name: []})[name] == []


def test_set_of_indices_as_long_as_the_depth_stays_a_set():
    assert changes(moe_layers=list(range(8)))["moe_layers"] == list(range(10))


def test_lists_that_only_happen_to_have_the_length():
    assert changes(eos_token_id=list(range(8)), architectures=["A"] * 8) == {
        "num_hidden_layers": 10
    }


def test_sparse_step_becomes_a_list():
    """Base: layers 1, 3, 5, 7 are sparse (step 2), but 3 is forced dense."""
    grown = changes(decoder_sparse_step=2, mlp_only_layers=[3])
    assert grown["decoder_sparse_step"] == 1
    sparse = [j for i, j in enumerate(MAP) if i not in grown["mlp_only_layers"]]
    assert sparse == [1, 5, 7]


def test_first_layers_that_differ():
    assert changes(first_k_dense_replace=3) == {"num_hidden_layers": 10}
    assert refusal(first_k_dense_replace=4) == (
        "depth_up_scaling: the first 4 layers of this base differ from the rest "
        "(first_k_dense_replace), and this stack would repeat one of them. Choose layout: overlap "
        "with remove_layers of 4 or more."
    )


def test_first_layers_do_not_matter_where_a_list_says_each():
    kinds = ["dense"] * 4 + ["sparse"] * 4
    grown = changes(first_k_dense_replace=4, mlp_layer_types=kinds)
    assert [i for i, kind in enumerate(grown["mlp_layer_types"]) if kind == "dense"] == [
        *range(4),
        5,  # base layer 3 again
    ]


def test_periods_without_a_list():
    assert changes(attn_layer_period=2) == {"num_hidden_layers": 10}  # 8 - 2*3 = 2
    assert "(attn_layer_period)" in refusal(attn_layer_period=4)
    assert "a multiple of 4." in refusal(attn_layer_period=4)


@pytest.mark.parametrize(
    "fields",
    [{"num_kv_shared_layers": 2}, {"model_type": "zamba2"}, {"num_hidden_groups": 1}],
)
def test_layers_that_share_weights_are_refused(fields):
    assert refusal(**fields).startswith("base_model: ")


def test_a_list_of_another_length_is_refused():
    assert refusal(layer_types=["full_attention"] * 7) == (
        "base_model: config.json lists 7 layer_types for 8 layers. "
        "Each layer needs one entry; correct the base's config.json."
    )


def test_depth_in_the_maths_is_told():
    grown = grow({"num_hidden_layers": 8, "scale_depth": 1.4}, MAP)
    assert grown.warnings == [
        "scale_depth: each residual is scaled by 1/sqrt(depth), now 10 in place of 8."
    ]
    assert grow({"n_layer": 8, "scale_attn_by_inverse_layer_idx": True}, MAP, "n_layer").warnings


def test_remap_indices():
    assert remap_indices([3], MAP) == [3, 5]


def test_a_grown_model_is_not_grown_again():
    refuse_grown({"num_hidden_layers": 8}, "base")
    with pytest.raises(SolarError) as error:
        refuse_grown({"depth_up_scaling": mark(8, MAP, "copy")}, "./grown")
    assert str(error.value) == (
        "base_model: ./grown is depth up-scaled already (8 -> 10 layers). Remove "
        "`depth_up_scaling` and its plugin from this recipe, or name the base of 8 layers."
    )


@pytest.mark.parametrize("found", [{}, True, {"remove_layers": 1}])
def test_a_mark_that_says_nothing(found):
    with pytest.raises(SolarError) as error:
        refuse_grown({"depth_up_scaling": found}, "./base")
    assert str(error.value) == (
        f"base_model: config.json of ./base has depth_up_scaling: {found!r}, which does not say "
        "whether it is up-scaled already. Name a base without that key."
    )


def test_the_mark_says_how_it_was_made():
    assert mark(8, MAP, "identity") == {
        "base_num_hidden_layers": 8,
        "remove_layers": 3,
        "layer_ranges": [[0, 5], [3, 8]],
        "layer_map": MAP,
        "init": "identity",
    }
    assert mark(8, stacked([(0, 6), (2, 6), (2, 8)]), "copy")["remove_layers"] is None


def test_overrides_of_single_layers():
    overrides = {"3": {"head_dim": 16}, "7": {"head_dim": 32}}
    assert changes(per_layer_config=overrides)["per_layer_config"] == {
        "3": {"head_dim": 16},
        "5": {"head_dim": 16},
        "9": {"head_dim": 32},
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"H_cycles": 2}, "passes through the same layers several times (H_cycles)"),
        ({"model_type": "longcat_flash"}, "counts two layers for each that it has"),
    ],
)
def test_layers_that_are_no_stack(fields, words):
    assert words in refusal(**fields)
