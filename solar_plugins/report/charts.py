"""Line charts as inline SVG, sized so that several fit a desktop and one fits a phone.

Colours and fonts come from the page's style sheet (classes `series-0`, `axis`, …), so that the same
picture serves light, dark and print. Own code: matplotlib is not in the stack, and a plotly page
carries 4 MB of script.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 34


@dataclass(frozen=True)
class Series:
    """Points of one line, in the order of x; `faint` ones are drawn thin behind the others."""

    label: str
    points: list[tuple[float, float]]
    color: int = 0
    faint: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture with its caption; empty where there was nothing to draw.

    Attributes:
        lines: those of the picture.
    """

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
    bounds: list[float] | None = None,
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
    x_low, x_high = min(*x_ticks, *xs), max(*x_ticks, *xs)
    bottom = HEIGHT - BOTTOM
    if names:  # a line more below the axis, and room for it at both ends
        bottom -= 14
        x_low, x_high = x_low - (x_high - x_low) / 8, x_high + (x_high - x_low) / 8
    y_low, y_high = min(*y_ticks, *ys), max(*y_ticks, *ys)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low or 1)
        up = (y - y_low) / (y_high - y_low or 1)
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(bottom - up * (bottom - TOP), 1),
        )

    parts = [_opening("chart", HEIGHT, title)]
    for tick in y_ticks:
        x, y = at(x_low, tick)
        parts.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        parts.append(_tick(LEFT - 6, y + 4, f"{tick:g}", "end"))
    for tick in x_ticks:
        x, y = at(tick, y_low)
        parts.append(_tick(x, y + 15, f"{tick:g}"))
        if names and names[tick]:
            parts.append(_tick(x, y + 28, names[tick]))
    parts.append(_tick(WIDTH - RIGHT, HEIGHT - 4, x_label, "end"))
    for number, bound in enumerate(bounds or [], start=2):
        x, y = at(bound, y_low)
        parts.append(f'<line class="bound" x1="{x}" y1="{TOP}" x2="{x}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{x + 4}" y="{TOP + 9}">step {number}</text>')
    for line in sorted(series, key=lambda line: not line.faint):
        path = " ".join("{},{}".format(*at(x, y)) for x, y in line.points)
        faint = " faint" if line.faint else ""
        parts.append(f'<polyline class="line series-{line.color}{faint}" points="{path}"/>')
        dotted = line.points if names else line.points[-1:]
        for x_value, value in () if line.faint else dotted:
            x, y = at(x_value, value)
            parts.append(
                f'<circle class="dot series-{line.color}" cx="{x}" cy="{y}" r="2.6">'
                f"<title>{escape(line.label)}: {value:.4g}</title></circle>"
            )
    parts.append("</svg>")
    return "".join(parts)


def _opening(classes: str, height: int, title: str) -> str:
    return (
        f'<svg class="{classes}" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
    )


def _tick(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text class="tick" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def smooth(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
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
    row, label_width, number_width = 22, 104, 48
    height = TOP + row * len(dots) + BOTTOM
    ends = [dot.value + sign * (dot.stderr or 0) for dot in dots for sign in (-1, 1)]
    ends += [value for dot in dots for _, value in dot.before]
    marks = ticks(min(ends), max(ends), 4)
    low, high = min(*marks, *ends), max(*marks, *ends)
    left, right = label_width, WIDTH - number_width

    def at(value: float) -> float:
        return round(left + (value - low) / (high - low or 1) * (right - left), 1)

    parts = [_opening("chart dots", height, title)]
    bottom = height - BOTTOM
    for mark in marks:
        x = at(mark)
        parts.append(f'<line class="grid" x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}"/>')
        parts.append(_tick(x, bottom + 15, f"{mark:g}"))
    for number, dot in enumerate(dots):
        y = TOP + row * (number + 0.5)
        parts.append(f'<text x="{left - 8}" y="{y + 4:g}" text-anchor="end">{escape(dot.label)}')
        parts.append("</text>")
        for name, value in dot.before:
            parts.append(
                f'<line class="came" x1="{at(value)}" y1="{y:g}" x2="{at(dot.value)}" y2="{y:g}"/>'
            )
            parts.append(
                f'<circle class="hollow" cx="{at(value)}" cy="{y:g}" r="3.5">'
                f"<title>{escape(name)}: {value:.{digits}f}</title></circle>"
            )
        if dot.stderr is not None:
            low_end, high_end = at(dot.value - dot.stderr), at(dot.value + dot.stderr)
            parts.append(
                f'<polyline class="line series-0" points="{low_end},{y:g} {high_end},{y:g}"/>'
            )
        parts.append(f'<circle class="dot series-0" cx="{at(dot.value)}" cy="{y:g}" r="4"/>')
        parts.append(
            f'<text x="{WIDTH - 2}" y="{y + 4:g}" text-anchor="end">{dot.value:.{digits}f}</text>'
        )
    return "".join([*parts, "</svg>"])
