"""The up-scaling as MergeKit's passthrough YAML."""

from __future__ import annotations

import json
import shlex
from typing import Any

from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.depth_up_scaling.args import DepthUpScalingBlock
from solar_plugins.depth_up_scaling.layer_map import removed_layers, seams, stacked
from solar_plugins.depth_up_scaling.picture import how_far
from solar_plugins.models.base_files import DEPTH_KEYS, depth_of, language_model


def mergekit_config(base: str, config: dict[str, Any], block: DepthUpScalingBlock) -> str:
    """MergeKit's passthrough YAML for the up-scaled `base`.

    Args:
        base: how MergeKit is to find the base.
        config: its ``config.json``.
        block: how it is to be up-scaled.

    Raises:
        SolarError: no deeper model comes out, or the base was grown already.
    """
    depth = depth_of(config, base)
    ranges = block.ranges(depth)
    text = language_model(config)
    dtype = config.get("dtype") or config.get("torch_dtype") or text.get("dtype")
    model = json.dumps(base)  # a JSON string is a YAML string, whatever the path holds
    return "\n".join(
        [
            f"# {headline(depth, ranges)}",
            *_mergekit_warning(base, text, ranges),
            "# Run: mergekit-yaml THIS_FILE OUT --clone-tensors",
            "slices:",
            *(
                f"  - sources: [{{model: {model}, layer_range: [{start}, {end}]}}]"
                for start, end in ranges
            ),
            "merge_method: passthrough",
            *([f"dtype: {dtype}"] if dtype else []),
            "",
        ]
    )


def headline(depth: int, ranges: list[tuple[int, int]]) -> str:
    layers = stacked(ranges)
    removed = removed_layers(ranges, depth)
    if removed is not None:
        how = f"{removed} removed from each copy at the seam (SOLAR paper, section 2)"
    else:
        met = [(layers[i - 1], layers[i]) for i in seams(layers)]
        how = f"{len(ranges)} ranges, at the seams " + ", ".join(
            f"{a} then {b} ({how_far(a, b)})" for a, b in met
        )
    return f"{depth} -> {len(layers)} layers: {how}"


def _mergekit_warning(base: str, text: dict[str, Any], ranges: list[tuple[int, int]]) -> list[str]:
    """What MergeKit would leave as it was: it changes the depth alone (measured on 0.1.5)."""
    depth_key = next(key for key in DEPTH_KEYS if key in text)
    changed = config_rules.grow(text, stacked(ranges), depth_key).changes
    left = sorted(key for key, value in changed.items() if text.get(key) != value)
    left.remove(depth_key)
    if not left:
        return []
    return [
        f"# MergeKit changes the depth alone, but this config also says per layer: "
        f"{', '.join(left)}.",
        f"# Write the model with this instead: solar dus {shlex.quote(base)} --out OUT",
    ]
