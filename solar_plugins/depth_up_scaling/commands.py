"""``solar dus``: the up-scaling of a base as a plain MergeKit config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from solar_plugins.depth_up_scaling.config_rules import refuse_grown
from solar_plugins.depth_up_scaling.layer_map import (
    default_remove_layers,
    layer_ranges,
    scaled_depth,
)
from solar_plugins.errors import SolarError

DEPTH_KEYS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


@click.command("dus")
@click.argument("base")
@click.option(
    "--remove-layers",
    type=int,
    metavar="M",
    help="Layers that each copy loses at the seam. Default: a quarter (8 of 32, as in the paper).",
)
def dus_command(base: str, remove_layers: int | None) -> None:
    """Print the MergeKit config that up-scales BASE, a folder or a Hub id.

    \b
    solar dus mistralai/Mistral-7B-v0.1 > dus.yml
    mergekit-yaml dus.yml ./outputs/dus --clone-tensors

    To train the up-scaled model, no file is needed: name `solar_plugins.DepthUpScalingPlugin` in
    the recipe, and it is up-scaled while it is loaded.
    """
    click.echo(mergekit_config(base, read_config(base), remove_layers), nl=False)


def mergekit_config(base: str, config: dict[str, Any], remove_layers: int | None = None) -> str:
    """MergeKit's passthrough YAML for the up-scaled `base`.

    Args:
        base: how MergeKit is to find the base.
        config: its ``config.json``.
        remove_layers: the paper's m; a quarter of the layers when None.

    Raises:
        SolarError: no deeper model comes out, or the base was grown already.
    """
    refuse_grown(config, base)
    text = config.get("text_config", config)
    depth = next((text[key] for key in DEPTH_KEYS if key in text), None)
    if depth is None:
        raise SolarError(
            f"base_model: config.json of {base} does not say how many layers it has "
            f"({', '.join(DEPTH_KEYS)}). Name a language model."
        )
    if remove_layers is None:
        remove_layers = default_remove_layers(depth)
    ranges = layer_ranges(depth, remove_layers)
    dtype = config.get("dtype") or config.get("torch_dtype") or text.get("dtype")
    model = json.dumps(base)  # a JSON string is a YAML string, whatever the path holds
    return "\n".join(
        [
            f"# {depth} -> {scaled_depth(depth, remove_layers)} layers: "
            f"{remove_layers} removed from each copy at the seam (SOLAR paper, section 2)",
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


def read_config(base: str) -> dict[str, Any]:
    """``config.json`` of a folder, or of a model on the Hub (from its cache when offline)."""
    folder = Path(base)
    if folder.is_dir():
        file = folder / "config.json"
        if not file.is_file():
            raise SolarError(f"base_model: {base} holds no config.json. Name a model's folder.")
    else:
        file = _from_hub(base)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SolarError(f"{file}: not readable as JSON ({error}). Fetch it again.") from None


def _from_hub(base: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(base, "config.json"))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RuntimeError) as error:
        # huggingface_hub's second try without a network ends in "the client has been closed"
        raise SolarError(
            f"base_model: {base} is no folder here, and its config.json did not come from the Hub "
            f"({type(error).__name__}). Name a folder, or a Hub id that you can reach."
        ) from None
