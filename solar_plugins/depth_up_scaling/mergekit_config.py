"""The up-scaling as MergeKit's passthrough YAML."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.depth_up_scaling.args import DepthUpScalingBlock
from solar_plugins.depth_up_scaling.layer_map import ranges_of, removed_layers, seams
from solar_plugins.depth_up_scaling.picture import how_far
from solar_plugins.models.model_config import depth_key, language_model, required_depth


def mergekit_config(base: str, config: dict[str, Any], block: DepthUpScalingBlock) -> str:
    """MergeKit's passthrough YAML for the up-scaled `base`.

    Raises:
        SolarError: no deeper model comes out, or the base was grown already.
    """
    depth = required_depth(config, base)
    layers = block.layer_map(depth)
    text = language_model(config)
    dtype = config.get("dtype") or config.get("torch_dtype") or text.get("dtype")
    model = json.dumps(base)  # a JSON string is a YAML string, whatever the path holds
    return "\n".join(
        [
            f"# {headline(depth, layers)}",
            *_mergekit_warning(base, text, layers),
            "# Run: mergekit-yaml THIS_FILE OUT --clone-tensors",
            "slices:",
            *(
                f"  - sources: [{{model: {model}, layer_range: [{start}, {end}]}}]"
                for start, end in ranges_of(layers)
            ),
            "merge_method: passthrough",
            *([f"dtype: {dtype}"] if dtype else []),
            "",
        ]
    )


def headline(depth: int, layers: Sequence[int]) -> str:
    """Depths and stack in one line."""
    removed = removed_layers(layers, depth)
    if removed is not None:
        how = f"{removed} removed from each copy at the seam (SOLAR paper, section 2)"
    else:
        met = [(layers[i - 1], layers[i]) for i in seams(layers)]
        how = f"{len(met) + 1} ranges, at the seams " + ", ".join(
            f"{a} then {b} ({how_far(a, b)})" for a, b in met
        )
    return f"{depth} -> {len(layers)} layers: {how}"


def _mergekit_warning(base: str, text: dict[str, Any], layers: Sequence[int]) -> list[str]:
    """The per-layer fields that MergeKit would not change (measured on 0.1.5)."""
    key = depth_key(text) or "num_hidden_layers"
    changed = config_rules.grow(text, layers, key).changes
    left = sorted(name for name, value in changed.items() if text.get(name) != value)
    left.remove(key)
    if not left:
        return []
    return [
        f"# MergeKit changes the depth alone, but this config also says per layer: "
        f"{', '.join(left)}.",
        f"# Write the model with this instead: solar dus {shlex.quote(base)} --out OUT",
    ]
