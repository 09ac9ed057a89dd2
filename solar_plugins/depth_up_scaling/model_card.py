"""The model card of an up-scaled checkpoint: what it is, and how it was made."""

from __future__ import annotations

from pathlib import Path

import yaml

from solar_plugins import __version__
from solar_plugins.depth_up_scaling.growth import Growth
from solar_plugins.depth_up_scaling.layer_map import ranges_of
from solar_plugins.models import base_files, licence
from solar_plugins.render import render

# metadata of the base's card that also holds for the deeper model
_KEPT = (*licence.KEYS, "language", "pipeline_tag")

_START = {
    "copy": "Every copied layer starts as its base layer, as in the paper. At the seams layers "
    "meet that never followed each other, which costs quality until the model is trained on.",
    "identity": "The output projections of the added layers are zero: it computes what its base "
    "computes until it is trained.",
    "average": "An added layer starts as the mean of the two base layers that it is between, which "
    "costs quality until the model is trained on.",
    "optimal_transport": "An added layer starts as the mean of the two base layers that it is "
    "between, their heads and neurons matched by optimal transport; its output projections are "
    "zero: it computes what its base computes until it is trained.",
}


def model_card(
    name: str, base: str, folder: Path, command: str, growth: Growth, parameters: int
) -> str:
    """``README.md`` of the model; the same arguments give the same text: no date, no machine.

    Licence and languages are copied from the base's card in `folder`. `base` is the base as the
    command named it.
    """
    card, hub_id = folder / licence.CARD, base_files.hub_id(base, folder)
    kept = licence.front_matter(card) if card.is_file() else {}
    front = {
        "base_model": hub_id or Path(base).resolve().name,  # not a path of this machine
        "library_name": "transformers",
        **{key: kept[key] for key in _KEPT if key in kept},
        "tags": ["depth-up-scaling", "solar-plugins"],
    }
    shown = f"[{base}](https://huggingface.co/{hub_id})" if hub_id else f"`{front['base_model']}`"
    rows, at = [], 0
    for start, end in ranges_of(growth.layer_map):
        rows.append((at, at + end - start - 1, start, end - 1))
        at += end - start
    text = render(
        __file__,
        "model_card.md",
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True),
        **{"name": name, "shown": shown, "depth": at, "base_depth": growth.depth},
        **{"parameters": parameters, "start": _START[growth.init], "command": command},
        **{"version": __version__, "rows": rows},
    )
    return f"{text}\n"
