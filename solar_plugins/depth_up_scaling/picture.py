"""The layer map as a picture: where each layer of the up-scaled model comes from, as SVG.

One column per layer of the model, one row per layer of the base. The base itself would be the
diagonal; each stacked range is a piece of a diagonal, and where one ends and the next begins is a
seam. A file that opens everywhere and fits into a page.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate

from solar_plugins.depth_up_scaling.layer_map import added_layers, ranges_of, seams
from solar_plugins.render import render

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
    floor = TOP + base_depth * cell
    joints = seams(layer_map)
    ranges = accumulate(i in joints for i in range(depth))
    notes = in_words(layer_map, base_depth, init)
    letters = int((width - 2 * GAP - 12) / LETTER)
    lines = [line for note in notes for line in textwrap.wrap(note, letters)]
    uses = Counter(layer_map)

    def x(layer: float) -> float:
        return LEFT + layer * cell

    def y(layer: float) -> float:
        """Top edge of a base layer's row; layer 0 is the lowest row."""
        return TOP + (base_depth - 1 - layer) * cell

    return render(
        __file__,
        "layer_map.svg",
        **{"width": width, "height": floor + 44 + LINE * len(lines) + GAP, "floor": floor},
        **{"left": LEFT, "top": TOP, "gap": GAP, "line_height": LINE, "cell": cell, "x": x, "y": y},
        inset=0.75 if cell > 7 else 0.3,
        step=next(step for step in (1, 2, 4, 8, 16, 32, depth) if depth / step <= 16),
        heading=f"{base_depth} → {depth} layers" + (f" · {name}" if name else ""),
        **{"depth": depth, "base_depth": base_depth, "straight": min(depth, base_depth)},
        cells=[(i, j, r % COLOURS) for (i, j), r in zip(enumerate(layer_map), ranges, strict=True)],
        added=set(added_layers(layer_map, base_depth) or ()) if init in _HOLLOW else set(),
        joints=joints,
        seam_names=_seam_names(layer_map, joints, x, width),
        uses=_labelled([uses[layer] for layer in range(base_depth)], cell),
        most=max(uses.values()),
        notes=notes,
        lines=lines,
    )


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


def _seam_names(
    layer_map: Sequence[int], joints: Sequence[int], x: Callable[[float], float], width: float
) -> list[tuple[str, float, int]]:
    """Names of the seams with the middle of each, in two rows above the plot; those without room
    are in the notes only."""
    names = []
    taken = [0.0, 0.0]  # right end of the last name in each row
    for joint in joints:
        before, after = layer_map[joint - 1], layer_map[joint]
        text = f"{before} → {after}, {how_far(before, after)}"
        half = len(text) * LETTER / 2
        centre = min(max(x(joint), half + GAP), width - half - GAP)
        row = next((r for r in (0, 1) if centre - half > taken[r] + 8), None)
        if row is not None:
            taken[row] = centre + half
            names.append((text, centre, row))
    return names


def _labelled(uses: Sequence[int], cell: float) -> list[tuple[int, int, bool]]:
    """Each base layer, how often it is used, and whether that is written beside it: where the
    number changes and, in low rows, stays for three layers."""
    rows: list[tuple[int, int, bool]] = []
    shown = None
    for layer, count in enumerate(uses):
        has_room = shown is None or cell >= 10 or [*uses[layer : layer + 3]] == [count] * 3
        is_labelled = count != shown and has_room
        shown = count if is_labelled else shown
        rows.append((layer, count, is_labelled))
    return rows


def _spans(layers: Sequence[int]) -> str:
    """Layer numbers as stretches.

    >>> _spans([0, 1, 2, 5])
    '0–2, 5'
    """
    return ", ".join(
        str(start) if end == start + 1 else f"{start}–{end - 1}" for start, end in ranges_of(layers)
    )
