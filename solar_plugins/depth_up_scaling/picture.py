"""The layer map as a picture: where each layer of the up-scaled model comes from, as SVG.

One column per layer of the model, one row per layer of the base. The base itself would be the
diagonal; each stacked range is a piece of a diagonal, and where one ends and the next begins is a
seam. Pure, and drawn without a library: a file that opens everywhere and fits into a page.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape

from solar_plugins.depth_up_scaling.layer_map import added_layers, ranges_of, seams

LEFT, TOP, RIGHT, GAP = 52, 62, 74, 12
LINE = 15
COLOURS = 4
LETTER = 6.0
"""Mean width of a letter in the small print, in pixels: what decides whether two labels collide."""

_HOLLOW = {
    "identity": "Hollow: added layers whose output projections start at zero.",
    "average": "Hollow: added layers, each the mean of the two base layers that it is between.",
    "optimal_transport": "Hollow: added layers, each the mean of the two matched base layers that "
    "it is between, their output projections at zero.",
}
"""Init -> what is drawn hollow."""

Scale = Callable[[float], float]
"""Layer -> position in pixels."""

_STYLE = """
.layer-map { font: 11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.layer-map .page { fill: #ffffff; stroke: #e4e1da; }
.layer-map text { fill: #596170; }
.layer-map .head { fill: #1c1f24; font-size: 15px; font-weight: 650; }
.layer-map .strong { fill: #1c1f24; }
.layer-map .grid { stroke: #e9e6df; }
.layer-map .base { stroke: #b9bec7; stroke-dasharray: 2 3; }
.layer-map .seam { stroke: #b3261e; stroke-width: 1.4; stroke-dasharray: 4 3; }
.layer-map .seam-name { fill: #b3261e; }
.layer-map .mid { text-anchor: middle; }
.layer-map .end { text-anchor: end; }
.layer-map .r0 { fill: #2563a8; } .layer-map .r1 { fill: #d97b1c; }
.layer-map .r2 { fill: #2f8f5b; } .layer-map .r3 { fill: #7a4fb0; }
.layer-map .use { fill: #596170; }
.layer-map .added { fill-opacity: .25; stroke-width: 1.2; }
.layer-map .added.r0 { stroke: #2563a8; } .layer-map .added.r1 { stroke: #d97b1c; }
.layer-map .added.r2 { stroke: #2f8f5b; } .layer-map .added.r3 { stroke: #7a4fb0; }
@media (prefers-color-scheme: dark) {
.layer-map .page { fill: #1d2025; stroke: #31353d; }
.layer-map text { fill: #a4acb8; }
.layer-map .head, .layer-map .strong { fill: #e7e6e3; }
.layer-map .grid { stroke: #2a2e35; }
.layer-map .base { stroke: #565d69; }
.layer-map .seam { stroke: #ff8a80; }
.layer-map .seam-name { fill: #ff8a80; }
.layer-map .r0 { fill: #6ea8e6; } .layer-map .r1 { fill: #f0a04b; }
.layer-map .r2 { fill: #5cc28c; } .layer-map .r3 { fill: #b794e6; }
.layer-map .use { fill: #a4acb8; }
.layer-map .added.r0 { stroke: #6ea8e6; } .layer-map .added.r1 { stroke: #f0a04b; }
.layer-map .added.r2 { stroke: #5cc28c; } .layer-map .added.r3 { stroke: #b794e6; }
}
"""


def layer_map_svg(
    layer_map: Sequence[int], base_num_hidden_layers: int, init: str = "copy", name: str = ""
) -> str:
    """The picture of an up-scaling, a whole SVG document.

    Args:
        layer_map: base layer of every target layer.
        base_num_hidden_layers: depth of the base.
        init: how the added layers start; drawn hollow unless they are copies.
        name: of the base, for the heading.
    """
    depth, base_depth = len(layer_map), base_num_hidden_layers
    cell = max(5.0, min(30.0, 720 / depth, 560 / base_depth))
    width = max(LEFT + depth * cell + RIGHT, 400.0)
    plot_height = base_depth * cell
    joints = seams(layer_map)
    added = set(added_layers(layer_map, base_depth) or ()) if init in _HOLLOW else set()
    notes = in_words(layer_map, base_depth, init)
    letters = int((width - 2 * GAP - 12) / LETTER)
    lines = [line for note in notes for line in textwrap.wrap(note, letters)]
    height = TOP + plot_height + 44 + LINE * len(lines) + GAP
    heading = f"{base_depth} → {depth} layers" + (f" · {name}" if name else "")

    def x(layer: float) -> float:
        return LEFT + layer * cell

    def y(layer: float) -> float:
        """Top edge of a base layer's row; layer 0 is the lowest row."""
        return TOP + (base_depth - 1 - layer) * cell

    floor = y(-1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="layer-map" role="img" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'style="width:{width:.0f}px;height:auto" aria-label="Layer map, {escape(heading)}">',
        f"<title>Layer map: {escape(heading)}</title><desc>{escape(' '.join(notes))}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{width - 1:.1f}" height="{height - 1:.1f}" '
        'rx="8"/>',
        f'<text class="head" x="{GAP}" y="24">{escape(_short(heading, int(width / 8.6)))}</text>',
    ]
    step = _step(depth)
    for layer in range(0, depth, step):
        parts.append(_line("grid", x(layer), TOP, x(layer), floor))
        parts.append(_text("mid", x(layer + 0.5), floor + 14, str(layer)))
    for layer in range(0, base_depth, step):
        parts.append(_line("grid", LEFT, y(layer - 1), x(depth), y(layer - 1)))
        parts.append(_text("end", LEFT - 6, y(layer) + cell / 2 + 4, str(layer)))
    straight = min(depth, base_depth)
    parts.append(_line("base", x(0), floor, x(straight), y(straight - 1)))
    parts.append(_text("strong", LEFT, floor + 30, "layer of the model →"))
    parts.append(
        f'<text class="strong" transform="translate(16 {floor:.1f}) rotate(-90)">'
        "layer of the base →</text>"
    )
    parts += _cells(layer_map, joints, added, cell, x, y)
    for joint in joints:
        parts.append(_line("seam", x(joint), TOP - 4, x(joint), floor))
    parts += _seam_names(layer_map, joints, x, width)
    parts += _uses(layer_map, base_depth, cell, x(depth) + 18, y)
    for number, line in enumerate(lines):
        parts.append(_text("", GAP, floor + 30 + GAP + LINE * (number + 1), line))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def how_far(before: int, after: int) -> str:
    """How far apart two base layers are that meet at a seam, in words.

    >>> how_far(23, 8), how_far(7, 7), how_far(3, 9)
    ('15 back', 'the same again', '5 left out')
    """
    if after == before:
        return "the same again"
    return f"{before - after} back" if after < before else f"{after - before - 1} left out"


def in_words(
    layer_map: Sequence[int], base_num_hidden_layers: int, init: str = "copy"
) -> list[str]:
    """What the picture shows, one sentence each.

    >>> in_words([0, 1, 2, 1, 2, 3], 4)
    ['Layers of the base, once: 0, 3; twice: 1–2.', 'Seam: 2 → 1 (1 back).']
    """
    uses = Counter(layer_map)
    by_count: dict[int, list[int]] = {}
    for layer in range(base_num_hidden_layers):
        by_count.setdefault(uses[layer], []).append(layer)
    words = {0: "left out", 1: "once", 2: "twice"}
    used = "; ".join(
        f"{words.get(count, f'{count} times')}: {_spans(layers)}"
        for count, layers in sorted(by_count.items())
    )
    met = [(layer_map[joint - 1], layer_map[joint]) for joint in seams(layer_map)]
    if len(met) > 8:
        found = Counter(how_far(*pair) for pair in met)
        seam_text = ", ".join(f"{count} × {far}" for far, count in found.most_common(6))
    else:
        seam_text = ", ".join(
            f"{before} → {after} ({how_far(before, after)})" for before, after in met
        )
    notes = [
        f"Layers of the base, {used}.",
        f"{'Seam' if len(met) == 1 else 'Seams'}: {seam_text}.",
    ]
    return [*notes, _HOLLOW[init]] if init in _HOLLOW else notes


def _cells(
    layer_map: Sequence[int],
    joints: Sequence[int],
    added: set[int],
    cell: float,
    x: Scale,
    y: Scale,
) -> list[str]:
    parts, run = [], 0
    inset = 0.75 if cell > 7 else 0.3
    for i, j in enumerate(layer_map):
        run += i in joints
        look = f"r{run % COLOURS}" + (" added" if i in added else "")
        title = f"layer {i} is layer {j} of the base" + (", added" if i in added else "")
        size = cell - 2 * inset
        parts.append(
            f'<rect class="cell {look}" x="{x(i) + inset:.2f}" y="{y(j) + inset:.2f}" '
            f'width="{size:.2f}" height="{size:.2f}" rx="{min(3.0, cell / 5):.1f}">'
            f"<title>{title}</title></rect>"
        )
    return parts


def _seam_names(
    layer_map: Sequence[int], joints: Sequence[int], x: Scale, width: float
) -> list[str]:
    """Names of the seams above the plot, in two rows; those without room are in the notes only."""
    parts = []
    taken = [0.0, 0.0]  # right end of the last name in each row
    for joint in joints:
        before, after = layer_map[joint - 1], layer_map[joint]
        text = f"{before} → {after}, {how_far(before, after)}"
        half = len(text) * LETTER / 2
        centre = min(max(x(joint), half + GAP), width - half - GAP)
        row = next((r for r in (0, 1) if centre - half > taken[r] + 8), None)
        if row is not None:
            taken[row] = centre + half
            parts.append(_text("seam-name mid", centre, TOP - 8 - 12 * row, text))
    return parts


def _uses(
    layer_map: Sequence[int], base_depth: int, cell: float, left: float, y: Scale
) -> list[str]:
    """A column that says how often each base layer is used."""
    uses = Counter(layer_map)
    most = max(uses.values())
    parts = [_text("mid", left + 9, y(-1) + 14, "used")]
    inset = 0.75 if cell > 7 else 0.3
    labelled = None
    for layer in range(base_depth):
        count = uses[layer]
        parts.append(
            f'<rect class="use" x="{left:.1f}" y="{y(layer) + inset:.2f}" width="18" '
            f'height="{cell - 2 * inset:.2f}" fill-opacity="{count / most:.2f}">'
            f"<title>layer {layer} of the base: used {count} times</title></rect>"
        )
        if count != labelled and (labelled is None or cell >= 10 or _starts_long(uses, layer)):
            parts.append(_text("", left + 23, y(layer) + cell / 2 + 4, f"×{count}"))
            labelled = count
    return parts


def _starts_long(uses: Counter[int], layer: int) -> bool:
    """Whether three layers from `layer` on are used equally often: room for a label."""
    return uses[layer] == uses[layer + 1] == uses[layer + 2]


def _spans(layers: Sequence[int]) -> str:
    """Layer numbers as stretches.

    >>> _spans([0, 1, 2, 5])
    '0–2, 5'
    """
    return ", ".join(
        str(start) if end == start + 1 else f"{start}–{end - 1}" for start, end in ranges_of(layers)
    )


def _step(depth: int) -> int:
    return next(step for step in (1, 2, 4, 8, 16, 32, depth) if depth / step <= 16)


def _line(look: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{look}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(look: str, x: float, y: float, text: str) -> str:
    return f'<text class="{look}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
