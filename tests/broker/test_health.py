"""Healthy and ready: what is tried, what is told, and what strangers are told of it."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.client import RawClient
from broker import health
from broker.health import TRIED_MS, Health
from storage.catalog import Catalog
from storage.errors import StorageError
from tests.broker.views import Shown, channel_view
from tests.fakes import ManualClock
from tests.server_process import ServerProcess

ERROR: dict[str, Any] = {"state": "Error", "reason": "the source db.internal is away"}


class Medium:
    """A catalog that writes as the test says."""

    def __init__(self) -> None:
        self.writes = 0
        self.failure: Exception | None = None
        self.hangs = False
        self._waiting: asyncio.Future[None]

    def release(self) -> None:
        """Let the write that hangs come to its end."""
        self._waiting.set_result(None)

    def set_setting(self, key: str, value: str) -> None:
        raise AssertionError("only by run")

    async def run(self, function: Any, *arguments: str) -> None:
        self.writes += 1
        if self.hangs:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if self.failure is not None:
            raise self.failure


class Asked:
    """A health with all its parts."""

    def __init__(self, folder: Path, *views: Any) -> None:
        self.clock = ManualClock()
        self.medium: Any = Medium()  # in place of a catalog
        self.is_serving = True
        self.health = Health(self.medium, folder, Shown(*views), lambda: self.is_serving, self.clock)  # type: ignore[arg-type]


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


async def test_a_server_that_can_write_is_healthy_and_ready(tmp_path: Path) -> None:
    asked = Asked(tmp_path, channel_view(), channel_view(id="b", **ERROR))
    healthy = await asked.health.healthy()
    assert (healthy.is_well, [check.name for check in healthy.checks]) == (True, ["catalog", "data directory"])
    ready = await asked.health.ready()
    assert ready.is_well
    assert ready.states == {"Normal": 1, "Error": 1}
    assert ready.channels == {"shop": "Normal", "b": "Error"}
    assert is_empty(tmp_path)


async def test_a_catalog_that_takes_no_write_is_unhealthy_and_said_why_to_who_may_know(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    asked.medium.failure = StorageError("the catalog /var/lib/x is full")
    healthy = await asked.health.healthy()
    assert not healthy.is_well
    assert healthy.checks[0].found == "the catalog /var/lib/x is full"
    ready = await asked.health.ready()
    assert (ready.is_well, ready.meaning) == (False, "not ready: catalog")
    public = healthy.public()
    assert public.checks[0].is_well is False
    assert "/var/lib" not in repr(public)


async def test_a_folder_that_takes_no_file_is_unhealthy(tmp_path: Path) -> None:
    asked = Asked(tmp_path / "gone")
    [catalog, disk] = (await asked.health.healthy()).checks
    assert (catalog.is_well, disk.is_well) == (True, False)
    assert "No such file or directory" in str(disk.found)


async def test_a_write_that_does_not_end_is_unhealthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "DEADLINE_S", 0.05)
    asked = Asked(tmp_path)
    asked.medium.hangs = True
    assert (await asked.health.healthy()).checks[0].found == "a write has not ended after 0 s"


async def test_a_write_that_hangs_is_waited_for_and_not_tried_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, writes = threading.Event(), list[Path]()

    def write(folder: Path) -> None:
        writes.append(folder)
        goes_on.wait()

    monkeypatch.setattr(health, "DEADLINE_S", 0.05)
    monkeypatch.setattr(health, "_write_a_file", write)
    asked = Asked(tmp_path)
    asked.medium.hangs = True
    try:
        for _ in range(3):
            assert not (await asked.health.healthy()).is_well
            asked.clock.advance(TRIED_MS)
        assert (asked.medium.writes, len(writes)) == (1, 1)
    finally:
        goes_on.set()
    monkeypatch.setattr(health, "DEADLINE_S", 60.0)
    asked.medium.hangs = False
    asked.medium.release()
    assert (await asked.health.healthy()).is_well


async def test_writes_are_tried_now_and_then_however_often_is_asked(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    await asyncio.gather(*(asked.health.healthy() for _ in range(20)), *(asked.health.ready() for _ in range(20)))
    asked.clock.advance(TRIED_MS - 1)
    await asked.health.healthy()
    assert asked.medium.writes == 1
    asked.medium.failure = StorageError("full")
    asked.clock.advance(1)
    assert not (await asked.health.healthy()).is_well
    assert asked.medium.writes == 2


async def test_a_server_that_does_not_listen_is_not_ready_but_healthy(tmp_path: Path) -> None:
    asked = Asked(tmp_path)
    asked.is_serving = False
    assert (await asked.health.healthy()).is_well
    ready = await asked.health.ready()
    assert (ready.is_well, ready.meaning) == (False, "not ready: listeners")


async def test_who_waits_for_channels_asks_for_them(tmp_path: Path) -> None:
    asked = Asked(tmp_path, channel_view(), channel_view(id="b", **ERROR))
    assert (await asked.health.ready(["shop"])).is_well
    ready = await asked.health.ready(["shop", "b", "c"])
    assert ready.meaning == "not ready: channel b, channel c"
    assert [check.found for check in ready.checks[-2:]] == [
        "it is in state Error: the source db.internal is away",
        "there is no such channel",
    ]


async def test_a_real_catalog_takes_the_write(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.db")
    try:
        asked = Health(catalog, tmp_path, Shown(), lambda: True, ManualClock())
        assert (await asked.healthy()).is_well
        assert catalog.setting(health.SETTING) == str(ManualClock().now_ms())
    finally:
        catalog.close()


# --- over HTTP, of a server -------------------------------------------------------------------------------------------

CONFIGURATION = """
[[listeners]]
bind = "127.0.0.1:0"

[console]
bind = "127.0.0.1:0"
{login}

[[channels]]
id = "shop"
topic = "shop_topic"
source = "mysql://nobody@127.0.0.1:1"
objects = ["shop"]

[[channels.groups]]
name = "readers"
id = "dts1"
username = "reader"
password = "Reader-secret1"
"""


def get(address: tuple[str, int], path: str, asked_as: str | None = None) -> tuple[int, str, str]:
    """Status, content type and body."""
    host, port = address
    headers = {} if asked_as is None else {"Host": asked_as}
    try:
        with urlopen(Request(f"http://{host}:{port}{path}", headers=headers), timeout=60) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read().decode()


def _fetch_once(client: RawClient) -> None:
    client.login("reader-dts1", "Reader-secret1")
    client.fetch("shop_topic", 0, max_bytes=1024, max_wait_ms=0)


async def test_a_server_answers_for_its_health_and_counts_what_it_serves(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, CONFIGURATION.format(login="")).start() as server:
        console = server.address("console")
        status, kind, text = await asyncio.to_thread(get, console, "/healthz")
        assert (status, kind, json.loads(text)["is_well"]) == (200, "application/json", True)
        status, _, text = await asyncio.to_thread(get, console, "/readyz")
        assert (status, list(json.loads(text)["channels"])) == (200, ["shop"])
        status, _, text = await asyncio.to_thread(get, console, "/readyz?channel=shop&channel=nope")
        assert (status, json.loads(text)["meaning"]) == (503, "not ready: channel shop, channel nope")
        with RawClient(*server.address()) as client:
            await asyncio.to_thread(_fetch_once, client)
            status, kind, text = await asyncio.to_thread(get, console, "/metrics")
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        told = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert told["binwire_requests_total", "Fetch"] == 1
        assert told["binwire_connections",] == 1
        assert told["binwire_sent_bytes_total",] > 0
        assert told["binwire_group_connections", "shop", "dts1"] == 1
        assert told["process_cpu_seconds_total",] > 0
        status, _, text = await asyncio.to_thread(get, console, "/readyz", "10.0.0.7:18080")
        assert (status, json.loads(text)["channels"]) == (200, {})
        assert (await asyncio.to_thread(get, console, "/readyz?channel=shop", "10.0.0.7:18080"))[0] == 401
        status, kind, text = await asyncio.to_thread(get, console, "/static/dashboards/binwire.json")
        assert (status, kind, json.loads(text)["uid"]) == (200, "application/json", "binwire")


async def test_strangers_are_told_of_health_without_names_and_of_metrics_nothing(tmp_path: Path) -> None:
    login = 'password = "Console-secret1"'
    with ServerProcess(tmp_path, CONFIGURATION.format(login=login)).start() as server:
        console = server.address("console")
        for path in ("/healthz", "/readyz"):
            status, _, text = await asyncio.to_thread(get, console, path)
            assert status == 200
            assert json.loads(text)["channels"] == {}
            assert "shop" not in text
        assert sum(json.loads(text)["states"].values()) == 1
        assert (await asyncio.to_thread(get, console, "/readyz?channel=shop"))[0] == 401
        status, _, text = await asyncio.to_thread(get, console, "/metrics")
        assert status == 401
        assert "binwire_" not in text
