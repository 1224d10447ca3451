"""How a channel and its groups go: states, and plots of rates, delays and remaining messages, made here as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct
from starlette.responses import Response
from starlette.routing import Route

from broker.console.pages.base import view
from broker.console.plot import Plot, make_plot, spans
from broker.console.rendering import environment, page_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from broker.operations.monitoring import ShownSeries

MINUTES: Final = (15, 60, 360, 1440)
DEFAULT_MINUTES: Final = 60
# (name of the title's text, name of the series), as they stand on the page.
CHANNEL_PLOTS: Final = (
    ("rate", "records_per_s"),
    ("delay", "delay_s"),
    ("bytes", "bytes_per_s"),
    ("silent", "silent_s"),
)
GROUP_PLOTS: Final = (
    ("group_delay", "delay_s"),
    ("remaining", "remaining"),
    ("group_rate", "records_per_s"),
)
_THOUSANDS: Final = ("", " k", " M", " G", " T")


class TitledPlot(Struct, frozen=True):
    """A plot with what it is about: the name of its title's text, and its unit."""

    name: str
    unit: str
    plot: Plot


def short_number(value: float | None, unit: str) -> str:
    """A number of three or four digits with its unit where that is bytes; a dash for None."""
    if value is None:
        return "-"
    power = 0
    step = 1_000 if unit == "bytes/s" else 10_000
    while abs(value) >= step and power < len(_THOUSANDS) - 1:
        value /= 1_000
        power += 1
    digits = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if unit == "bytes/s":
        return f"{digits}{_THOUSANDS[power] or ' '}B"
    return f"{digits}{_THOUSANDS[power]}"


environment.filters["short_number"] = short_number


async def monitoring(request: Request) -> Response:
    """The page, and its live part."""
    channel_id = request.path_params["channel_id"]
    minutes = _minutes(request.query_params.get("minutes", ""))
    channel = await page_call(request, "show_channel", {"channel_id": channel_id})
    shown: ShownSeries = await page_call(request, "show_series", {"channel_id": channel_id, "minutes": minutes})
    names = {group.id: group.name for group in channel.groups}
    return view(
        request,
        "monitoring.html",
        parts={"plots": "monitoring_plots.html"},
        tab="monitoring",
        channel=channel,
        minutes=minutes,
        choices=MINUTES,
        shown=shown,
        channel_plots=_plots(shown, CHANNEL_PLOTS, {None: ""}),
        group_plots=_plots(shown, GROUP_PLOTS, names),
        spans=spans([(span.begun_ms, span.state) for span in shown.states], shown.from_ms, shown.to_ms),
    )


def _minutes(text: str) -> int:
    return int(text) if text in map(str, MINUTES) else DEFAULT_MINUTES


def _plots(
    shown: ShownSeries, wanted: tuple[tuple[str, str], ...], names: Mapping[str | None, str]
) -> list[TitledPlot]:
    plots = []
    for title, name in wanted:
        found = [series for series in shown.series if series.name == name and series.group_id in names]
        lines = [(names[series.group_id], series.points) for series in found]
        if lines:
            plot = make_plot(lines, shown.from_ms, shown.to_ms, shown.step_s)
            plots.append(TitledPlot(title, found[0].unit, plot))
    return plots


ROUTES: Final = (Route("/channels/{channel_id}/monitoring", monitoring),)
