"""Records that no event stands for, written between the transactions of a stream."""

from __future__ import annotations

from capture.avro import decode, encode
from capture.channel import State
from capture.embedded_source import EmbeddedSource
from storage.clock import SystemClock
from tests.capture.test_avro import heartbeat
from tests.capture.world import World, running


def ready(record_id: int) -> bytes:
    return encode({**decode(heartbeat()), "id": record_id})


async def test_they_stand_between_transactions_and_ids_go_on_behind_them(tmp_path):
    world, source = World(tmp_path, SystemClock()), EmbeddedSource(SystemClock(), database="d")
    channel = world.channel(lambda: source, "d")
    try:
        assert not channel.interject([ready(1)], [0], 2), "nothing streams yet"
        source.statement("CREATE TABLE t (id INT PRIMARY KEY)")
        async with running(channel):
            await channel.wait_visible(source.position)
            first_id = channel.next_id
            assert channel.interject([ready(500), ready(501)], [64_000, 65_000], 502)
            source.insert("t", {"id": 1})
            await channel.wait_visible(source.position)
        # A session that begins later does not fall back either.
        async with running(channel, State.NORMAL):
            source.insert("t", {"id": 2})
            await channel.wait_visible(source.position)
            assert channel.next_id == 508
        found = world.records(heartbeats=True)
        assert [record.operation for record in found[:4]] == ["DDL", "DDL", "HEARTBEAT", "HEARTBEAT"]
        ids = [record.fields["id"] for record in found]
        assert ids[:2] == [first_id - 2, first_id - 1]
        assert ids[2:] == list(range(500, 508))
        assert [record.timestamp_ms for record in found[2:4]] == [64_000, 65_000]
        assert [record.offset for record in found] == list(range(len(found)))
    finally:
        await world.close()


async def test_none_is_written_within_a_transaction(tmp_path):
    world, source = World(tmp_path, SystemClock()), EmbeddedSource(SystemClock(), database="d")
    channel = world.channel(lambda: source, "d")
    refused: list[bool] = []
    try:
        source.statement("CREATE TABLE t (id INT PRIMARY KEY)")
        async with running(channel):
            await channel.wait_visible(source.position)
            session = channel._session
            assert session is not None
            took = session._take

            def take(raw: bytes) -> object:
                waiting = took(raw)
                refused.append(channel.interject([ready(900)], [0], 901))
                return waiting

            session._take = take  # type: ignore[method-assign, assignment]
            source.insert("t", *({"id": number} for number in range(100)))
            await channel.wait_visible(source.position)
        assert refused
        assert not any(refused)
        operations = world.operations(heartbeats=True)
        assert "HEARTBEAT" not in operations
    finally:
        await world.close()
