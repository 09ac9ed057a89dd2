"""The lineage of a run's models and the layer map of an up-scaling, as inline SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

NODE_WIDTH, NODE_HEIGHT, GAP_X, GAP_Y, MARGIN = 116, 56, 14, 32, 6


@dataclass(frozen=True)
class Node:
    """One model: its name, up to two lines below, the models it comes from, and its CSS class."""

    name: str
    details: tuple[str, ...]
    sources: tuple[str, ...]
    look: str


def lineage(nodes: list[Node]) -> str:
    """The models from top to bottom, each below all that it comes from.

    A line that passes over a level keeps a place of its own there, so it crosses no box.
    """
    known = {node.name: node for node in nodes}
    level: dict[str, int] = {}
    for node in nodes:  # they come in an order in which sources are first
        level[node.name] = 1 + max((level[s] for s in node.sources if s in level), default=-1)
    places, routes = _places(nodes, level)
    width = max((x + half for x, _, half in places.values()), default=0) + MARGIN
    height = MARGIN * 2 + (max(level.values(), default=0) + 1) * (NODE_HEIGHT + GAP_Y) - GAP_Y
    parts = [
        f'<svg class="lineage" viewBox="0 0 {width:.0f} {height}" style="max-width:{width:.0f}px" '
        f'role="img" aria-label="Lineage of the models"><title>Lineage of the models</title>'
    ]
    for route in routes:
        parts.append(f'<path class="edge" d="{_path([places[key] for key in route])}"/>')
    for name, node in known.items():
        x, row, _ = places[name]
        left, top = x - NODE_WIDTH / 2, MARGIN + row * (NODE_HEIGHT + GAP_Y)
        first = top + NODE_HEIGHT / 2 + 4 - 7 * len(node.details)
        title = escape(", ".join([name, *node.details]))
        parts.append(
            f'<g class="node {escape(node.look)}"><title>{title}</title><rect x="{left:.1f}" '
            f'y="{top}" width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="7"/>'
            f'<text class="name" x="{x:.1f}" y="{first:g}">{escape(_short(name, 16))}</text>'
        )
        for number, detail in enumerate(node.details, start=1):
            y = first + 1 + 14 * number
            text = escape(_short(detail, 20))
            parts.append(f'<text class="detail" x="{x:.1f}" y="{y:g}">{text}</text>')
        parts.append("</g>")
    parts.append("</svg>")
    return "".join(parts)


def _places(nodes: list[Node], level: dict[str, int]):
    """Where each box and each passing line lies: `{key: (x, level, half its width)}`, and the
    routes of the lines as keys from source to target."""
    rows: dict[int, list[str]] = {}
    above: dict[str, list[str]] = {}
    half: dict[str, float] = {}
    routes = []
    for node in nodes:
        rows.setdefault(level[node.name], []).append(node.name)
        half[node.name] = NODE_WIDTH / 2
        above.setdefault(node.name, [])
        for source in node.sources:
            if source not in level:
                continue
            route = [source]
            for row in range(level[source] + 1, level[node.name]):
                key = f"{source}\n{node.name}\n{row}"  # no name of a stage holds a newline
                rows.setdefault(row, []).append(key)
                half[key] = 5.0
                above[key] = [route[-1]]
                route.append(key)
            above[node.name].append(route[-1])
            routes.append([*route, node.name])
    x: dict[str, float] = {}
    for row in sorted(rows):
        wanted = {
            key: sum(x[up] for up in above[key]) / len(above[key]) if above[key] else 0.0
            for key in rows[row]
        }
        placed, right = {}, None
        for key in sorted(rows[row], key=wanted.__getitem__):
            centre = wanted[key]
            if right is not None:
                centre = max(centre, right + GAP_X + half[key])
            placed[key], right = centre, centre + half[key]
        shift = sum(wanted[key] - placed[key] for key in placed) / len(placed)
        x |= {key: centre + shift for key, centre in placed.items()}
    left = min((x[key] - half[key] for key in x), default=0.0)
    row_of = {key: row for row, keys in rows.items() for key in keys}
    return {key: (x[key] - left + MARGIN, row_of[key], half[key]) for key in x}, routes


def _path(points: list[tuple[float, int, float]]) -> str:
    """A smooth line from the bottom of the first box to the top of the last."""
    x, row, _ = points[0]
    y = MARGIN + row * (NODE_HEIGHT + GAP_Y) + NODE_HEIGHT
    path = [f"M{x:.1f} {y}"]
    for x_next, row_next, _ in points[1:]:
        y_next = MARGIN + row_next * (NODE_HEIGHT + GAP_Y)
        middle = (y + y_next) / 2
        path.append(f"C{x:.1f} {middle:.1f} {x_next:.1f} {middle:.1f} {x_next:.1f} {y_next}")
        y = y_next + NODE_HEIGHT
        if (x_next, row_next) != points[-1][:2]:
            path.append(f"L{x_next:.1f} {y}")
        x = x_next
    return "".join(path)


def layer_map(layers: list[int], base_depth: int) -> str:
    """The up-scaled model's layers below the copies of the base that they come from.

    Every copy is drawn where its kept layers land, so that layers of one column are the same layer.
    The layers that a copy loses at a seam are left open.
    """
    runs = runs_of(layers)
    depth = len(layers)
    cell = max(7.0, min(34.0, 700 / depth))
    numbered = cell >= 14
    size, gap, label = min(cell, 22.0), 12, 74
    width = label + depth * cell + MARGIN
    rows = [(f"copy {number}", run) for number, run in enumerate(runs, start=1)]
    height = (len(rows) + 1) * (size + gap) + 22
    parts = [
        f'<svg class="layers" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'style="max-width:{width:.0f}px;min-width:{min(width, label + 11 * depth):.0f}px" '
        f'aria-label="Layer map"><title>Layer map: {base_depth} to {depth} layers</title>'
    ]
    for number, (name, (start, stop, first)) in enumerate(rows):
        y = number * (size + gap)
        parts.append(f'<text class="label" x="0" y="{y + size * 0.72:.1f}">{name}</text>')
        for layer in range(base_depth):
            column = start + layer - first
            if 0 <= column < depth:
                kept = first <= layer < first + stop - start
                look = f"copy-{number % 2}" if kept else "removed"
                parts.append(_cell(label + column * cell, y, cell, size, look, layer, numbered))
    y = len(rows) * (size + gap) + 4
    parts.append(f'<text class="label" x="0" y="{y + size * 0.72:.1f}">up-scaled</text>')
    for number, (_, (start, stop, first)) in enumerate(rows):
        for column in range(start, stop):
            source = first + column - start
            title = f"layer {column} is the base's layer {source}"
            x = label + column * cell
            parts.append(_cell(x, y, cell, size, f"copy-{number % 2}", column, numbered, title))
    for start, _, first in runs[1:]:
        x = label + start * cell
        parts.append(f'<line class="seam" x1="{x}" y1="0" x2="{x}" y2="{y + size + 4:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{x}" y="{y + size + 15:.1f}" text-anchor="middle">'
            f"seam: base layer {layers[start - 1]}, then {first}</text>"
        )
    parts.append("</svg>")
    return "".join(parts)


def runs_of(layers: list[int]) -> list[tuple[int, int, int]]:
    """The stretches of consecutive base layers as `(start, stop, base layer at start)`.

    >>> runs_of([0, 1, 2, 1, 2, 3])
    [(0, 3, 0), (3, 6, 1)]
    """
    starts = [i for i in range(len(layers)) if i == 0 or layers[i] != layers[i - 1] + 1]
    stops = [*starts[1:], len(layers)]
    return [(start, stop, layers[start]) for start, stop in zip(starts, stops, strict=True)]


def _cell(
    x: float,
    y: float,
    cell: float,
    size: float,
    look: str,
    number: int,
    numbered: bool,
    title: str = "",
) -> str:
    text = ""
    if numbered:
        text = (
            f'<text class="number" x="{x + cell / 2:.1f}" y="{y + size * 0.7:.1f}">{number}</text>'
        )
    return (
        f'<g class="{look}"><title>{escape(title or f"base layer {number}")}</title>'
        f'<rect x="{x + 0.75:.2f}" y="{y:.1f}" width="{cell - 1.5:.2f}" height="{size:.1f}" '
        f'rx="2"/>{text}</g>'
    )


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
