"""What `/metrics` tells, in Prometheus' conventions: names begin with `binwire_`, units are seconds and bytes, counters
count since the start of the process and end in `_total`, times are seconds of the Unix epoch.

What is not known now has no sample, rather than a number that means so: the delay of a group without a connected
client, the lag of one that never committed. States are one-hot: one sample for each state a channel may be in, 1 for
the one it is in. `binwire_channel_info` and `binwire_group_info` carry the names that people know, to be joined by
`channel` and `group`; the other samples have ids alone, so that a renamed channel is the same series.

Views are taken channel by channel between other work, and the text is made in a thread: a thousand groups take the loop
a hundred microseconds at a time.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from broker.loop_delay import BUCKETS_S
from broker.monitoring import seen

if TYPE_CHECKING:
    from broker.alerts.watch import Alerts
    from broker.control import ChannelView, GroupView
    from broker.loop_delay import LoopDelay
    from broker.monitoring import Monitoring, Viewed

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
STATES: Final = ("Prechecking", "Not Started", "Performing Initial Change Tracking", "Normal", "Error")

Row = tuple[str, str, "Callable[[Any], float | int | None]"]


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def _known(number: int) -> int | None:
    """What views tell by -1 is not known."""
    return None if number < 0 else number


CHANNEL_GAUGES: Final[tuple[Row, ...]] = (
    (
        "binwire_channel_delay_seconds",
        "How far the channel is behind its source",
        lambda view: _seconds(view.lag_ms),
    ),
    ("binwire_log_start_offset", "The first offset of the channel's log", lambda view: view.start_offset),
    ("binwire_log_end_offset", "The offset behind the last visible record", lambda view: view.high_watermark),
    (
        "binwire_log_durable_offset",
        "The offset below which everything was flushed",
        lambda view: view.durable_offset,
    ),
    (
        "binwire_log_start_timestamp_seconds",
        "Source time of the first record",
        lambda view: _seconds(view.start_timestamp_ms),
    ),
    (
        "binwire_log_end_timestamp_seconds",
        "Source time of the last visible record",
        lambda view: _seconds(view.end_timestamp_ms),
    ),
    (
        "binwire_log_disk_bytes",
        "What the channel's log takes of its disk",
        lambda view: None if view.disk is None else view.disk.used_bytes,
    ),
    (
        "binwire_log_needed_bytes",
        "What the log's retention comes to at the rate of the last hour; without a bound there is none",
        lambda view: None if view.disk is None else view.disk.needed_bytes,
    ),
    (
        "binwire_log_disk_free_bytes",
        "What is free on the disk of the channel's log",
        lambda view: None if view.disk is None else view.disk.free_bytes,
    ),
    ("binwire_log_damages", "Places of the log that are not what was written", lambda view: len(view.damages)),
)
CHANNEL_COUNTERS: Final[tuple[Row, ...]] = (
    ("binwire_channel_records", "Records captured since the start of the server", lambda view: view.records),
    (
        "binwire_channel_transactions",
        "Transactions captured since the start of the server",
        lambda view: view.transactions,
    ),
    (
        "binwire_channel_committed_bytes",
        "Bytes of record batches made visible since the start of the server",
        lambda view: view.committed_bytes,
    ),
    (
        "binwire_channel_reconnects",
        "Sessions with the source that were begun again since the start of the server",
        lambda view: view.reconnects,
    ),
)
GROUP_GAUGES: Final[tuple[Row, ...]] = (
    ("binwire_group_committed_offset", "The offset the group committed", lambda group: group.offset),
    (
        "binwire_group_lag_messages",
        "Offsets from the committed one to the end of the log, whether a client is connected or not",
        lambda group: group.behind,
    ),
    (
        "binwire_group_remaining_messages",
        "Messages the group has not consumed; while a client is connected",
        lambda group: _known(group.remaining),
    ),
    (
        "binwire_group_delay_seconds",
        "How far the group is behind in time; while a client is connected",
        lambda group: _known(group.delay_s),
    ),
    (
        "binwire_group_consume_timestamp_seconds",
        "Source time up to which the group has consumed",
        lambda group: _seconds(group.consume_timestamp_ms),
    ),
    ("binwire_group_members", "Clients of the group", lambda group: len(group.members)),
    ("binwire_group_connections", "Connections logged in as the group", lambda group: group.connections),
)


class Served:
    """What is counted of clients: `requests` by the name of their API."""

    def __init__(
        self,
        connections: Callable[[], int],
        requests: Callable[[], Mapping[str, int]],
        sent_bytes: Callable[[], int],
    ) -> None:
        self.connections = connections
        self.requests = requests
        self.sent_bytes = sent_bytes


class Metrics:
    """Makes the text of `/metrics`."""

    def __init__(
        self, channels: Viewed, monitoring: Monitoring, alerts: Alerts, loop_delay: LoopDelay, served: Served
    ) -> None:
        self._channels = channels
        self._monitoring = monitoring
        self._alerts = alerts
        self._loop_delay = loop_delay
        self._served = served
        self._process = ProcessCollector(registry=None)

    async def text(self) -> bytes:
        """All of it, as it is now."""
        views = await seen(self._channels)
        silent = {view.id: self._monitoring.silent_s(view.id) for view in views}
        own = [*self._of_server(), *self._of_alerts()]
        return await asyncio.to_thread(self._made, views, silent, own)

    def _made(self, views: Sequence[ChannelView], silent: Mapping[str, float | None], own: Sequence[Metric]) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families([_build(), *own, *of_channels(views, silent), *of_groups(views)]))
        registry.register(self._process)
        return bytes(generate_latest(registry))

    def _of_server(self) -> Iterator[Metric]:
        served = self._served
        yield GaugeMetricFamily("binwire_connections", "Connections of Kafka clients", served.connections())
        requests = CounterMetricFamily("binwire_requests", "Requests of Kafka clients", labels=("api",))
        for api, count in served.requests().items():
            requests.add_metric((api,), count)
        yield requests
        yield CounterMetricFamily("binwire_sent_bytes", "Bytes of responses to Kafka clients", served.sent_bytes())
        yield _histogram(self._loop_delay)

    def _of_alerts(self) -> Iterator[Metric]:
        firing = GaugeMetricFamily(
            "binwire_alert_incidents_open", "Incidents that have begun and not ended", labels=("rule", "kind")
        )
        for rule, count in self._alerts.open_counts():
            firing.add_metric((rule.name, rule.kind), count)
        yield firing
        tries = CounterMetricFamily(
            "binwire_alert_tries", "Messages of alerts that were tried", labels=("target", "outcome")
        )
        for (target, outcome), count in self._alerts.tries().items():
            tries.add_metric((target, outcome), count)
        yield tries


@cache
def _build() -> Metric:
    build = InfoMetricFamily("binwire_build", "The version that runs")
    build.add_metric((), {"version": version("binwire"), "python": platform.python_version()})
    return build


class _Families(Collector):
    """Families that are made already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def of_channels(views: Sequence[ChannelView], silent: Mapping[str, float | None]) -> Iterator[Metric]:
    """The families with one sample for each channel."""
    info = InfoMetricFamily("binwire_channel", "Names of the channel", labels=("channel",))
    state = GaugeMetricFamily("binwire_channel_state", "1 for the state it is in", labels=("channel", "state"))
    heard = GaugeMetricFamily(
        "binwire_channel_source_silent_seconds", "How long nothing was heard from the source", labels=("channel",)
    )
    for view in views:
        info.add_metric((view.id,), {"name": view.name, "topic": view.topic})
        for name in STATES:
            state.add_metric((view.id, name), int(view.state == name))
        if (silent_s := silent.get(view.id)) is not None:
            heard.add_metric((view.id,), silent_s)
    yield from (info, state, heard)
    labelled = [((view.id,), view) for view in views]
    for name, told, value in CHANNEL_GAUGES:
        yield _family(GaugeMetricFamily(name, told, labels=("channel",)), labelled, value)
    for name, told, value in CHANNEL_COUNTERS:
        yield _family(CounterMetricFamily(name, told, labels=("channel",)), labelled, value)


def of_groups(views: Sequence[ChannelView]) -> Iterator[Metric]:
    """The families with one sample for each group."""
    labels = ("channel", "group")
    labelled: list[tuple[tuple[str, str], GroupView]] = [
        ((view.id, group.id), group) for view in views for group in view.groups
    ]
    info = InfoMetricFamily("binwire_group", "Names of the consumer group", labels=labels)
    for ids, group in labelled:
        info.add_metric(ids, {"name": group.name, "username": group.username})
    yield info
    for name, told, value in GROUP_GAUGES:
        yield _family(GaugeMetricFamily(name, told, labels=labels), labelled, value)


def _family(family: Any, labelled: Sequence[tuple[tuple[str, ...], Any]], value: Callable[[Any], Any]) -> Metric:
    """With a sample for each thing of which the value is known."""
    for labels, thing in labelled:
        if (number := value(thing)) is not None:
            family.add_metric(labels, number)
    assert isinstance(family, Metric)
    return family


def _histogram(delay: LoopDelay) -> Metric:
    total, buckets = 0, []
    for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), delay.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(
        "binwire_event_loop_delay_seconds",
        "How late timers of the event loop fire: how long what is ready waits for its turn",
        buckets=buckets,
        sum_value=delay.sum_s,
    )
