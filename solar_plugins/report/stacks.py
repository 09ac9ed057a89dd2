"""What `solar dus BASE --measure TEXT --json` printed, as pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from markupsafe import Markup

from solar_plugins.errors import SolarError
from solar_plugins.render import render
from solar_plugins.report.charts import Dot, Figure, Series, dot_chart, line_chart

FILE, WIDTH, _CAPTION = "measured_stacks.json", 520, 26
"""What `solar report` draws from a run's folder; pixels of a picture and of the line above it."""


def read_stacks(folder: Path) -> dict[str, Any] | None:
    """What was measured for the run in `folder`; None where nothing was.

    Raises:
        SolarError: the file is not what the command prints.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        stack_figures(found)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise SolarError(
            f"{file}: not what `solar dus BASE --measure TEXT --json` prints "
            f"({type(error).__name__}: {error}). Write it again, or remove it."
        ) from None
    return found


def stack_figures(measured: dict[str, Any]) -> list[Figure]:
    """The loss of each stack before training, and how alike each layer's input and output are."""
    what, title = "Bits per byte before training", "Cosine of each base layer's input and output"
    dots = [
        Dot(f"{row['name']} ({row['num_hidden_layers']} layers)", row["bits_per_byte"])
        for row in measured["stacks"]
        if row["bits_per_byte"] is not None
    ]
    alike = Series("cosine", [(float(i), v) for i, v in enumerate(measured["layer_similarity"])])
    return [
        Figure(what, dot_chart(what, dots, digits=3, width=WIDTH, left=250)),
        Figure(title, line_chart(title, [alike], "layer of the base"), [alike]),
    ]


def stacks_svg(measured: dict[str, Any]) -> str:
    """Both pictures below one another, a whole SVG document."""
    placed, y = [], 0
    for figure in stack_figures(measured):
        width, height = map(int, re.findall(r"\d+", figure.picture)[2:4])  # its viewBox
        scale = WIDTH / width
        group = f'<g transform="translate(0 {y + _CAPTION}) scale({scale:.4f})"'
        picture = str(figure.picture).replace("<svg", group).replace("</svg>", "</g>")
        placed.append((y, figure.caption, Markup(picture)))
        y += _CAPTION + round(height * scale)
    return render(__file__, "stacks.svg", figures=placed, width=WIDTH, height=y)
