"""How a model's config follows its layers.

Depth is not one number: `layer_types`, `mlp_only_layers`, sparse steps and the like say what each
layer *is*. A config whose ``num_hidden_layers`` alone is raised builds another model, or none.
Everything here works on plain dicts as ``config.to_dict()`` gives them.

A layer map is a list with the base layer of every target layer (`layer_map.layer_map`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from solar_plugins.depth_up_scaling import layer_map as layer_maps
from solar_plugins.errors import SolarError

MARK = "depth_up_scaling"
"""Config key that marks a grown model. Custom keys survive save and load."""

LAYER_INDEX_SETS = (
    "mlp_only_layers",
    "moe_layers",
    "full_attn_idxs",
    "attn_layer_indices",
    "cross_attention_layers",
    "hybrid_layer_ids",
    "global_attn_idx",
    "local_layer_ids",
    "ple_layer_ids",
)
"""Fields that list *which* layers are of some kind."""

FIRST_LAYERS_DIFFER = ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index")
"""Fields that say how many of the first layers are of another kind."""

PERIODS = ("attn_layer_period", "expert_layer_period", "moe_layer_interval")
"""Fields that make every k-th layer another kind, with no list that could be remapped."""

EXPLICIT_KIND_LISTS = ("mlp_layer_types", "moe_layers", "layers_block_type", "layer_types")

NOT_PER_LAYER = (
    "architectures",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "sep_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "keys_to_ignore_at_inference",
    "time_step_limit",
)
"""Lists whose length may equal the depth by chance (a small model, two stop tokens)."""


@dataclass
class GrownConfig:
    """What changes in the config of the language model.

    Attributes:
        changes: field -> its value at the new depth, the depth itself included.
        warnings: one sentence for each thing that depends on the depth and cannot follow it.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def grow(
    config: dict[str, Any], layer_map: Sequence[int], depth_key: str = "num_hidden_layers"
) -> GrownConfig:
    """The fields of `config` that must change for its model to have the layers of `layer_map`.

    >>> base = {"num_hidden_layers": 4, "layer_types": ["s", "s", "s", "f"]}
    >>> grow(base, [0, 1, 2, 1, 2, 3]).changes
    {'num_hidden_layers': 6, 'layer_types': ['s', 's', 's', 's', 's', 'f']}

    `config` is ``to_dict()`` of the language model's config (the text config of a nested one), and
    `depth_key` the name under which it stores its depth (``n_layer`` in GPT-2).

    Raises:
        SolarError: layers of this architecture are tied to each other or to their position in a
            way that a longer model cannot keep.
    """
    depth = config[depth_key]
    _refuse_shared_layers(config)
    grown = GrownConfig(changes={depth_key: len(layer_map)})
    for name, value in config.items():
        if name in NOT_PER_LAYER or name == depth_key or not isinstance(value, list | tuple):
            continue
        if name in LAYER_INDEX_SETS:
            grown.changes[name] = remap_indices(value, layer_map)
        elif len(value) == depth:
            grown.changes[name] = [value[j] for j in layer_map]
        elif name in EXPLICIT_KIND_LISTS and value:
            raise SolarError(
                f"base_model: config.json lists {len(value)} {name} for {depth} layers. "
                "Each layer needs one entry; correct the base's config.json."
            )
    if config.get("per_layer_config"):
        grown.changes["per_layer_config"] = _remap_overrides(config["per_layer_config"], layer_map)
    _fold_sparse_step(config, layer_map, depth, grown)
    if config.get("moe_layer_end_index") == depth - 1:
        grown.changes["moe_layer_end_index"] = len(layer_map) - 1
    _check_first_layers(config, layer_map)
    _check_periods(config, layer_map)
    grown.warnings.extend(depth_in_the_maths(config, depth, len(layer_map)))
    return grown


def remap_indices(indices: Sequence[int], layer_map: Sequence[int]) -> list[int]:
    """The target layers that come from one of the base layers `indices`.

    >>> remap_indices([0, 2], [0, 1, 2, 1, 2, 3])
    [0, 2, 4]
    """
    chosen = set(indices)
    return [i for i, j in enumerate(layer_map) if j in chosen]


def _remap_overrides(overrides: dict[str, Any], layer_map: Sequence[int]) -> dict[str, Any]:
    """``per_layer_config``: what differs in some layers, under the layer's number as text."""
    of_layer = {int(layer): fields for layer, fields in overrides.items()}
    digits = len(str(len(layer_map) - 1))
    return {str(i).zfill(digits): of_layer[j] for i, j in enumerate(layer_map) if j in of_layer}


def mark(base_num_hidden_layers: int, layer_map: Sequence[int], init: str) -> dict[str, Any]:
    """What a grown model's config stores under the key `MARK`."""
    return {
        "base_num_hidden_layers": base_num_hidden_layers,
        "remove_layers": layer_maps.removed_layers(layer_map, base_num_hidden_layers),
        "layer_ranges": [list(pair) for pair in layer_maps.ranges_of(layer_map)],
        "layer_map": list(layer_map),
        "init": init,
    }


def refuse_grown(config: dict[str, Any], base_model: str) -> None:
    """Raise if `config` is that of a model that was grown already."""
    found = config.get(MARK)
    if found is not None:
        try:
            base, now = found["base_num_hidden_layers"], len(found["layer_map"])
        except (KeyError, TypeError):
            raise SolarError(
                f"base_model: config.json of {base_model} has {MARK}: {found!r}, which does not "
                "say whether it is up-scaled already. Name a base without that key."
            ) from None
        raise SolarError(
            f"base_model: {base_model} is depth up-scaled already ({base} -> {now} layers). "
            "Remove `depth_up_scaling` and its plugin from this recipe, "
            f"or name the base of {base} layers."
        )


def depth_in_the_maths(config: dict[str, Any], depth: int, grown_depth: int) -> list[str]:
    """What the architecture computes from a layer's position or from the depth, in sentences."""
    warnings = []
    if config.get("scale_attn_by_inverse_layer_idx"):
        warnings.append(
            "scale_attn_by_inverse_layer_idx: attention is divided by the layer's position, which "
            f"differs between the {depth} layers of the base and the {grown_depth} of the model."
        )
    if config.get("scale_depth"):
        warnings.append(
            f"scale_depth: each residual is scaled by 1/sqrt(depth), now {grown_depth} in place "
            f"of {depth}."
        )
    return warnings


def _refuse_shared_layers(config: dict[str, Any]) -> None:
    model_type = config.get("model_type")
    shared = config.get("num_kv_shared_layers")
    what = None
    if shared:
        what = (
            f"lets its last {shared} layers reuse the keys and values of earlier ones "
            "(num_kv_shared_layers), which a copied layer cannot"
        )
    elif model_type in ("zamba", "zamba2"):
        what = (
            "runs one attention block at several depths, so that its layers cannot be copied one "
            "by one"
        )
    elif config.get("H_cycles"):
        what = (
            "passes through the same layers several times (H_cycles), so that its layers are not "
            "a stack"
        )
    elif model_type == "longcat_flash":
        what = (
            f"counts two layers for each that it has (num_layers {config.get('num_layers')}, "
            f"num_hidden_layers {config.get('num_hidden_layers')}), and its layers know both "
            "numbers"
        )
    elif config.get("num_hidden_groups"):
        what = (
            "shares the weights of its layers in groups (num_hidden_groups), so that they cannot "
            "be copied one by one"
        )
    if what:
        raise SolarError(f"base_model: {model_type} {what}. Choose another base.")


def _fold_sparse_step(
    config: dict[str, Any], layer_map: Sequence[int], depth: int, grown: GrownConfig
) -> None:
    """Write ``decoder_sparse_step`` k > 1 (layer j is sparse if k divides j+1) as a list.

    The rule counts from the first layer, so that a second copy would fall out of step.
    """
    step = config.get("decoder_sparse_step")
    if not step or step == 1:
        return
    dense = set(config.get("mlp_only_layers") or ())
    dense |= {j for j in range(depth) if (j + 1) % step}
    grown.changes["decoder_sparse_step"] = 1
    grown.changes["mlp_only_layers"] = remap_indices(sorted(dense), layer_map)


def _check_first_layers(config: dict[str, Any], layer_map: Sequence[int]) -> None:
    """The first k layers differ from the rest: they must stay the first, and once only."""
    if any(config.get(name) for name in ("mlp_layer_types", "moe_layers")):
        return
    for name in FIRST_LAYERS_DIFFER:
        first = config.get(name)
        if not isinstance(first, int) or first <= 0:
            continue
        if [i for i, j in enumerate(layer_map) if j < first] != list(range(first)):
            raise SolarError(
                f"depth_up_scaling: the first {first} layers of this base differ from the rest "
                f"({name}), and this stack would repeat one of them. Choose layout: overlap with "
                f"remove_layers of {first} or more."
            )


def _check_periods(config: dict[str, Any], layer_map: Sequence[int]) -> None:
    if any(config.get(name) for name in ("layers_block_type", "layer_types", "mlp_layer_types")):
        return
    for name in PERIODS:
        period = config.get(name)
        if not isinstance(period, int) or period <= 1:
            continue
        shifts = {i - j for i, j in enumerate(layer_map)}
        if any(shift % period for shift in shifts):
            raise SolarError(
                f"depth_up_scaling: every {period}th layer of this base is of another kind "
                f"({name}), and this stack would fall out of step. Choose layout: overlap with "
                f"remove_layers such that the base's layers minus twice that are a multiple of "
                f"{period}."
            )
