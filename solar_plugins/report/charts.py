"""Charts as inline SVG, sized so that several fit a desktop and one fits a phone.

Colours and fonts come from the page's style sheet (classes `series-0`, `axis`, …), so that the same
picture serves light, dark and print. Own code: matplotlib is not in the stack, and a plotly page
carries 4 MB of script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from solar_plugins.render import render

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 34

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """Points of one line, in the order of x; `faint` ones are drawn thin behind the others."""

    label: str
    points: Points
    color: int = 0
    faint: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture with its caption and lines; empty where there was nothing to draw."""

    caption: str
    picture: str
    lines: list[Series] = field(default_factory=list)

    def key(self) -> list[Series]:
        """One line of each label, the last, without those that are drawn behind."""
        return list(
            {line.label: line for line in self.lines if not line.faint and line.points}.values()
        )


def line_chart(
    title: str,
    series: list[Series],
    x_label: str,
    bounds: Iterable[float] = (),
    names: dict[float, str] | None = None,
) -> str:
    """An SVG of `series` over one axis, with marks at `bounds` (where a next step begins).

    Args:
        names: for values of x that are a choice and not a time: the ticks are theirs, each with its
            name below it, and the lines have a dot at each.

    Returns:
        An empty string where there is nothing to draw.
    """
    series = [line for line in series if line.points]
    if not series:
        return ""
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points]
    # there are no half steps
    x_ticks = sorted(names) if names else ticks(min(xs), max(xs), 5, smallest=1)
    y_ticks = ticks(min(ys), max(ys), 5)
    # names need a line more below the axis, and room at both ends
    bottom = HEIGHT - BOTTOM - (14 if names else 0)
    across = _scale([*x_ticks, *xs], LEFT, WIDTH - RIGHT, margin=1 / 8 if names else 0)
    up = _scale([*y_ticks, *ys], bottom, TOP)
    return render(
        __file__,
        "line_chart.svg",
        **{"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP},
        **{"bottom": bottom, "across": across, "up": up, "x_ticks": x_ticks, "y_ticks": y_ticks},
        **{"title": title, "series": series, "x_label": x_label, "bounds": bounds, "names": names},
    )


def _scale(
    values: list[float], start: float, end: float, margin: float = 0
) -> Callable[[float], float]:
    """From the range of `values`, wider by a share of it at both ends, to pixels."""
    low, high = min(values), max(values)
    low, high = low - margin * (high - low), high + margin * (high - low)
    return lambda value: round(start + (value - low) / (high - low or 1) * (end - start), 1)


def smooth(points: Points) -> Points:
    """The trailing mean over a tenth of the points, at least one."""
    window = max(1, len(points) // 10)
    means = []
    for end in range(1, len(points) + 1):
        part = points[max(0, end - window) : end]
        means.append((part[-1][0], sum(y for _, y in part) / len(part)))
    return means


def ticks(low: float, high: float, count: int, smallest: float = 0.0) -> list[float]:
    """About `count` round numbers that hold `low` and `high` between them.

    They are 1, 2, 2.5 or 5 times a power of ten apart, and at least `smallest`.

    >>> ticks(0, 98, 5)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    if high <= low:
        low, high = low - (abs(low) or 1.0) / 10, low + (abs(low) or 1.0) / 10
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= raw * 0.999)
    step = max(step, smallest)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


@dataclass(frozen=True)
class Dot:
    """One value with its standard error, where it has one.

    Attributes:
        before: the values that it came from, by name.
    """

    label: str
    value: float
    stderr: float | None = None
    before: tuple[tuple[str, float], ...] = ()


def dot_chart(title: str, dots: list[Dot], digits: int = 2) -> str:
    """An SVG with one line per value: its name, a dot with a bar of one standard error, the number.

    What a value came from is hollow, with a thin line to it. The axis spans the values, not zero:
    the picture is for differences.

    Args:
        digits: of the number, after the point.
    """
    row, left, right = 22, 104, WIDTH - 48
    bottom = TOP + row * len(dots)
    ends = [dot.value + sign * (dot.stderr or 0) for dot in dots for sign in (-1, 1)]
    ends += [value for dot in dots for _, value in dot.before]
    marks = ticks(min(ends), max(ends), 4)
    return render(
        __file__,
        "dot_chart.svg",
        **{"width": WIDTH, "height": bottom + BOTTOM, "top": TOP, "left": left, "bottom": bottom},
        **{"title": title, "dots": dots, "marks": marks, "row": row},
        at=_scale([*marks, *ends], left, right),
        number=lambda value: f"{value:.{digits}f}",
    )
