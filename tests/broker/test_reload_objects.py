"""Objects that are edited in the file: taken by `reload` while the server runs, or refused, and said so."""

from __future__ import annotations

import asyncio
import json
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from broker import capturing
from broker.app import Application
from broker.cli import DONE, FAILED, main
from broker.config import load
from broker.config_rules import ConfigError
from capture.avro import decode
from storage.log import resident
from storage.records import iter_batches, iter_records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.live_server import LiveServer

pytestmark = pytest.mark.timeout(90)


class Running:
    """A server on a file that the test changes, capturing a real source."""

    def __init__(self, folder: Path, server: LiveServer) -> None:
        self.file = folder / "binwire.toml"
        self.server = server
        self.one, self.two = server.fresh_database(), server.fresh_database()
        server.execute_all(f"CREATE TABLE {self.one}.a (id INT)", f"CREATE TABLE {self.two}.b (id INT)")
        self.write(self.one)
        self.app = Application(load(self.file), read_again=lambda: load(self.file))

    def write(self, *objects: str, more: str = "") -> None:
        self.file.write_text(
            '[[listeners]]\nbind = "127.0.0.1:0"\n[[channels]]\nid = "shop"\ntopic = "shop"\n'
            f'source = "{self.server.url()}"\nobjects = {json.dumps(list(objects))}\n{more}',
            "utf-8",
        )

    async def normal(self) -> None:
        served = next(iter(self.app.channels))
        changed = asyncio.Event()
        end = served.channel.subscribe(changed.set)
        try:
            while str(served.channel.status().state) != "Normal":
                changed.clear()
                await changed.wait()
        finally:
            end()

    async def rows_until(self, wanted: tuple[str, int]) -> list[tuple[str, int]]:
        """(table, id) of each captured row, once the wanted one is there."""
        log = next(iter(self.app.channels)).log
        grown = asyncio.Event()
        end = log.subscribe(grown.set)
        try:
            while True:
                grown.clear()
                found = await self._rows()
                if wanted in found:
                    return found
                await grown.wait()
        finally:
            end()

    async def _rows(self) -> list[tuple[str, int]]:
        log = next(iter(self.app.channels)).log
        found, offset = [], log.log_start_offset
        while offset < log.high_watermark:
            with await resident(partial(log.read, offset, 1 << 20)) as piece:
                for batch in iter_batches(bytes(piece.view)):
                    offset = batch.header.next_offset
                    for record in iter_records(batch):
                        fields = decode(record.value or b"")
                        if fields["operation"] == "INSERT":
                            value = int(fields["afterImages"][0]["value"])
                            found.append((fields["objectName"].split(".")[1], value))
        return found


@pytest.fixture
async def run(tmp_path: Path, mysql97: LiveServer) -> AsyncIterator[Running]:
    running = await asyncio.to_thread(Running, tmp_path, mysql97)
    await running.app.start()
    await running.normal()
    yield running
    await running.app.close()


def insert(run: Running, number: int) -> None:
    for table in (f"{run.one}.a", f"{run.two}.b"):
        run.server.execute(f"INSERT INTO {table} VALUES ({number})")


async def test_objects_are_taken_and_told(run: Running) -> None:
    insert(run, 1)
    await run.rows_until(("a", 1))
    run.write(run.two, run.one)
    assert f"objects of shop: {run.two}, {run.one}" in await run.app.reload()
    insert(run, 2)
    assert await run.rows_until(("b", 2)) == [("a", 1), ("a", 2), ("b", 2)]
    told = await run.app.reload()
    assert told == "the groups are as they were", "nothing is left to change"
    run.write(run.two)
    assert f"objects of shop: {run.two}" in await run.app.reload()
    insert(run, 3)
    assert await run.rows_until(("b", 3)) == [("a", 1), ("a", 2), ("b", 2), ("b", 3)]


async def test_a_precheck_looks_at_the_objects_that_are_tracked_now(
    run: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers = []

    def stored_resume(*arguments: Any) -> Any:
        readers.append(threading.current_thread())
        return known(*arguments)

    known = capturing._stored_resume
    monkeypatch.setattr(capturing, "_stored_resume", stored_resume)
    run.write(run.two)
    await run.app.reload()
    run.server.execute(f"DROP DATABASE {run.one}")
    items = await run.app.channels.precheck("shop")
    assert items
    assert not [item for item in items if item.outcome == "failed"]
    assert readers
    assert threading.main_thread() not in readers, "neither log nor catalog is read on the loop"


async def test_other_changes_do_not_wait_for_a_source_that_takes_its_time(
    run: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def take_slowly(*_: object) -> str:
        asked.set()
        await answered.wait()
        return "they are taken"

    monkeypatch.setattr("broker.app.take_objects", take_slowly)
    run.write(run.two)
    reloading = asyncio.create_task(run.app.reload())
    await asked.wait()
    assert not run.app.changing.locked(), "groups and channels are made meanwhile"
    assert next(iter(run.app.channels)).changing.locked(), "nothing else is done with this channel"
    answered.set()
    assert "they are taken" in await reloading


async def test_objects_that_cannot_be_read_change_nothing(run: Running) -> None:
    run.write(run.one, "a.b.c")
    with pytest.raises(ConfigError, match=r"channels\[0\]\.objects\[1\]: 'a\.b\.c' in objects is neither"):
        await run.app.reload()
    run.write()
    with pytest.raises(ConfigError, match=r"channels\[0\]\.objects: found \[\]; allowed is a list of databases"):
        await run.app.reload()
    insert(run, 1)
    assert await run.rows_until(("a", 1)) == [("a", 1)]


async def test_a_channel_that_was_stopped_takes_them_when_it_is_started(run: Running) -> None:
    await run.app.channels.stop_channel("shop")
    run.write(run.two)
    assert "objects of shop: they are taken when the channel is started" in await run.app.reload()
    await run.app.channels.start_channel("shop")
    await run.normal()
    insert(run, 1)
    assert await run.rows_until(("b", 1)) == [("b", 1)]


def test_a_schema_file_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "binwire.toml"
    text = '[[channels]]\nid = "shop"\ntopic = "shop"\nsource = "file:///x.000001"\nobjects = ["shop"]\n'
    file.write_text(text + 'schema_file = "tables.sql"\n', "utf-8")
    with pytest.raises(ConfigError, match=r"channels\[0\]\.schema_file: there is no file .*tables\.sql; name"):
        load(file)
    (tmp_path / "tables.sql").write_text("", "utf-8")
    assert load(file).channels[0].schema_file == str(tmp_path / "tables.sql")
    file.write_text(text + 'ghost_ddl = "both"\n', "utf-8")
    with pytest.raises(ConfigError, match=r"channels\[0\]\.ghost_ddl: found 'both'; allowed is follow or service"):
        load(file)


async def test_a_program_sees_by_the_exit_status_that_objects_were_refused(
    run: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["reload", "-c", str(run.file)]
    assert await asyncio.to_thread(main, command) == DONE
    (served,) = run.app.channels
    monkeypatch.setattr(served.channel, "refused_objects", "the objects crm are not there")
    assert await asyncio.to_thread(main, command) == FAILED
    assert await asyncio.to_thread(main, ["status", "-c", str(run.file)]) == DONE
    assert "  refused   the objects crm are not there" in capsys.readouterr().out
