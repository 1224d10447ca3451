"""The running server as a whole: what it opens, keeps, tells, refuses, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from broker.accounts import Verifier
from broker.app import Application
from broker.capturing import CallFailedError
from broker.config import Config, from_document
from broker.config_rules import ConfigError
from broker.control import ask
from broker.rate import Rate
from broker.server import ListenError
from storage.catalog import Catalog
from storage.errors import CatalogCorrupt, CatalogUnavailable, DataDirectoryInUse, StorageError
from tests.fakes import ManualClock
from tests.server_process import ServerFailedError, ServerProcess
from tests.tools.workplace import CHECKOUT

RECORDING = CHECKOUT / "broker" / "data" / "demo-shop.000001"
GROUP = {"name": "analytics", "username": "dtstest", "password": "Secret-123"}


def channel(**values: Any) -> dict[str, Any]:
    usual = {"id": "shop", "topic": "shop", "source": f"file://{RECORDING}", "objects": ["shop"], "start": "earliest"}
    return usual | {"groups": [GROUP]} | values


def config(folder: Path, *channels: dict[str, Any]) -> Config:
    return from_document({"listeners": [{"bind": "127.0.0.1:0"}], "channels": list(channels)}, folder, {})


@asynccontextmanager
async def serving(settings: Config) -> AsyncIterator[Application]:
    """A started application that is closed whatever happens."""
    app = Application(settings)
    await app.start()
    try:
        yield app
    finally:
        await app.close()


async def status(folder: Path) -> dict[str, Any]:
    [answer] = await asyncio.to_thread(lambda: list(ask(folder / "data" / "control.sock", {"request": "status"})))
    found: dict[str, Any] = answer["status"]
    return found


async def records_of(folder: Path, topic: str = "shop") -> list[dict[str, Any]]:
    request = {"request": "tail", "topic": topic, "back": 1 << 30}
    answers = await asyncio.to_thread(lambda: list(ask(folder / "data" / "control.sock", request)))
    return [answer["record"] for answer in answers if "record" in answer]


async def until_ended(app: Application) -> None:
    """Wait until every channel has read its file to the end."""
    for served in app.channels:
        await served.channel.wait_ended()  # type: ignore[attr-defined]


async def test_it_serves_and_leaves_nothing_behind_but_data(tmp_path):
    async with serving(config(tmp_path, channel())) as app:
        data = tmp_path / "data"
        ready = json.loads((data / "ready.json").read_text())
        assert ready == {"listeners": {"public": str(app.addresses["public"])}, "pid": os.getpid()}
        assert stat.S_IMODE((data / "control.sock").stat().st_mode) == 0o600
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        await until_ended(app)
        found = await status(tmp_path)
        assert [item["topic"] for item in found["channels"]] == ["shop"]
    left = {path.name for path in data.iterdir()}
    assert left == {"catalog.db", "format", "lock", "topics"}


async def test_ids_once_given_are_kept(tmp_path):
    seen = []
    for _ in range(2):
        async with serving(config(tmp_path, channel())) as app:
            await until_ended(app)
            [item] = (await status(tmp_path))["channels"]
            first = (await records_of(tmp_path))[0]
            [row] = app.catalog.channels()
            seen.append((item["groups"][0]["id"], first, row.server_id, row.id_base, app.catalog.setting("cluster_id")))
    assert seen[0] == seen[1]
    group_id, _, server_id, _, cluster_id = seen[0]
    assert group_id.startswith("dts")
    assert len(group_id) == 18
    assert server_id >= 1 << 30
    assert cluster_id is not None
    assert len(cluster_id) == 22


async def test_the_file_decides_about_passwords_and_the_catalog_has_none(tmp_path):
    hashed = GROUP | {"name": "hashed", "username": "u2"}
    del hashed["password"]
    hashed["password_hash"] = str(Verifier(1, 1, 1, b"salt" * 4, b"digest" * 5))
    async with serving(config(tmp_path, channel(groups=[GROUP, hashed]))) as app:
        assert [row.verifier for row in app.catalog.groups()] == [None, None]
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            assert b"Secret-123" not in path.read_bytes()


async def test_a_channel_keeps_its_topic(tmp_path):
    async with serving(config(tmp_path, channel())):
        pass
    app = Application(config(tmp_path, channel(topic="other")))
    with pytest.raises(ConfigError, match=r"channels\[0\].topic: found 'other', but channel 'shop' has its data under"):
        await app.start()


async def test_a_topic_keeps_its_channel(tmp_path):
    async with serving(config(tmp_path, channel())) as app:
        await until_ended(app)
        kept = [(row.id, row.server_id, row.id_base) for row in app.catalog.channels()]
        records = await records_of(tmp_path)
    renamed = Application(config(tmp_path, channel(id="b")))
    with pytest.raises(
        ConfigError, match=r"channels\[0\].id: found 'b', but the topic 'shop' has the data of channel 'sho"
    ):
        await renamed.start()
    await renamed.close()
    async with serving(config(tmp_path, channel())) as app:
        assert [(row.id, row.server_id, row.id_base) for row in app.catalog.channels()] == kept
        await until_ended(app)
        assert await records_of(tmp_path) == records


async def test_a_group_id_belongs_to_one_channel_for_ever(tmp_path):
    async with serving(config(tmp_path, channel(groups=[GROUP | {"id": "dts1"}]))):
        pass
    app = Application(config(tmp_path, channel(id="b", topic="b", groups=[GROUP | {"id": "dts1"}])))
    with pytest.raises(
        ConfigError, match="has the id 'dts1', which belongs to the group 'analytics' of channel 'shop'"
    ):
        await app.start()


def kept(folder: Path) -> dict[str, Any]:
    """What a start leaves for the next one, in the catalog and beside it."""
    with closing(Catalog.open(folder / "data" / "catalog.db")) as catalog:
        channels, groups = catalog.channels(), catalog.groups()
    logs = sorted((folder / "data" / "topics").iterdir())
    return {"channels": channels, "groups": groups, "logs": logs}


async def refused(folder: Path, error: type[Exception], match: str, *channels: dict[str, Any]) -> None:
    """A start is refused and leaves everything as it was."""
    before = kept(folder)
    with pytest.raises(error, match=match):
        await Application(config(folder, *channels)).start()
    assert kept(folder) == before


async def test_a_refused_start_leaves_nothing_of_what_is_new(tmp_path):
    taken = GROUP | {"id": "dts1"}
    async with serving(config(tmp_path, channel(groups=[taken]))):
        pass
    new = channel(id="b", topic="b", groups=[])
    await refused(tmp_path, ConfigError, "belongs to the group 'analytics'", channel(), new | {"groups": [taken]})
    await refused(tmp_path, ConfigError, "topic: found 'other'", new, channel(name="renamed", topic="other"))
    await refused(tmp_path, ConfigError, "the source address needs a user", new, channel(source="mysql://h"))
    (tmp_path / "data" / "topics" / "c-0").write_text("no folder")
    await refused(tmp_path, StorageError, "c-0", new, channel(id="c", topic="c"))
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        port.listen()
        before = kept(tmp_path)
        document = {"listeners": [{"bind": f"127.0.0.1:{port.getsockname()[1]}"}], "channels": [channel(), new]}
        with pytest.raises(ListenError):
            await Application(from_document(document, tmp_path, {})).start()
        assert kept(tmp_path) == before


async def test_a_start_whose_rows_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    async with serving(config(tmp_path)):
        pass

    def full(self: Catalog, rows: object) -> None:
        raise CatalogUnavailable("the disk is full")

    monkeypatch.setattr(Catalog, "put_groups", full)
    await refused(tmp_path, CatalogUnavailable, "full", channel())


async def test_a_start_with_nothing_new_writes_nothing_into_the_catalog(tmp_path):
    """A full disk is met by whoever has something to write."""
    for changes in (3, 0):  # cluster id, channel, group
        async with serving(config(tmp_path, channel(source="file:///none.000001"))) as app:
            assert app.catalog._connection.total_changes == changes


async def test_a_refused_channel_of_a_running_server_leaves_nothing(tmp_path):
    taken = GROUP | {"id": "dts1"}
    async with serving(config(tmp_path, channel(groups=[taken]))) as app:
        other = config(tmp_path, channel(id="b", topic="b", source="file:///embedded.000001", groups=[taken]))
        with pytest.raises(CallFailedError, match="belongs to the group"):
            await app.add_embedded(other.channels[0], [], "test")
        assert "b" not in app.channels
        assert [row.id for row in app.catalog.channels()] == ["shop"]
        free = config(tmp_path, channel(id="b", topic="b", source="file:///embedded.000001"))
        await app.add_embedded(free.channels[0], [], "test")
    assert [row.id for row in kept(tmp_path)["channels"]] == ["shop", "b"]


async def test_a_channel_whose_rows_cannot_be_written_leaves_no_log_open(tmp_path, monkeypatch):
    def full(self: Catalog, rows: object) -> None:
        raise CatalogUnavailable("the disk is full")

    async with serving(config(tmp_path, channel())) as app:
        other = config(tmp_path, channel(id="b", topic="b", source="file:///embedded.000001")).channels[0]
        with monkeypatch.context() as patched:
            patched.setattr(Catalog, "put_groups", full)
            with pytest.raises(CallFailedError, match="the disk is full"):
                await app.add_embedded(other, [], "test")
        assert not (tmp_path / "data" / "topics" / "b-0").exists()
        embedded = await app.add_embedded(other, ["CREATE TABLE test.t (id INT PRIMARY KEY)"], "test")
        end = embedded._opened.log.high_watermark
    async with serving(config(tmp_path, channel(id="b", topic="b", source="file:///embedded.000001"))) as app:
        log = app.channels.find_log("b")
        assert log is not None
        assert log.high_watermark == end > 0


@pytest.mark.parametrize("how", ["gone", "empty", "without its rows"])
async def test_a_log_is_never_given_to_a_channel_that_does_not_know_it(tmp_path, how):
    """New ids for its records, and another start, would be told to nobody."""
    async with serving(config(tmp_path, channel())) as app:
        await until_ended(app)
    catalog = tmp_path / "data" / "catalog.db"
    if how == "without its rows":
        with closing(Catalog.open(catalog)) as opened:
            opened.delete_channel("shop")
    else:
        catalog.unlink()
        _ = how == "gone" or catalog.touch()
    with pytest.raises(CatalogCorrupt) as caught:
        await Application(config(tmp_path, channel())).start()
    assert "shop-0 has records of the topic 'shop' that the catalog" in str(caught.value)
    assert str(caught.value).endswith(f"save what can be read with: binwire salvage --data-dir {tmp_path}/data")
    assert kept(tmp_path)["channels"] == []


async def test_a_catalog_that_is_older_than_the_log_is_not_taken_for_its_own(tmp_path):
    async with serving(config(tmp_path, channel())) as app:
        await until_ended(app)
    with closing(Catalog.open(tmp_path / "data" / "catalog.db")) as catalog:
        [row] = catalog.channels()
        catalog.put_channel(replace(row, start=None))
    with pytest.raises(CatalogCorrupt, match=r"knows nothing of: it was lost, or is older than the log; .*salvage"):
        await Application(config(tmp_path, channel())).start()


async def test_a_large_catalog_is_checked_while_it_serves(tmp_path, monkeypatch, caplog):
    async with serving(config(tmp_path, channel())) as app:
        await until_ended(app)
        assert app._verifying is None
    monkeypatch.setattr("storage.catalog.CHECKED_BYTES_MAX", 0)
    async with serving(config(tmp_path, channel())) as app:
        assert app._verifying is not None
        await app._verifying

    def damaged(self: Catalog) -> None:
        raise CatalogCorrupt("the catalog is damaged; salvage it")

    monkeypatch.setattr(Catalog, "verify", damaged)
    async with serving(config(tmp_path, channel())) as app:
        assert app._verifying is not None
        await app._verifying
        assert "the catalog is damaged; salvage it" in caplog.text
        assert (await status(tmp_path))["channels"]


class Guard:
    """The lock of a catalog, which the event loop must not wait for: a commit holds it as long as the medium takes."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._loop_thread = threading.get_ident()
        self.uses = 0

    def __enter__(self) -> None:
        assert threading.get_ident() != self._loop_thread, "the event loop waits for the catalog"
        self.uses += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


async def test_nothing_that_is_asked_of_a_server_waits_for_the_catalog_on_the_loop(tmp_path):
    settings = config(tmp_path, channel())
    again = config(tmp_path, channel(groups=[GROUP, GROUP | {"name": "second"}]))
    app = Application(settings, read_again=lambda: again)
    await app.start()
    lock = app.catalog._lock
    guard = Guard(lock)
    app.catalog._lock = guard  # type: ignore[assignment]
    try:
        await until_ended(app)
        [served] = app.channels
        await served.channel.stop()
        await served.channel.start()
        await until_ended(app)
        group_id = served.groups[0].id
        assert "added" in await app.reload()
        await app.offsets.commit(group_id, [("shop", 0, 5, "")])
        assert (await status(tmp_path))["channels"][0]["groups"][0]["offset"] == 5
        assert await records_of(tmp_path)
        await app.offsets.delete(group_id)
        free = config(tmp_path, channel(id="b", topic="b", source="file:///embedded.000001"))
        embedded = await app.add_embedded(free.channels[0], ["CREATE TABLE x.t (id INT PRIMARY KEY)"], "test")
        await embedded.change(lambda source: source.insert("x.t", {"id": 7}, timestamp_s=1_700_000_000))
    finally:
        app.catalog._lock = lock
        await app.close()
    assert guard.uses > 10


async def test_a_commit_that_takes_long_holds_nobody_else(tmp_path):
    """While one hangs in its fsync: status and records are answered, and reload waits by itself."""
    settings = config(tmp_path, channel())
    app = Application(settings, read_again=lambda: settings)
    await app.start()
    hangs, goes_on = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        goes_on.wait()

    try:
        await until_ended(app)
        hanging = asyncio.create_task(app.catalog.run(hang))
        await asyncio.to_thread(hangs.wait)
        reloading = asyncio.create_task(app.reload())
        assert (await status(tmp_path))["channels"][0]["groups"][0]["offset"] is None
        assert await records_of(tmp_path)
        assert not reloading.done()
        goes_on.set()
        await hanging
        assert await reloading == "the groups are as they were"
    finally:
        goes_on.set()
        await app.close()


async def test_a_channel_missing_from_the_file_is_kept(tmp_path, caplog):
    async with serving(config(tmp_path, channel())) as app:
        await until_ended(app)
        count = len(await records_of(tmp_path))
    async with serving(config(tmp_path)) as app:
        [left] = (await status(tmp_path))["channels"]
        assert (left["id"], left["state"], left["defined_by"]) == ("shop", "Not Started", "none")
        assert left["operations"] == ["preview_release", "release_channel"]
        assert left["reason"].startswith("the configuration file does not name it any more")
        assert "channel is not in the configuration: stopped, its data kept" in caplog.text
    async with serving(config(tmp_path, channel())) as app:
        assert len(await records_of(tmp_path)) == count


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"source": "mysql://h"}, r"channels\[0\].source: the source address needs a user and a host"),
        ({"source": "file:///a.000001?follow=yes"}, r"channels\[0\].source: follow='yes' in the source address"),
        ({"objects": ["a.b.c"]}, r"channels\[0\].objects\[0\]: 'a.b.c' in objects is neither a database nor"),
    ],
)
async def test_what_only_capture_can_refuse_names_the_key_too(tmp_path, values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        await Application(config(tmp_path, channel(**values))).start()


async def test_an_occupied_port_is_one_sentence_and_gives_everything_back(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        document = {"listeners": [{"bind": f"127.0.0.1:{port}"}], "channels": [channel()]}
        with pytest.raises(ListenError, match=f"127.0.0.1:{port}") as caught:
            await Application(from_document(document, tmp_path, {})).start()
        assert "\n" not in str(caught.value)
    async with serving(config(tmp_path, channel())):
        pass


async def test_a_data_directory_has_one_owner(tmp_path):
    async with serving(config(tmp_path)):
        with pytest.raises(DataDirectoryInUse, match="is in use by another process"):
            await Application(config(tmp_path)).start()


async def test_a_source_that_cannot_be_read_does_not_keep_the_rest_from_serving(tmp_path, caplog):
    broken = channel(id="broken", topic="broken", source=f"file://{tmp_path}/none.000001", groups=[])
    async with serving(config(tmp_path, broken, channel())) as app:
        await until_ended(app)
        first, second = (await status(tmp_path))["channels"]
        assert (first["state"], first["retried_until_ms"]) == ("Error", None)
        assert first["reason"].startswith(f"the binlog file {tmp_path}/none.000001 cannot be read")
        assert second["state"] == "Normal"
        assert second["reason"].startswith("the source ended at demo-shop.000001:")
        assert len(await records_of(tmp_path)) > 100
        assert f"channel stands still: {first['reason']}" in caplog.text


async def test_a_channel_can_be_fed_by_call(tmp_path):
    async with serving(config(tmp_path)) as app:
        made = from_document({"channels": [channel(source="file:///embedded.000001", objects=["x"])]}, tmp_path, {})
        embedded = await app.add_embedded(made.channels[0], ["CREATE TABLE x.t (id INT PRIMARY KEY)"], "test")
        before = len(await records_of(tmp_path))
        high_watermark = await embedded.change(
            lambda source: source.insert("x.t", {"id": 7}, timestamp_s=1_700_000_000)
        )
        assert high_watermark == before + 3
        with pytest.raises(CallFailedError):
            await embedded.change(lambda source: source.insert("x.nowhere", {"id": 7}))
        with pytest.raises(CallFailedError):
            await embedded.change(lambda source: source.insert("x.t", {"no": 7}))
        assert len(await records_of(tmp_path)) == high_watermark


def test_a_rate_is_that_of_the_last_seconds():
    clock, offset = ManualClock(), 0
    rate = Rate(lambda: offset, clock)
    assert rate.per_second() == 0
    for _ in range(30):
        clock.advance(1000)
        offset += 50
        rate.sample()
    assert rate.per_second() == 50
    clock.advance(100_000)
    assert rate.per_second() == 0


CONFIGURATION = f"""
[[listeners]]
bind = "127.0.0.1:0"

[[channels]]
id = "shop"
topic = "shop"
source = "file://{RECORDING}"
objects = ["shop"]
start = "earliest"
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_good_order(tmp_path, number):
    with ServerProcess(tmp_path, CONFIGURATION) as server:
        os.kill(server.pid, number)
        assert server.stop() == 0
        assert not (server.data_directory / "running").exists()
        log = [json.loads(line) for line in server.log_tail().splitlines() if line]
    assert [entry["event"] for entry in log if entry["logger"] == "binwire"] == ["listening", "stopping", "stopped"]


def test_a_second_server_on_the_same_data_says_so_and_ends(tmp_path):
    with ServerProcess(tmp_path, CONFIGURATION):
        second = ServerProcess(tmp_path, CONFIGURATION)
        with pytest.raises(
            ServerFailedError, match=r"ended with status 1 before(?s:.*)binwire: .* is in use by another"
        ):
            second.start()


async def test_what_recovery_lost_is_told(tmp_path, caplog):
    async with serving(config(tmp_path, channel())) as app:
        await until_ended(app)
    state = tmp_path / "data" / "topics" / "shop-0" / "state"
    state.write_bytes(bytes(len(state.read_bytes())))
    with caplog.at_level(logging.WARNING):
        async with serving(config(tmp_path, channel())):
            pass
    assert any("captured again from offset" in message for message in caplog.messages)
