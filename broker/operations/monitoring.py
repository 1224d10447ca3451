"""How a channel and its groups went: series over time, for plots.

Owns the structs. A series is kept in memory since the server's start, every 5 seconds for an hour and every minute for
a day (`broker/monitoring.py`); a point that is missing was not known then, as the delay of a group without a connected
client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from broker.operations.operation import Operation, OperationError, Refusal

if TYPE_CHECKING:
    from broker.operations.plane import ControlPlane

MINUTES_MAX: Final = 24 * 60


class SeriesArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which channel, and how many minutes back from now: up to 60 in steps of 5 seconds, more in steps of a minute."""

    channel_id: str
    minutes: Annotated[int, Meta(ge=1, le=MINUTES_MAX)] = 60


class Series(Struct, frozen=True):
    """One line of a plot; `group_id` None: of the channel itself. Points are (Unix epoch ms, value), oldest first.

    Of the channel: `records_per_s`, `bytes_per_s` (on disk), `delay_s` (behind its source), `silent_s` (since the
    source was heard last). Of a group: `records_per_s` (committed), `delay_s`, `remaining` (messages).
    """

    name: str
    unit: str
    group_id: str | None
    points: tuple[tuple[int, float], ...]


class StateSpan(Struct, frozen=True):
    """The channel was in `state` from then on, up to the next span."""

    begun_ms: int
    state: str


class ShownSeries(Struct, frozen=True):
    """All series of a channel from `from_ms` to `to_ms`. Neighbouring points are `step_s` apart; a wider gap is one."""

    channel_id: str
    step_s: int
    from_ms: int
    to_ms: int
    series: tuple[Series, ...]
    states: tuple[StateSpan, ...]


async def show_series(plane: ControlPlane, arguments: SeriesArguments) -> ShownSeries:
    """The series of one channel and its groups."""
    shown = plane.monitoring.shown(arguments.channel_id, arguments.minutes)
    if shown is None:
        raise OperationError(Refusal.NOT_FOUND, f"there is no channel {arguments.channel_id!r}", field="channel_id")
    return shown


ROWS: Final = (
    Operation(
        "show_series",
        "GET",
        "/channels/{channel_id}/series",
        "monitoring",
        "Show rates, delay and remaining messages over time",
        SeriesArguments,
        ShownSeries,
        show_series,
    ),
)
