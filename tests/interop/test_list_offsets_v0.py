"""ListOffsets v0 on the wire: what Kafka 0.10.0 consumers send, whose API has no look-up by time of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.client import EARLIEST, LATEST, RawClient
from tests.interop.known_log import KnownLog


@pytest.fixture
def raw(known_log: KnownLog) -> Iterator[RawClient]:
    with known_log.raw_client(known_log.spare_group_id) as client:
        yield client


def test_topic_is_listed(raw: RawClient, known_log: KnownLog) -> None:
    assert raw.topics() == [known_log.topic]


def test_latest_and_earliest_give_exactly_one_offset(raw: RawClient, known_log: KnownLog) -> None:
    records = known_log.records
    assert raw.list_offsets_v0(known_log.topic, LATEST) == [records[-1].offset + 1]
    assert raw.list_offsets_v0(known_log.topic, EARLIEST) == [records[0].offset]


def test_latest_with_room_lists_newest_first(raw: RawClient, known_log: KnownLog) -> None:
    records = known_log.records
    listed = raw.list_offsets_v0(known_log.topic, LATEST, max_offsets=10)
    assert listed == sorted(listed, reverse=True)
    assert listed[0] == records[-1].offset + 1
    assert listed[-1] == records[0].offset


@pytest.mark.parametrize("unit", ["seconds", "milliseconds"])
def test_a_time_before_everything_lists_nothing(raw: RawClient, known_log: KnownLog, unit: str) -> None:
    """Version 0 asks for what was written before a time; nothing was, an hour before the first record."""
    asked_ms = known_log.records[0].timestamp_ms - 3_600_000
    assert raw.list_offsets_v0(known_log.topic, asked_ms // 1000 if unit == "seconds" else asked_ms) == []


@pytest.mark.parametrize("unit", ["seconds", "milliseconds"])
def test_version_1_answers_in_the_unit_it_was_asked_in(raw: RawClient, known_log: KnownLog, unit: str) -> None:
    for asked_ms in known_log.interesting_times_ms:
        expected = known_log.from_time(asked_ms)[0]
        timestamp, offset = raw.list_offsets(known_log.topic, asked_ms // 1000 if unit == "seconds" else asked_ms)
        assert offset == expected.offset
        assert timestamp == (expected.timestamp_ms // 1000 if unit == "seconds" else expected.timestamp_ms)
