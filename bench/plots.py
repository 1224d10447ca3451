"""Results as pictures: an SVG file per benchmark, without a library, that reads well on light and dark pages.

A measure is a group of bars, Binwire's first, with a thin line from the smallest to the largest of the rounds; the
percentiles of one thing are a group of points on a logarithmic axis. Each group has a scale of its own, from zero for
bars. Colours are chosen by the reader's scheme, the background is the page's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from bench.harness import Figure, Result
from bench.report import number, times

_WIDTH: Final = 760
_PLOT_LEFT: Final = 210
_PLOT_WIDTH: Final = 330
_MARGIN: Final = 12
_LINE: Final = 22
_BAR: Final = 13
_PERCENTILE: Final = re.compile(r"\b(p\d+(?:\.\d+)?|max)\b")
_STYLE: Final = """
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
.title { font-weight: 600; } .small { font-size: 10px; } .quiet { fill: #59636e; }
.ours { fill: #0969da; } .theirs { fill: #a5adb6; } .spread { stroke: #1f2328; stroke-width: 1; opacity: .55; }
.track { stroke: #d1d9e0; stroke-width: 1; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .quiet { fill: #9198a1; } .ours { fill: #4493f8; } .theirs { fill: #656c76; }
  .spread { stroke: #f0f6fc; } .track { stroke: #3d444d; }
}"""


@dataclass(frozen=True, slots=True)
class _Point:
    """A figure in a group of percentiles."""

    percentile: str
    figure: Figure


def picture(results: Sequence[Result]) -> str:
    """The results of one benchmark as an SVG document."""
    body: list[str] = []
    top = float(_MARGIN)
    for title, group in _groups(results):
        body.append(_text(_MARGIN, top + 12, title, "title"))
        top += _LINE
        rows = list(_bars(group[0], top) if len(group) == 1 else _points(group, top))
        body += rows
        top += len(rows) * _LINE + _MARGIN
    height = math.ceil(top)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(results[0].benchmark)}">\n<style>{_STYLE}\n</style>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _groups(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Percentiles of one thing together, every other measure alone; a title each."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(f"{_PERCENTILE.sub('…', result.measure.name, count=1)} {result.measure.unit}", []).append(
            result
        )
    return [(_title(group), group) for group in groups.values()]


def _title(group: Sequence[Result]) -> str:
    measure = group[0].measure
    if len(group) == 1:
        return f"{measure.name} ({measure.unit}, {'more' if measure.higher_is_better else 'less'} is better)"
    percentiles = ", ".join(_percentile(result) for result in group)
    what = _PERCENTILE.sub(percentiles, measure.name, count=1)
    return f"{what} ({measure.unit}, logarithmic, less is better)"


def _percentile(result: Result) -> str:
    found = _PERCENTILE.search(result.measure.name)
    return found[1] if found else result.measure.name


def _bars(result: Result, top: float) -> Iterator[str]:
    """A line per side."""
    sides = [*([result.binwire] if result.binwire else []), *result.peers]
    scale = _PLOT_WIDTH / (max(side.spread.max for side in sides) or 1)
    for side in sides:
        ours, spread, middle = side is result.binwire, side.spread, top + _LINE / 2
        ratio = None if ours else result.ratio(side)
        shown = number(spread.median) + ("" if ratio is None else f"  (Binwire {times(ratio)})")
        yield (
            _name(side, middle)
            + f'<rect class="{"ours" if ours else "theirs"}" x="{_PLOT_LEFT}" y="{middle - _BAR / 2:.1f}" '
            f'width="{max(1, spread.median * scale):.1f}" height="{_BAR}" rx="2"/>'
            + _spread(_PLOT_LEFT + spread.min * scale, _PLOT_LEFT + spread.max * scale, middle)
            + _text(_PLOT_LEFT + spread.max * scale + 8, middle + 4, shown)
        )
        top += _LINE


def _points(group: Sequence[Result], top: float) -> Iterator[str]:
    """A line per side, a point per percentile."""
    sides: dict[str, list[_Point]] = {}
    for result in group:
        for figure in [*([result.binwire] if result.binwire else []), *result.peers]:
            sides.setdefault(figure.name, []).append(_Point(_percentile(result), figure))
    ours = {result.binwire.name for result in group if result.binwire}
    values = [point.figure.spread.median for points in sides.values() for point in points]
    low = math.log10(min((value for value in values if value > 0), default=1)) - 0.1
    high = max(math.log10(max(*values, 1e-9)) + 0.1, low + 1)

    def place(value: float) -> float:
        return _PLOT_LEFT + _PLOT_WIDTH * (math.log10(max(value, 10**low)) - low) / (high - low)

    for name, points in sides.items():
        middle = top + _LINE / 2
        marks = (
            f'<circle class="{"ours" if name in ours else "theirs"}" cx="{place(point.figure.spread.median):.1f}" '
            f'cy="{middle:.1f}" r="4.5"><title>{escape(point.percentile)}</title></circle>'
            for point in points
        )
        yield (
            _name(points[0].figure, middle)
            + f'<line class="track" x1="{_PLOT_LEFT}" x2="{_PLOT_LEFT + _PLOT_WIDTH}" y1="{middle}" y2="{middle}"/>'
            + "".join(marks)
            + _text(
                _PLOT_LEFT + _PLOT_WIDTH + 12,
                middle + 4,
                "  ·  ".join(number(point.figure.spread.median) for point in points),
            )
        )
        top += _LINE


def _name(side: Figure, middle: float) -> str:
    return _text(_PLOT_LEFT - 10, middle + 4, side.name, "quiet", anchor="end")


def _spread(left: float, right: float, middle: float) -> str:
    return f'<line class="spread" x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}"/>'


def _text(x: float, y: float, text: str, style: str = "", *, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
