"""A plot as the numbers that an SVG is made of: lines over time in a box of `WIDTH` × `HEIGHT` units.

Owns scales and geometry. Horizontally time goes from the left edge to the right, vertically values from 0 at the bottom
to a round number at the top, in `STEPS` equal steps, so that labels can stand beside the drawing as text of the page at
equal distances and are read at any size. A line is drawn with at most `COLUMNS` points, each the highest value of its
column, and broken where nothing was known.

Left to others: how it looks (`templates/plot.html`), what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

WIDTH: Final = 1_000
HEIGHT: Final = 200
STEPS: Final = 4
COLUMNS: Final = 240
LEAST: Final = 1e-9  # nothing that is measured is smaller, and the least floats have no round number above them
STYLES: Final = 24  # six colours, each drawn through and in three patterns of dashes: more than a channel has groups

Point = tuple[int, float]


class Line(Struct, frozen=True):
    """What is known of one thing; values are None where nothing is. `path` is that of an SVG."""

    name: str
    style: int
    path: str
    latest: float | None
    least: float | None
    mean: float | None
    most: float | None


class Plot(Struct, frozen=True):
    """Lines with one scale. `values` are the labels of the vertical axis from the top down, `times_ms` those of the
    horizontal one from the left.
    """

    lines: tuple[Line, ...]
    values: tuple[float, ...]
    times_ms: tuple[int, ...]

    @property
    def is_empty(self) -> bool:
        return all(line.most is None for line in self.lines)


def make_plot(lines: Sequence[tuple[str, Sequence[Point]]], from_ms: int, to_ms: int, step_s: int) -> Plot:
    """A plot of these lines (name, points); a point that is more than a step behind another is not joined to it."""
    top = round_top(max((value for _, points in lines for _, value in points), default=0.0))
    span_ms = max(1, to_ms - from_ms)
    drawn = tuple(
        _line(name, index % STYLES, points, top, (from_ms, span_ms), step_s * 1_000)
        for index, (name, points) in enumerate(lines)
    )
    return Plot(
        drawn,
        tuple(top * step / STEPS for step in range(STEPS, -1, -1)),
        tuple(from_ms + span_ms * step // STEPS for step in range(STEPS + 1)),
    )


def round_top(value: float) -> float:
    """The least round number that is not below: 1, 2, 4 or 8 times a power of ten, so that quarters of it are short."""
    if not math.isfinite(value) or value < LEAST:
        return float(STEPS)
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1.0, 2.0, 4.0, 8.0, 10.0) if factor * power >= value * (1 - 1e-9))


def spans(begun: Sequence[tuple[int, str]], from_ms: int, to_ms: int) -> list[tuple[int, int, str]]:
    """(left, width, name) in units of what held from each time to the next, the last up to the right edge."""
    span_ms = max(1, to_ms - from_ms)
    edges = [max(0, min(WIDTH, (begun_ms - from_ms) * WIDTH // span_ms)) for begun_ms, _ in begun] + [WIDTH]
    return [
        (left, right - left, name)
        for (_, name), left, right in zip(begun, edges, edges[1:], strict=False)
        if right > left
    ]


def _line(name: str, style: int, points: Sequence[Point], top: float, span: tuple[int, int], step_ms: int) -> Line:
    values = [value for _, value in points]
    if not values:
        return Line(name, style, "", None, None, None, None)
    path = _path(_columns(points, span, step_ms), top, span)
    return Line(name, style, path, values[-1], min(values), sum(values) / len(values), max(values))


def _columns(points: Sequence[Point], span: tuple[int, int], step_ms: int) -> list[list[Point]]:
    """The highest point of each column, in runs without a gap."""
    from_ms, span_ms = span
    column_ms = max(step_ms, span_ms // COLUMNS)
    runs: list[list[Point]] = []
    column_before: int | None = None
    for time_ms, value in points:
        column = (time_ms - from_ms) // column_ms
        if column == column_before:
            if value > runs[-1][-1][1]:
                runs[-1][-1] = (time_ms, value)
        elif column_before is not None and column == column_before + 1:
            runs[-1].append((time_ms, value))
        else:
            runs.append([(time_ms, value)])
        column_before = column
    return runs


def _path(runs: Sequence[Sequence[Point]], top: float, span: tuple[int, int]) -> str:
    from_ms, span_ms = span
    pieces = []
    for run in runs:
        places = [
            f"{_within((time_ms - from_ms) / span_ms, WIDTH)} {HEIGHT - _within(value / top, HEIGHT)}"
            for time_ms, value in run
        ]
        # A point by itself is a dot: a line of no length with round ends.
        pieces.append(f"M{'L'.join(places)}" if len(places) > 1 else f"M{places[0]}h0")
    return "".join(pieces)


def _within(part: float, whole: int) -> int:
    return min(whole, max(0, round(part * whole)))
