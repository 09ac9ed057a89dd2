"""The lineage of a run's models, as inline SVG."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from solar_plugins.report.charts import tag

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
    level: dict[str, int] = {}
    for node in nodes:  # they come in an order in which sources are first
        level[node.name] = 1 + max((level[s] for s in node.sources if s in level), default=-1)
    routes = []
    for node in nodes:
        for source in (source for source in node.sources if source in level):
            between = range(level[source] + 1, level[node.name])
            # no name of a stage holds a newline
            passing = {f"{source}\n{node.name}\n{row}": row for row in between}
            level |= passing
            routes.append([source, *passing, node.name])
    x, width = _across(level, routes)
    height = MARGIN * 2 + (max(level.values(), default=0) + 1) * (NODE_HEIGHT + GAP_Y) - GAP_Y
    title = "Lineage of the models"
    parts = [tag("title", title)]
    for route in routes:
        points = [(x[key], MARGIN + level[key] * (NODE_HEIGHT + GAP_Y)) for key in route]
        parts.append(tag("path", class_="edge", d=_path(points)))
    for node in nodes:
        centre, top = x[node.name], MARGIN + level[node.name] * (NODE_HEIGHT + GAP_Y)
        first = top + NODE_HEIGHT / 2 + 4 - 7 * len(node.details)
        box = {"x": centre - NODE_WIDTH / 2, "y": top, "width": NODE_WIDTH, "height": NODE_HEIGHT}
        lines = [tag("text", _short(node.name, 16), class_="name", x=centre, y=first)]
        for number, detail in enumerate(node.details, start=1):
            y = first + 1 + 14 * number
            lines.append(tag("text", _short(detail, 20), class_="detail", x=centre, y=y))
        told = tag("title", ", ".join([node.name, *node.details]))
        parts.append(tag("g", told, tag("rect", **box, rx=7), *lines, class_=f"node {node.look}"))
    # names stay readable on a phone, where the picture is moved sideways
    style = f"max-width:{width:.0f}px;min-width:{0.7 * width:.0f}px"
    view = {"viewBox": f"0 0 {width:.0f} {height}", "role": "img", "aria_label": title}
    return tag("svg", *parts, class_="lineage", style=style, **view)


def _across(level: dict[str, int], routes: list[list[str]]) -> tuple[dict[str, float], float]:
    """The middle of each box and each passing line, and the width of all.

    Each wants to be below the middle of what it comes from; level by level they are moved apart.
    """
    half = {key: 5.0 if "\n" in key else NODE_WIDTH / 2 for key in level}
    above = defaultdict(list)
    for route in routes:
        for up, key in pairwise(route):
            above[key].append(up)
    x: dict[str, float] = {}
    for row in range(max(level.values(), default=-1) + 1):
        keys = [key for key in level if level[key] == row]
        wanted = {key: fmean(x[up] for up in above[key]) if above[key] else 0.0 for key in keys}
        placed: dict[str, float] = {}
        right = float("-inf")
        for key in sorted(keys, key=wanted.__getitem__):
            placed[key] = max(wanted[key], right + GAP_X + half[key])
            right = placed[key] + half[key]
        shift = fmean(wanted[key] - placed[key] for key in keys)
        x |= {key: centre + shift for key, centre in placed.items()}
    left = min((x[key] - half[key] for key in x), default=0.0) - MARGIN
    x = {key: round(centre - left, 1) for key, centre in x.items()}
    return x, max((x[key] + half[key] for key in x), default=0.0) + MARGIN


def _path(tops: list[tuple[float, int]]) -> str:
    """A smooth line from the bottom of the first box to the top of the last."""
    (x, y), *rest = tops
    y += NODE_HEIGHT
    path = [f"M{x:.1f} {y}"]
    for x_next, y_next in rest:
        middle = (y + y_next) / 2
        path.append(f"C{x:.1f} {middle:.1f} {x_next:.1f} {middle:.1f} {x_next:.1f} {y_next}")
        x, y = x_next, y_next + NODE_HEIGHT
        path.append(f"L{x:.1f} {y}")
    return "".join(path[:-1])  # not through the last box


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
