"""Recordings played into an embedded channel: what stays as recorded, what is moved, and what goes on beside it."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kafka
import pytest

from binwire.record import Record, decode
from binwire.testing import AsyncEmbeddedBroker, Channel, EmbeddedBroker, EmbeddedBrokerError
from broker.playing import Times, bounds_s, pieces, play
from broker.recording import Facts, Recording, RecordingError, RecordingWriter, Tracker
from capture import avro
from tests.broker.test_recording import by_fastavro, written

RECORDED_S = 1_700_000_000
TABLE = "CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(40), at TIMESTAMP NULL)"


def consumed(channel: Channel) -> list[Any]:
    """Every Kafka record of a channel."""
    consumer = kafka.KafkaConsumer(group_id=channel.sid, **channel.kafka_python())
    try:
        partition = kafka.TopicPartition(channel.topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        end = consumer.end_offsets([partition])[partition]
        found: list[Any] = []
        while len(found) < end:
            found += consumer.poll(1000).get(partition, [])
        return found
    finally:
        consumer.close()


@pytest.fixture(scope="module")
def recording(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three transactions, a minute after one another, with a heartbeat between."""
    channel = broker.channel()
    channel.table(TABLE, timestamp_s=RECORDED_S)
    channel.insert("orders", {"id": 1, "note": "第一", "at": RECORDED_S}, timestamp_s=RECORDED_S + 60)
    channel.heartbeat(timestamp_s=RECORDED_S + 61)
    old, new = {"id": 1, "note": "第一", "at": None}, {"id": 1, "note": "second", "at": None}
    channel.update("orders", (old, new), timestamp_s=RECORDED_S + 120)
    channel.delete("orders", {"id": 1, "note": "second", "at": None}, timestamp_s=RECORDED_S + 180)
    path = tmp_path_factory.mktemp("recording") / "r"
    tracker = Tracker()
    with RecordingWriter(path, Facts(topic=channel.topic)) as writer:
        for message in consumed(channel):
            record = decode(message.value)
            ends = tracker.ends(record.operation)
            writer.add(message.value, record.timestamp_s, record.source_version, ends=ends)
        writer.finish()
    channel.close()
    return path


def recorded(path: Path) -> list[Record]:
    return [decode(each) for each in values(path)]


def values(path: Path) -> list[bytes]:
    with Recording(path) as recording:
        return [each.value for each in recording.records(avro.decode_next)]


def unmoved(record: Record) -> tuple[Any, ...]:
    """What a play leaves as it is."""
    return (record.operation, record.database, record.table, record.before, record.after, record.ddl, record.position)


def test_with_its_times_a_recording_is_played_byte_for_byte(broker, recording):
    channel = broker.channel()
    wanted = values(recording)
    assert channel.replay(recording, shift_times=False) == len(wanted)
    messages = consumed(channel)
    assert [message.value for message in messages] == wanted
    assert [message.offset for message in messages] == list(range(len(wanted)))
    assert [message.timestamp for message in messages] == [decode(each).timestamp_s * 1000 for each in wanted]


def test_at_full_speed_the_times_are_moved_to_end_now(broker, recording):
    before = int(time.time())
    channel = broker.channel()
    channel.replay(recording)
    found, wanted = channel.records(), recorded(recording)
    assert list(map(unmoved, found)) == list(map(unmoved, wanted))
    assert [each.id for each in found] == [each.id for each in wanted]
    moves = {each.timestamp_s - other.timestamp_s for each, other in zip(found, wanted, strict=True)}
    assert len(moves) == 1, "distances stay"
    assert before <= found[-1].timestamp_s <= time.time()
    tags = [(each.tags, other.tags) for each, other in zip(found, wanted, strict=True)]
    (move,) = moves
    for moved, original in tags:
        assert int(moved["readerThroughoutTime"]) - int(original["readerThroughoutTime"]) == move * 1000
        if "commitTimestamp" in original:
            assert int(moved["commitTimestamp"]) - int(original["commitTimestamp"]) == move
        volatile = {"readerThroughoutTime", "commitTimestamp"}
        assert {name: moved[name] for name in moved.keys() - volatile} == {
            name: original[name] for name in original.keys() - volatile
        }


def test_a_channel_without_records_takes_the_ids_and_goes_on_from_them(broker, recording):
    channel = broker.channel()
    channel.replay(recording)
    channel.heartbeat()
    first = [each.id for each in recorded(recording)]
    assert [each.id for each in channel.records()] == [*first, first[-1] + 1]


def test_ids_rise_whatever_else_the_channel_has(broker, recording):
    channel = broker.channel("CREATE TABLE t (id INT PRIMARY KEY)")
    count = len(recorded(recording))
    channel.replay(recording)
    channel.insert("t", {"id": 2})
    channel.replay(recording)
    channel.heartbeat()
    ids = [each.id for each in channel.records()]
    assert ids == sorted(set(ids))
    first, again = ids[2 : 2 + count], ids[-count - 1 : -1]
    assert first[0] in (recorded(recording)[0].id, ids[1] + 1), "as recorded, or moved up to where the channel is"
    assert again == [each - first[0] + first[-1] + 4 for each in first], "moved up together behind the three of the row"
    assert ids[-1] == again[-1] + 1


def test_faults_and_other_calls_go_on_behind_a_replay(broker, recording):
    channel = broker.channel("CREATE TABLE t (id INT PRIMARY KEY)")
    channel.replay(recording)
    channel.faults.noop()
    channel.insert("t", {"id": 3})
    records = channel.records()
    assert [each.operation for each in records[-4:]] == ["NOOP", "BEGIN", "INSERT", "COMMIT"]
    ids = [each.id for each in records]
    assert ids == sorted(set(ids))
    assert [each.offset for each in records] == list(range(len(records)))


def test_calls_beside_a_replay_are_between_its_transactions(broker, tmp_path):
    written(tmp_path / "r", ["BEGIN", *["INSERT"] * 3, "COMMIT"] * 400)
    channel = broker.channel("CREATE TABLE t (id INT PRIMARY KEY)")
    with ThreadPoolExecutor() as pool:
        playing = pool.submit(channel.replay, tmp_path / "r", shift_times=False)
        for number in range(20):
            channel.insert("t", {"id": number})
        playing.result()
    records = channel.records()
    assert len(records) == 2 + 400 * 5 + 20 * 3
    ids = [each.id for each in records]
    assert ids == sorted(set(ids))
    tracker = Tracker()
    for each in records:
        assert tracker.is_open == (each.operation in ("INSERT", "COMMIT"))
        tracker.ends(each.operation)


def test_a_consumed_replay_is_waited_for(broker, recording):
    channel = broker.channel()
    channel.replay(recording)
    consumer = kafka.KafkaConsumer(
        channel.topic, group_id=channel.sid, consumer_timeout_ms=30_000, **channel.kafka_python()
    )
    seen = [message.offset for _, message in zip(channel.records(), consumer, strict=False)]
    consumer.commit()
    channel.wait_consumed()
    consumer.close()
    assert seen == list(range(len(seen)))


async def test_asynchronous_code_replays_too(recording):
    async with AsyncEmbeddedBroker() as broker:
        channel = await broker.channel()
        assert await channel.replay(recording, speed=1e6) == len(recorded(recording))
        assert [unmoved(each) for each in await channel.records()] == list(map(unmoved, recorded(recording)))


def test_what_cannot_be_played_is_said(broker, tmp_path, recording):
    channel = broker.channel()
    (tmp_path / "none").write_text("CREATE TABLE t (id INT)")
    (tmp_path / "cut").write_bytes(recording.read_bytes()[:-1])
    with RecordingWriter(tmp_path / "empty", Facts()) as writer:
        writer.add(b"", 0, "8", ends=False)
        writer.finish()
    for path, options, sentence in (
        (tmp_path / "none", {}, "none is no recording; `binwire record TOPIC -o FILE` makes one$"),
        (tmp_path / "nothing", {}, "nothing cannot be read: No such file or directory$"),
        (tmp_path / "cut", {}, r"cut is damaged at byte \d+: it is cut short$"),
        (tmp_path / "empty", {}, "empty has no record$"),
        (recording, {"speed": 0}, "replay: 0 is no speed; give a factor above 0, or null for full speed$"),
        (recording, {"speed": -1.0}, "-1 is no speed"),
    ):
        with pytest.raises(EmbeddedBrokerError, match=sentence):
            channel.replay(path, **options)
    assert channel.records() == []


def test_closing_a_channel_ends_what_is_played_into_it(broker, recording):
    channel = broker.channel()
    with ThreadPoolExecutor() as pool:
        # At this pace the recording takes three hours.
        playing = pool.submit(channel.replay, recording, 1 / 60)
        while not channel.records():
            pass
        channel.close()
        with pytest.raises(EmbeddedBrokerError, match=r"there is no channel .*; it was closed, or never made"):
            playing.result(60)


# ---- pace ----


class Pauses:
    """A clock that stands still but for the pauses that are made."""

    def __init__(self) -> None:
        self.now = RECORDED_S * 1000 + 10**9
        self.pauses: list[int] = []

    def now_ms(self) -> int:
        return self.now

    async def pause(self, pause_ms: int) -> None:
        self.pauses.append(pause_ms)
        self.now += pause_ms


def played(path: Path, **options: Any) -> tuple[list[list[Record]], Pauses]:
    """The pieces of a play, each decoded."""
    clock: Any = Pauses()
    found: list[list[Record]] = []

    async def write(records: Any) -> None:
        found.append([decode(each.value) for each in records])

    with Recording(path) as recording:
        asyncio.run(play(recording, write, clock.pause, clock, **options))
    return found, clock


@pytest.mark.parametrize("speed", [1.0, 60.0])
def test_at_a_pace_transactions_come_one_by_one_with_their_distances(recording, speed):
    found, clock = played(recording, speed=speed, moves_times=True)
    operations = [[each.operation for each in piece] for piece in found]
    assert operations == [
        ["DDL"],
        ["DDL"],
        ["BEGIN", "INSERT", "COMMIT"],
        ["HEARTBEAT"],
        ["BEGIN", "UPDATE", "COMMIT"],
        ["BEGIN", "DELETE", "COMMIT"],
    ]
    came = [sum(clock.pauses[: index + 1]) for index in range(len(found))]
    assert came == [int(each / speed) for each in (0, 0, 60_000, 61_000, 120_000, 180_000)]
    start_s = RECORDED_S + 10**6
    times = [piece[0].timestamp_s - start_s for piece in found]
    assert times == [int(each / speed) for each in (0, 0, 60, 61, 120, 180)]


def test_at_full_speed_nothing_waits(recording):
    found, clock = played(recording, speed=None, moves_times=True)
    assert (len(found), clock.pauses) == (1, [])


def test_a_large_transaction_is_played_in_pieces(tmp_path):
    written(tmp_path / "r", ["BEGIN", *["INSERT"] * 30, "COMMIT"], "x" * 40_000)
    found, _ = played(tmp_path / "r", speed=1.0, moves_times=False)
    assert len(found) > 3
    assert sum(map(len, found)) == 32


def test_a_recording_without_facts_is_read_for_its_times(tmp_path, recording):
    import fastavro

    from tests.decoded import record_schema

    records, _ = by_fastavro(recording)
    with (tmp_path / "r").open("wb") as file, recording.open("rb") as source:
        fastavro.writer(file, record_schema(), list(fastavro.reader(source, return_record_name=True)))
    assert len(records) == len(recorded(tmp_path / "r"))
    with Recording(tmp_path / "r") as plain:
        assert plain.facts == Facts()
        assert bounds_s(plain) == (RECORDED_S, RECORDED_S + 180)
    with (tmp_path / "empty").open("wb") as file:
        fastavro.writer(file, record_schema(), [])
    with Recording(tmp_path / "empty") as empty, pytest.raises(RecordingError, match="empty has no record"):
        bounds_s(empty)


def test_the_time_of_the_reading_paces_what_was_read_live(tmp_path):
    tracker = Tracker()
    with RecordingWriter(tmp_path / "r", Facts()) as writer:
        for number, (second, read_ms) in enumerate([(0, 250), (0, 750), (1, 1250), (1, 99_000)]):
            record = avro.decode(written_heartbeat(number, RECORDED_S + second))
            record["tags"] = {"readerThroughoutTime": str(RECORDED_S * 1000 + read_ms)}
            writer.add(avro.encode(record), RECORDED_S + second, "8", ends=tracker.ends("HEARTBEAT"))
        writer.finish()
    with Recording(tmp_path / "r") as recording:
        found = list(pieces(recording, RECORDED_S, None, by_transaction=True))
    assert [piece.came_ms for piece in found] == [250, 750, 1250, 1250]


def written_heartbeat(number: int, timestamp_s: int) -> bytes:
    from tests.broker.test_recording import record

    return avro.encode({**avro.decode(record(number, "HEARTBEAT")), "sourceTimestamp": timestamp_s})


def test_times_are_moved_by_a_straight_line():
    times = Times(base_s=1000, origin_s=100, speed=2.0)
    assert [times.moved_s(each) for each in (100, 102, 98)] == [1000, 1001, 999]
    assert times.moved_ms(101_500) == 1000_750
