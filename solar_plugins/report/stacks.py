"""What `solar dus BASE --measure TEXT --json` printed, as pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from markupsafe import Markup

from solar_plugins.errors import SolarError
from solar_plugins.report.charts import Dot, Figure, Series, dot_chart, line_chart
from solar_plugins.report.render import TEMPLATES

FILE = "measured_stacks.json"
"""Under this name in a run's folder, `solar report` draws it."""


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
    what = "Bits per byte before training"
    dots = [
        Dot(f"{row['name']} ({row['num_hidden_layers']} layers)", row["bits_per_byte"])
        for row in measured["stacks"]
        if row["bits_per_byte"] is not None
    ]
    alike = [(float(i), value) for i, value in enumerate(measured["layer_similarity"])]
    title = "Cosine of each base layer's input and output"
    line = Series("cosine", alike)
    return [
        Figure(what, dot_chart(what, dots, digits=3, width=520, left=250)),
        Figure(title, line_chart(title, [line], "layer of the base"), [line]),
    ]


def stacks_svg(measured: dict[str, Any]) -> str:
    """Both pictures below one another, a whole SVG document."""
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    parts, y, gap = [], 0, 26
    for figure in stack_figures(measured):
        size = re.search(r'viewBox="0 0 (\d+) (\d+)"', figure.picture)
        assert size is not None
        width, height = map(int, size.groups())
        parts.append(Markup('<text x="8" y="{}">{}</text>').format(y + 18, figure.caption))
        place = Markup('<svg y="{}" style="width: {}px; height: {}px">{}</svg>')
        parts.append(place.format(y + gap, width, height, Markup(figure.picture)))
        y += gap + height
    page = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 {0}" width="520" height="{0}">'
        '<style>{1}</style><rect width="520" height="{0}" style="fill: var(--card)"/>'
        '<g class="chart">{2}</g></svg>\n'
    )
    return str(page.format(y, style, Markup("\n").join(parts)))
