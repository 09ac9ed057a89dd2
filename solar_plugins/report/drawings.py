"""The lineage of a run's models, as inline SVG."""

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
        f'<svg class="lineage" viewBox="0 0 {width:.0f} {height}" role="img" '
        # names stay readable on a phone, where the picture is moved sideways
        f'style="max-width:{width:.0f}px;min-width:{0.7 * width:.0f}px" '
        'aria-label="Lineage of the models"><title>Lineage of the models</title>'
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


def _places(
    nodes: list[Node], level: dict[str, int]
) -> tuple[dict[str, tuple[float, int, float]], list[list[str]]]:
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


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
