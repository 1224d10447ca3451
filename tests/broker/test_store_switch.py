"""A store switch from inside: what fails leaves everything as it was, and of a store that was left nothing stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from broker.app import Application
from broker.capturing import CallFailedError, EmbeddedChannel
from broker.store_switch import switch_store
from storage.errors import CorruptLog, LogWriteError
from storage.log import LogReader, resident
from storage.records import iter_batches, iter_values, records_of
from storage.segment_log import SegmentLog
from tests.broker.test_app import GROUP, channel, config

SQL = "CREATE TABLE x.t (id INT PRIMARY KEY)"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Application]:
    settings = config(tmp_path, channel(id="fed", topic="fed", source="file:///embedded.000001", objects=["x"]))
    app = Application(config(tmp_path))
    await app.start()
    app.embedded = await app.add_embedded(settings.channels[0], [SQL], "x")  # type: ignore[attr-defined]
    yield app
    await app.close()


@pytest.fixture
def embedded(app: Application) -> EmbeddedChannel:
    made: EmbeddedChannel = app.embedded  # type: ignore[attr-defined]
    return made


async def insert(embedded: EmbeddedChannel, number: int) -> None:
    await embedded.change(lambda source: source.insert("t", {"id": number}))


async def switch(app: Application, embedded: EmbeddedChannel, **given: Any) -> None:
    await switch_store(app, "fed", embedded, **{"duplicates": None, "first_offset": None, **given})


def descriptors_open() -> int:
    """Of logs: all their files have a suffix."""
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += path.readlink().parent.parent.name == "topics"
    return found


async def offsets(log: LogReader) -> list[int]:
    return await resident(lambda: _offsets(log))


def _offsets(log: LogReader) -> list[int]:
    found: list[int] = []
    offset = log.log_start_offset
    while offset < log.high_watermark:
        with log.read(offset, 1) as part:
            for batch in iter_batches(part.view):
                found += [each for each, *_ in iter_values(batch.header, records_of(batch))]
        offset = found[-1] + 1
    return found


@pytest.mark.parametrize(
    ("method", "error"),
    [("append", LogWriteError("the disk is full")), ("commit", LogWriteError("the disk is full")),
     ("read", CorruptLog("bytes are not what was written"))],
)  # fmt: skip
async def test_what_fails_leaves_everything_as_it_was(
    app: Application, embedded: EmbeddedChannel, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    await insert(embedded, 1)
    await app.offsets.commit(embedded.group_id, [("fed", 0, 3, "")])
    log, before, folders = embedded.log, await offsets(embedded.log), sorted((app.topic_path("fed").parent).iterdir())
    with monkeypatch.context() as patched:

        def fail(self: SegmentLog, *given: Any, **named: Any) -> None:
            raise error

        patched.setattr(SegmentLog, method, fail)
        with pytest.raises(CallFailedError, match=str(error)):
            await switch(app, embedded)
    assert embedded.log is log is app.channels.find_log("fed")
    assert sorted((app.topic_path("fed").parent).iterdir()) == folders
    assert app.offsets.committed(embedded.group_id)["fed", 0].offset == 3
    await insert(embedded, 2)
    assert await offsets(log) == [*before, *range(len(before), len(before) + 3)]
    await switch(app, embedded)
    assert embedded.log is not log


async def test_nothing_stays_of_stores_that_were_left(app: Application, embedded: EmbeddedChannel) -> None:
    open_now = []
    for number in range(5):
        await insert(embedded, number)
        await switch(app, embedded)
        open_now.append((len(app._floor), descriptors_open(), len(asyncio.all_tasks())))
    assert len(set(open_now)) == 1
    folder = app.topic_path("fed")
    assert [path for path in folder.parent.iterdir() if path.name.startswith("fed-0")] == [folder]
    found = app.channels.find("fed")
    assert found is not None
    assert [group.name for group in found.groups] == [GROUP["name"]]
    await app.remove_channel("fed")
    assert not folder.exists()
    assert app.moved_logs == {}


async def test_a_log_of_many_segments_and_a_transaction_larger_than_a_batch(
    app: Application, embedded: EmbeddedChannel
) -> None:
    await embedded.change(lambda source: source.statement("CREATE TABLE b (id INT, content MEDIUMBLOB)"))
    for number in range(3):
        rows = [{"id": each, "content": bytes([number]) * 100_000} for each in range(5)]
        embedded.log.roll()  # type: ignore[attr-defined]
        await embedded.change(lambda source, rows=rows: source.insert("b", *rows))  # type: ignore[misc]
    before = await offsets(embedded.log)
    await switch(app, embedded, first_offset=7)
    assert await offsets(embedded.log) == [7 + offset for offset in before]
    await switch(app, embedded, duplicates=0, first_offset=0)
    assert len(await offsets(embedded.log)) == len(before), "nobody has consumed anything"
