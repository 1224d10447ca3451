"""`/metrics`: read by Prometheus' own parser, held to its conventions, and the dashboard held to its names."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from broker.alerts.rules import rule_of_file
from broker.alerts.watch import Alerts
from broker.config import AlertConfig
from broker.control import DiskView, MemberView
from broker.loop_delay import BUCKETS_S, INTERVAL_S, LoopDelay
from broker.metrics import STATES, Metrics, Served
from broker.monitoring import Monitoring
from capture.channel import State
from tests.broker.views import Shown, channel_view, group_view
from tests.fakes import ManualClock, ManualScheduler

DASHBOARD = Path(__file__).parents[2] / "broker" / "console" / "static" / "dashboards" / "binwire.json"
NOT_A_BASE_UNIT = re.compile(r"_(ms|milliseconds|minutes|hours|days|kb|kib|mb|percent|count|sum|bucket)(_|$)")

MEMBER = MemberView("m1", "client", "127.0.0.1", True, None)
FULL = channel_view(
    lag_ms=1_500,
    high_watermark=120,
    start_offset=20,
    durable_offset=110,
    start_timestamp_ms=1_700_000_000_000,
    end_timestamp_ms=1_700_000_100_500,
    disk=DiskView(1_000, 5_000, 9_000, 1.0, None),
    damages=("one",),
    records=100,
    transactions=10,
    reconnects=2,
    committed_bytes=4_096,
    silent_ms=0,
    groups=(
        group_view(
            offset=100,
            behind=20,
            remaining=20,
            delay_s=3,
            consume_timestamp_ms=1_700_000_000_000,
            members=(MEMBER,),
            connections=3,
        ),
        group_view(id="dts2", name="dead", offset=50, behind=70, consume_timestamp_ms=1_700_000_000_000),
    ),
)


class FakeAlerts:
    """With one rule that has found something, and some tries."""

    def open_counts(self) -> list[tuple[Any, int]]:
        return [(rule_of_file(AlertConfig(name="late", kind="delay")), 2)]

    def tries(self) -> dict[tuple[str, str], int]:
        return {("webhook", "delivered"): 3}


def metrics(channels: Shown, requests: dict[str, int] | None = None) -> Metrics:
    clock = ManualClock()
    monitoring = Monitoring(channels, clock, ManualScheduler(clock))
    monitoring.note(channels.views())
    delay = LoopDelay()
    for late_s in (-0.001, 0.0002, 0.0005, 0.02, 9.0):
        delay.note(late_s)
    counts = {"Fetch": 7} if requests is None else requests
    alerts: Any = FakeAlerts()
    return Metrics(channels, monitoring, alerts, delay, Served(lambda: 3, lambda: counts, lambda: 1_000))


async def families(*views: Any) -> dict[str, Metric]:
    text = await metrics(Shown(*views)).text()
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


async def samples(*views: Any) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for family in (await families(*views)).values():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


async def value(name: str, *views: Any, **labels: str) -> float | None:
    found = [
        sample.value for sample in (await samples(*views)).get(name, []) if labels.items() <= sample.labels.items()
    ]
    assert len(found) <= 1
    return found[0] if found else None


async def test_every_family_keeps_to_the_conventions() -> None:
    for family in (await families(FULL)).values():
        name = family.name
        assert re.fullmatch(r"(binwire|process)(_[a-z0-9]+)+", name)
        assert family.documentation, f"{name} has no HELP"
        assert family.type in ("gauge", "counter", "histogram"), f"{name} is {family.type}"
        assert not NOT_A_BASE_UNIT.search(name), name
        seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name == f"{name}_total"
            elif family.type == "gauge":
                assert sample.name == name
                assert not name.endswith("_total")
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in seen, f"{key} twice"
            seen.add(key)
            assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in sample.labels)
            assert all(isinstance(text, str) for text in sample.labels.values())


async def test_a_histogram_is_cumulative_and_whole() -> None:
    found = await samples()
    counts = [(sample.labels["le"], sample.value) for sample in found["binwire_event_loop_delay_seconds_bucket"]]
    assert [le for le, _ in counts] == [*(str(bound) for bound in BUCKETS_S), "+Inf"]
    assert dict(counts)["0.0005"] == 3
    assert dict(counts)["0.01"] == 3
    assert dict(counts)["0.02"] == dict(counts)["2.5"] == 4
    assert dict(counts)["+Inf"] == found["binwire_event_loop_delay_seconds_count"][0].value == 5
    assert found["binwire_event_loop_delay_seconds_sum"][0].value == pytest.approx(9.0207)


async def test_the_loops_delay_is_looked_at_once_a_second_and_no_more_once_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Loop:
        def __init__(self) -> None:
            self.now_s = 100.0
            self.timers: list[tuple[float, Any, Any]] = []

        def time(self) -> float:
            return self.now_s

        def call_at(self, due_s: float, callback: Any, *arguments: Any) -> Any:
            self.timers.append((due_s, callback, arguments))
            return self

        def cancel(self) -> None:
            self.timers.clear()

    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    delay = LoopDelay()
    delay.start()
    for late_s in (0.0, 0.3):
        [(due_s, callback, arguments)] = loop.timers
        assert due_s == loop.now_s + INTERVAL_S
        loop.timers.clear()
        loop.now_s = due_s + late_s
        callback(*arguments)
    assert sum(delay.counts) == 2
    assert delay.sum_s == pytest.approx(0.3)
    delay.stop()
    assert loop.timers == []


async def test_a_channel_is_in_one_state() -> None:
    assert set(STATES) == {str(state) for state in State}
    for state in STATES:
        found = (await samples(channel_view(state=state)))["binwire_channel_state"]
        assert {sample.labels["state"]: sample.value for sample in found} == {
            each: float(each == state) for each in STATES
        }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("binwire_channel_delay_seconds", 1.5),
        ("binwire_channel_source_silent_seconds", 0.0),
        ("binwire_channel_records_total", 100),
        ("binwire_channel_transactions_total", 10),
        ("binwire_channel_reconnects_total", 2),
        ("binwire_channel_committed_bytes_total", 4_096),
        ("binwire_log_start_offset", 20),
        ("binwire_log_end_offset", 120),
        ("binwire_log_durable_offset", 110),
        ("binwire_log_start_timestamp_seconds", 1_700_000_000),
        ("binwire_log_end_timestamp_seconds", 1_700_000_100.5),
        ("binwire_log_disk_bytes", 1_000),
        ("binwire_log_needed_bytes", 5_000),
        ("binwire_log_disk_free_bytes", 9_000),
        ("binwire_log_damages", 1),
        ("binwire_connections", 3),
        ("binwire_requests_total", 7),
        ("binwire_sent_bytes_total", 1_000),
        ("binwire_alert_incidents_open", 2),
        ("binwire_alert_tries_total", 3),
    ],
)
async def test_what_is_known_is_told(name: str, expected: float) -> None:
    assert await value(name, FULL) == expected


async def test_a_group_is_told_and_what_is_not_known_of_one_has_no_sample() -> None:
    for name, read, dead in (
        ("binwire_group_committed_offset", 100, 50),
        ("binwire_group_lag_messages", 20, 70),
        ("binwire_group_remaining_messages", 20, None),
        ("binwire_group_delay_seconds", 3, None),
        ("binwire_group_consume_timestamp_seconds", 1_700_000_000, 1_700_000_000),
        ("binwire_group_members", 1, 0),
        ("binwire_group_connections", 3, 0),
    ):
        assert await value(name, FULL, channel="shop", group="dts1") == read, name
        assert await value(name, FULL, channel="shop", group="dts2") == dead, name
    bare = channel_view(lag_ms=None)
    for name in ("binwire_channel_delay_seconds", "binwire_log_disk_bytes", "binwire_log_start_timestamp_seconds"):
        assert await value(name, bare) is None


async def test_counters_grow_with_what_they_count() -> None:
    before = await samples(FULL)
    grown = replace(FULL, records=101, transactions=11, reconnects=3, committed_bytes=5_000)
    after = await samples(grown)
    counters = [name for name in before if name.endswith("_total") and name.startswith("binwire_channel")]
    assert len(counters) == 4
    assert all(after[name][0].value > before[name][0].value for name in counters)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_hostile_names_come_back_as_they_are(name: str) -> None:
    async def told() -> str:
        return (await samples(channel_view(name=name)))["binwire_channel_info"][0].labels["name"]

    assert asyncio.run(told()) == name


async def test_a_thousand_groups_are_looked_at_once_each_with_turns_for_others_in_between() -> None:
    groups = tuple(group_view(id=f"dts{number}", delay_s=1, remaining=2, offset=3, behind=4) for number in range(20))
    channels = Shown(*(channel_view(id=f"c{number}", groups=groups) for number in range(50)))
    made = metrics(channels)
    channels.looked_at.clear()
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(len(channels.looked_at))
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    text = await made.text()
    running.cancel()
    assert channels.looked_at == channels.ids()
    assert set(turns) >= set(range(1, 51)), "a turn behind each channel"
    found = [
        family
        for family in text_string_to_metric_families(text.decode())
        if family.name == "binwire_group_delay_seconds"
    ]
    assert len(found[0].samples) == 1_000


# --- the dashboard ----------------------------------------------------------------------------------------------------


def expressions(node: Any) -> Iterator[str]:
    """All PromQL of a dashboard, its variables' too."""
    if isinstance(node, dict):
        for key, each in node.items():
            if key in ("expr", "definition") and isinstance(each, str):
                yield each
            else:
                yield from expressions(each)
    elif isinstance(node, list):
        for each in node:
            yield from expressions(each)


def named(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics of an expression and the labels each is asked by."""
    for match in re.finditer(r"\b((?:binwire|process)_[a-z0-9_]+)(?:\{([^}]*)\})?", expression):
        yield match[1], set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", match[2] or ""))


async def test_every_expression_of_the_dashboard_is_of_names_and_labels_that_there_are() -> None:
    found = await samples(FULL)
    labels = {name: {"instance", *(label for each in of for label in each.labels)} for name, of in found.items()}
    asked = list(expressions(json.loads(DASHBOARD.read_text("utf-8"))))
    assert len(asked) > 25
    used = set()
    for expression in asked:
        metrics_of = list(named(expression))
        assert metrics_of, expression
        for name, by in metrics_of:
            assert name in found, f"{name} of {expression}"
            assert by <= labels[name], f"{by - labels[name]} of {expression}"
            used.add(name)
        for legend in re.findall(r"by \(([a-z, ]+)\)", expression):
            known = set().union(*(labels[name] for name, _ in metrics_of))
            assert set(re.split(r",\s*", legend)) <= known, expression
    unused = {name for name in found if name.startswith(("binwire_channel", "binwire_group", "binwire_log"))} - used
    assert unused <= {
        "binwire_group_remaining_messages",
        "binwire_group_consume_timestamp_seconds",
        "binwire_log_start_offset",
        "binwire_log_end_offset",
        "binwire_log_durable_offset",
        "binwire_log_damages",
    }


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= dashboard.keys()
    for panel in dashboard["panels"]:
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= 24
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            references = [target["refId"] for target in panel["targets"]]
            assert references == [chr(65 + number) for number in range(len(references))]
    variables = [variable["name"] for variable in dashboard["templating"]["list"]]
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(dashboard["panels"]))) - {"__rate_interval"}
    assert used <= set(variables)


def test_the_fake_alerts_are_like_the_real_ones() -> None:
    assert all(hasattr(Alerts, name) for name in ("open_counts", "tries"))
