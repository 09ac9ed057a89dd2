"""The model card of an up-scaled checkpoint: what it is, and how it was made."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from solar_plugins import __version__

# What a model takes over from the card of its base, because it is still true of it.
_KEPT = ("license", "license_name", "license_link", "language", "pipeline_tag")


def model_card(
    name: str,
    base: str,
    hub_id: str | None,
    command: str,
    ranges: Sequence[tuple[int, int]],
    base_depth: int,
    parameters: int,
    identity: bool,
    base_card: str = "",
) -> str:
    """``README.md`` of the model: front matter as the Hub reads it, then prose.

    The same arguments give the same text: no date, no machine.

    Args:
        name: what the model is called.
        base: the base as the command named it.
        hub_id: its Hub id, if it has one.
        command: the command that wrote the model.
        ranges: the stacked ranges of base layers.
        base_depth: the base's layers.
        parameters: how many numbers its weights hold.
        identity: whether the added layers start as no-ops.
        base_card: ``README.md`` of the base, whose licence and languages are taken over.
    """
    import yaml

    kept = _front_matter(base_card)
    front = {
        "base_model": hub_id or Path(base).resolve().name,  # a path of this machine is no name
        "library_name": "transformers",
        **{key: kept[key] for key in _KEPT if key in kept},
        "tags": ["depth-up-scaling", "solar-plugins"],
    }
    depth = sum(end - start for start, end in ranges)
    shown = f"[{base}](https://huggingface.co/{hub_id})" if hub_id else f"`{front['base_model']}`"
    rows, at = [], 0
    for start, end in ranges:
        rows.append(f"| {at} to {at + end - start - 1} | {start} to {end - 1} |")
        at += end - start
    start_of = (
        "The output projections of the added layers are zero: it computes what its base computes "
        "until it is trained."
        if identity
        else "Every copied layer starts as its base layer, as in the paper. At the seams layers "
        "meet that never followed each other, which costs quality until the model is trained on."
    )
    return "\n".join(
        [
            "---",
            yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            f"# {name}",
            "",
            f"{shown} with {depth} layers in place of {base_depth} ({parameters:,} parameters), "
            "made by depth up-scaling "
            "([SOLAR 10.7B](https://arxiv.org/abs/2312.15166), section 2). "
            "Up-scaling itself trains nothing.",
            "",
            start_of,
            "",
            "## How it was made",
            "",
            "```",
            command,
            "```",
            "",
            f"solar_plugins {__version__} copied these layers, byte for byte:",
            "",
            "| layers here | layers of the base |",
            "|---|---|",
            *rows,
            "",
            "`config.json` keeps the same under `depth_up_scaling`: a model with that mark is not "
            "up-scaled again.",
            "",
        ]
    )


def _front_matter(card: str) -> dict[str, Any]:
    """The YAML head of a model card; nothing where it has none that can be read."""
    import yaml

    found = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", card, re.DOTALL)
    try:
        front = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return {}
    return json.loads(json.dumps(front, default=str)) if isinstance(front, dict) else {}
