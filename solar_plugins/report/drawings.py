"""The lineage of a run's models, as inline SVG."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from solar_plugins.render import render

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
    y = {key: MARGIN + row * (NODE_HEIGHT + GAP_Y) for key, row in level.items()}
    return render(
        __file__,
        "lineage.svg",
        **{"width": width, "height": height, "nodes": nodes, "x": x, "y": y},
        paths=[_path([(x[key], y[key]) for key in route]) for route in routes],
        box_width=NODE_WIDTH,
        box_height=NODE_HEIGHT,
    )


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
