"""A channel's whole life by operations, on a real MySQL."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pymysql.err import OperationalError

from broker.control import PrecheckItem
from broker.operations.operation import Refusal
from capture.avro import decode
from storage.errors import StorageError
from storage.log import resident
from storage.records import iter_batches, iter_records
from tests.broker.control_plane import Control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.live_server import LiveServer

pytestmark = pytest.mark.timeout(120)


class Shop:
    """A channel on one of two databases of a server."""

    def __init__(self, control: Control, server: LiveServer) -> None:
        self.control = control
        self.server = server
        self.one, self.two = server.fresh_database(), server.fresh_database()
        server.execute_all(f"CREATE TABLE {self.one}.a (id INT)", f"CREATE TABLE {self.two}.b (id INT)")
        self.channel_id = ""

    async def start(self, **given: Any) -> None:
        usual: dict[str, Any] = {"source": {"url": self.server.url()}, "objects": [self.one], "start": "now"}
        self.channel_id = await self.control.create(**(usual | given))
        await self.control.call("start_channel", channel_id=self.channel_id)
        await self.control.reached(self.channel_id, "Normal")

    async def insert(self, number: int) -> None:
        """Into a table of each database, the second's last."""
        for table in (f"{self.one}.a", f"{self.two}.b"):
            await asyncio.to_thread(self.server.execute, f"INSERT INTO {table} VALUES ({number})")

    async def seen_until(self, operation: str, name: str) -> list[tuple[str, str]]:
        """(operation, table) of what was captured, rows with their value, once one of these is there."""
        log = self.control.served(self.channel_id).log
        grown = asyncio.Event()
        end = log.subscribe(grown.set)
        try:
            while True:
                grown.clear()
                found = await self.seen()
                if (operation, name) in found:
                    return found
                await grown.wait()
        finally:
            end()

    async def seen(self) -> list[tuple[str, str]]:
        log = self.control.served(self.channel_id).log
        found, offset = [], log.log_start_offset
        while offset < log.high_watermark:
            with await resident(partial(log.read, offset, 1 << 20)) as piece:
                for batch in iter_batches(bytes(piece.view)):
                    offset = batch.header.next_offset
                    for record in iter_records(batch):
                        fields = decode(record.value or b"")
                        if fields["operation"] == "INSERT":
                            table = fields["objectName"].split(".")[1]
                            found.append(("INSERT", f"{table}{fields['afterImages'][0]['value']}"))
                        elif fields["operation"] == "DDL":
                            found.append(("DDL", fields["afterImages"]))
        return found


@pytest.fixture
async def shop(tmp_path: Path, mysql97: LiveServer) -> AsyncIterator[Shop]:
    async with Control(tmp_path) as control:
        yield await asyncio.to_thread(Shop, control, mysql97)


def rows(found: list[tuple[str, str]]) -> list[str]:
    return [name for operation, name in found if operation == "INSERT"]


async def test_from_nothing_to_rows_and_on_after_a_restart(tmp_path: Path, mysql97: LiveServer) -> None:
    async with Control(tmp_path) as control:
        shop = await asyncio.to_thread(Shop, control, mysql97)
        await shop.start(region="cn_hangzhou", name="商店")
        view = await control.show(shop.channel_id)
        account = mysql97.url().partition("://")[2].partition(":")[0]
        assert view.topic == f"cn_hangzhou_{shop.channel_id}_{account}_version2"
        assert (view.state, view.reason, view.retried_until_ms) == ("Normal", None, None)
        await shop.insert(1)
        assert rows(await shop.seen_until("INSERT", "a1")) == ["a1"]
    await shop.insert(2)
    async with Control(tmp_path) as shop.control:
        await shop.insert(3)
        assert rows(await shop.seen_until("INSERT", "a3")) == ["a1", "a2", "a3"]


async def test_other_objects_are_in_force_from_that_moment_and_not_before(shop: Shop) -> None:
    await shop.start()
    await shop.insert(1)
    await shop.seen_until("INSERT", "a1")
    changed = await shop.control.call("change_objects", channel_id=shop.channel_id, objects=[shop.one, shop.two])
    assert changed.channel.objects == (shop.one, shop.two)
    assert changed.message == f"objects of {shop.channel_id}: {shop.one}, {shop.two}"
    await shop.insert(2)
    assert rows(await shop.seen_until("INSERT", "b2")) == ["a1", "a2", "b2"]
    await shop.control.call("change_objects", channel_id=shop.channel_id, objects=[f"{shop.two}.b"])
    await shop.insert(3)
    assert rows(await shop.seen_until("INSERT", "b3")) == ["a1", "a2", "b2", "b3"]
    await shop.control.app.close()
    async with Control(shop.control.folder) as shop.control:
        await shop.insert(4)
        assert rows(await shop.seen_until("INSERT", "b4")) == ["a1", "a2", "b2", "b3", "b4"]


async def test_objects_whose_precheck_fails_change_nothing(shop: Shop) -> None:
    await shop.start()
    before = await shop.control.show(shop.channel_id)
    for objects in (["nowhere"], [shop.one, f"{shop.one}.nothing"]):
        refusal = await shop.control.refused("change_objects", channel_id=shop.channel_id, objects=objects)
        assert refusal.refusal is Refusal.PRECHECK_FAILED
        assert [item["name"] for item in refusal.details if item["outcome"] == "failed"] == ["objects"]
        assert all(item["remedy"] for item in refusal.details if item["outcome"] == "failed")
    assert (await shop.control.refused("change_objects", channel_id=shop.channel_id, objects=[])).field == "objects"
    view = await shop.control.show(shop.channel_id)
    assert (view.state, view.objects, view.refused_objects) == ("Normal", before.objects, None)
    [document] = shop.control.app.catalog.documents()
    assert json.loads(document.document)["objects"] == [shop.one]


async def test_objects_that_capture_refuses_are_withdrawn(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only shows where the log ends: the definition of what is added is not known there."""
    from capture import resume
    from capture.errors import SourceRefused

    async def refuse(*_: object) -> None:
        raise SourceRefused("the definition was changed meanwhile")

    await shop.start()
    monkeypatch.setattr(resume, "take_objects", refuse)
    refusal = await shop.control.refused("change_objects", channel_id=shop.channel_id, objects=[shop.one, shop.two])
    assert "the definition was changed meanwhile" in str(refusal)
    view = await shop.control.show(shop.channel_id)
    assert (view.state, view.objects, view.refused_objects) == ("Normal", (shop.one,), None)
    [document] = shop.control.app.catalog.documents()
    assert json.loads(document.document)["objects"] == [shop.one]
    await shop.insert(1)
    assert rows(await shop.seen_until("INSERT", "a1")) == ["a1"]


async def test_types_of_changes_are_changed_with_the_objects(shop: Shop) -> None:
    await shop.start(data_types=["ddl"])
    await shop.insert(1)
    changed = await shop.control.call(
        "change_objects", channel_id=shop.channel_id, objects=[shop.one], data_types=["dml", "ddl"]
    )
    assert changed.channel.data_types == ("dml", "ddl")
    await shop.insert(2)
    assert rows(await shop.seen_until("INSERT", "a2")) == ["a2"]


async def test_a_source_that_comes_back_is_tried_at_once_when_asked(
    tmp_path: Path, server_factory: Callable[..., LiveServer]
) -> None:
    server = await asyncio.to_thread(server_factory, "mysql97")
    async with Control(tmp_path) as control:
        shop = await asyncio.to_thread(Shop, control, server)
        await shop.start()
        await asyncio.to_thread(server.kill)
        view = await control.reached(shop.channel_id, "Error")
        assert view.retried_until_ms is not None
        assert {"resume_channel", "precheck_channel", "change_objects"} <= set(view.operations)
        view = await control.call("precheck_channel", channel_id=shop.channel_id, wait=True)
        assert view.precheck is not None
        assert [(item.name, item.outcome) for item in view.precheck] == [("reachable", "failed")]
        refusal = await control.refused("change_objects", channel_id=shop.channel_id, objects=[shop.one, shop.two])
        assert refusal.refusal is Refusal.PRECHECK_FAILED
        await asyncio.to_thread(server.start)
        await control.call("resume_channel", channel_id=shop.channel_id)
        await control.reached(shop.channel_id, "Normal")
        await shop.insert(1)
        assert rows(await shop.seen_until("INSERT", "a1")) == ["a1"]


def account(server: LiveServer, password: str) -> str:
    """A new account with this password; its name."""
    name = f"binwire_{secrets.token_hex(4)}"
    server.execute(f"CREATE USER {name} IDENTIFIED BY '{password}'")
    server.execute(f"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {name}")
    return name


def cut(server: LiveServer, name: str) -> None:
    """End the connections of an account."""
    for (number,) in server.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (name,)):
        with suppress(OperationalError):  # it has ended by itself, as one does when the other is gone
            server.execute(f"KILL {number}")


async def test_a_password_that_was_changed_at_the_source_is_changed_here(shop: Shop) -> None:
    """The channel stands in Error, and goes on where its log ends; nothing of either password is told or left."""
    control, server = shop.control, shop.server
    name = await asyncio.to_thread(account, server, "Old-Pa55word")
    await shop.start(source={"url": server.url(name, "Old-Pa55word")})
    topic = (await control.show(shop.channel_id)).topic
    await shop.insert(1)
    await shop.seen_until("INSERT", "a1")
    await asyncio.to_thread(server.execute, f"ALTER USER {name} IDENTIFIED BY 'New#Pa55:word'")
    await asyncio.to_thread(cut, server, name)
    await control.served(shop.channel_id).channel.wait_ended()  # type: ignore[attr-defined]
    view = await control.show(shop.channel_id)
    assert (view.state, view.retried_until_ms) == ("Error", None)
    assert "Access denied" in str(view.reason)
    await shop.insert(2)
    refusal = await control.refused(
        "change_source", channel_id=shop.channel_id, source={"url": server.url(name, "Wr0ng-one")}
    )
    assert refusal.refusal is Refusal.PRECHECK_FAILED
    assert str(refusal).startswith(f"the source stays {view.source}: the precheck failed: reachable: ")
    assert "Wr0ng-one" not in str(refusal) + repr(refusal.details)
    assert control.app.catalog.source_password(shop.channel_id) == "Old-Pa55word"
    parts = view.source_parts
    assert parts is not None
    source = {"host": parts.host, "port": parts.port, "username": parts.username, "password": "New#Pa55:word"}
    changed = await control.call("change_source", channel_id=shop.channel_id, source=source)
    assert changed.message == f"{shop.channel_id} goes on at {view.source}"
    assert (changed.channel.state, changed.channel.topic) == ("Normal", topic)
    assert "Pa55" not in repr(changed)
    assert rows(await shop.seen_until("INSERT", "a2")) == ["a1", "a2"]
    assert control.app.catalog.source_password(shop.channel_id) == "New%23Pa55%3Aword"
    found = await control.call("list_databases", channel_id=shop.channel_id, search=shop.one)
    assert found.total == 1
    await control.app.close()
    async with Control(control.folder) as shop.control:
        await shop.insert(3)
        assert rows(await shop.seen_until("INSERT", "a3")) == ["a1", "a2", "a3"]
        audited = repr(await shop.control.call("list_audit"))
        assert audited.count("change_source") == 2
        assert "Pa55" not in audited
        assert "Wr0ng" not in audited


async def test_a_tracked_database_that_was_dropped_keeps_no_password_from_being_changed(shop: Shop) -> None:
    await shop.start(objects=[shop.one, shop.two])
    await asyncio.to_thread(shop.server.execute, f"DROP DATABASE {shop.two}")
    name = await asyncio.to_thread(account, shop.server, "Pa55-word")
    source = {"url": shop.server.url(name, "Pa55-word")}
    changed = await shop.control.call("change_source", channel_id=shop.channel_id, source=source)
    assert changed.channel.state == "Normal"
    assert [item.name for item in changed.channel.precheck if item.outcome == "failed"] == ["objects"]
    await asyncio.to_thread(shop.server.execute, f"INSERT INTO {shop.one}.a VALUES (1)")
    assert rows(await shop.seen_until("INSERT", "a1")) == ["a1"]


async def test_another_account_keeps_the_topic(shop: Shop) -> None:
    """Though topics are made of accounts where none is named; the channel need not stand still for it."""
    await shop.start()
    topic = (await shop.control.show(shop.channel_id)).topic
    await shop.insert(1)
    await shop.seen_until("INSERT", "a1")
    name = await asyncio.to_thread(account, shop.server, "Pa55-word")
    url = shop.server.url(name, "Pa55-word")
    changed = await shop.control.call("change_source", channel_id=shop.channel_id, source={"url": url})
    assert (changed.channel.state, changed.channel.topic) == ("Normal", topic)
    assert changed.channel.source.startswith(f"mysql://{name}@")
    [row] = [row for row in shop.control.app.catalog.channels() if row.id == shop.channel_id]
    assert row.source == changed.channel.source
    await shop.control.app.close()
    async with Control(shop.control.folder) as shop.control:
        await shop.insert(2)
        assert rows(await shop.seen_until("INSERT", "a2")) == ["a1", "a2"]
        assert (await shop.control.show(shop.channel_id)).topic == topic


async def test_another_server_is_refused_and_the_source_stays(
    shop: Shop, server_factory: Callable[..., LiveServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the precheck; and by capture itself, should the precheck have seen nothing of it."""
    other = await asyncio.to_thread(server_factory, "mysql97")
    await asyncio.to_thread(other.execute_all, f"CREATE DATABASE {shop.one}", f"CREATE TABLE {shop.one}.a (id INT)")
    await shop.start()
    before = await shop.control.show(shop.channel_id)
    kept = json.loads(shop.control.app.catalog.documents()[0].document)
    source = {"url": other.url()}
    refusal = await shop.control.refused("change_source", channel_id=shop.channel_id, source=source)
    assert str(refusal).startswith(f"the source stays {before.source}: the precheck failed: start position: ")
    assert "is another server than the one this channel captured" in str(refusal)

    async def sees_nothing(*_: Any, **__: Any) -> list[PrecheckItem]:
        return [PrecheckItem("reachable", "passed", "it answers")]

    monkeypatch.setattr("broker.app.run_precheck", sees_nothing)
    refusal = await shop.control.refused("change_source", channel_id=shop.channel_id, source=source)
    assert str(refusal).startswith(f"the source stays {before.source}: {other.url().partition('://')[0]}://")
    assert "is another server than the one this channel captured" in str(refusal)
    await shop.control.reached(shop.channel_id, "Normal")
    view = await shop.control.show(shop.channel_id)
    assert (view.source, view.reason, view.source_parts) == (before.source, None, before.source_parts)
    [document] = shop.control.app.catalog.documents()
    assert json.loads(document.document)["source"] == kept["source"]
    await shop.insert(1)
    assert rows(await shop.seen_until("INSERT", "a1")) == ["a1"]


async def test_a_source_that_failed_its_precheck_is_changed_before_the_start(shop: Shop) -> None:
    url = shop.server.url()
    channel_id = await shop.control.create(source={"url": shop.server.url(password="Wr0ng-one")}, objects=[shop.one])
    assert "start_channel" not in (await shop.control.show(channel_id)).operations
    changed = await shop.control.call("change_source", channel_id=channel_id, source={"url": url})
    assert changed.message == f"{channel_id} reads from {changed.channel.source} when it is started"
    assert "start_channel" in changed.channel.operations
    await shop.control.app.close()
    async with Control(shop.control.folder) as shop.control:
        assert "start_channel" in (await shop.control.show(channel_id)).operations
        await shop.control.call("start_channel", channel_id=channel_id)
        await shop.control.reached(channel_id, "Normal")


async def test_a_source_that_cannot_be_kept_stays(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.start()
    before = await shop.control.show(shop.channel_id)
    name = await asyncio.to_thread(account, shop.server, "Pa55-word")

    def fail(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(shop.control.app.catalog, "set_source_password", fail)
    source = {"url": shop.server.url(name, "Pa55-word")}
    refusal = await shop.control.refused("change_source", channel_id=shop.channel_id, source=source)
    assert refusal.refusal is Refusal.STORAGE_UNAVAILABLE
    monkeypatch.undo()
    view = await shop.control.show(shop.channel_id)
    assert (view.state, view.source, view.prechecked_ms) == ("Normal", before.source, before.prechecked_ms)
    [document] = shop.control.app.catalog.documents()
    assert name not in document.document, "the document was not replaced without its password"


async def test_the_address_for_the_whitelist_is_known_before_the_start(shop: Shop) -> None:
    """As the precheck found it, after a restart too, and of a source that lets nobody in."""
    url = shop.server.url()
    channel_id = await shop.control.create(source={"url": url}, objects=[shop.one])
    addresses = (await shop.control.show(channel_id)).whitelist_addresses
    assert "127.0.0.1" in addresses
    denied_id = await shop.control.create(source={"url": url.replace("://", "://nobody_", 1)}, objects=[shop.one])
    view = await shop.control.show(denied_id)
    assert view.precheck is not None
    assert [(item.name, item.outcome) for item in view.precheck] == [("reachable", "failed")]
    assert "127.0.0.1" in view.whitelist_addresses
    await shop.control.app.close()
    async with Control(shop.control.folder) as shop.control:
        assert (await shop.control.show(channel_id)).whitelist_addresses == addresses
        await shop.control.call("start_channel", channel_id=channel_id)
        assert "127.0.0.1" in (await shop.control.reached(channel_id, "Normal")).whitelist_addresses


async def test_a_wrong_password_fails_the_precheck_and_is_not_repeated(shop: Shop) -> None:
    url = shop.server.url()
    host = url.rpartition("@")[2]
    name, _, port = host.partition("/")[0].partition(":")
    channel_id = await shop.control.create(
        source={"host": name, "port": int(port), "username": "repl", "password": "Wr0ng-one"}, objects=[shop.one]
    )
    view = await shop.control.show(channel_id)
    assert view.reason is not None
    assert view.reason.startswith("the precheck failed: reachable: ")
    assert "Wr0ng-one" not in repr(view)
    assert await shop.control.outcome("start_channel", channel_id=channel_id) is Refusal.PRECHECK_FAILED
    await shop.control.call("release_channel", channel_id=channel_id, confirm=channel_id)


async def test_a_channel_is_released_while_its_source_is_busy(shop: Shop) -> None:
    await shop.start()
    is_over = asyncio.Event()

    async def write() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            await shop.insert(number)

    writing = asyncio.create_task(write())
    await shop.seen_until("INSERT", "a5")
    released = await shop.control.call("release_channel", channel_id=shop.channel_id, confirm=shop.channel_id)
    assert any("whitelist" in line for line in released.take_back)
    is_over.set()
    await writing
    assert (await shop.control.call("list_channels")).total == 0
    assert list((shop.control.folder / "data" / "topics").iterdir()) == []
