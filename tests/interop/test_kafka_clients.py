"""Unmodified Kafka consumers read a known log byte for byte: in group mode, by assignment, and by time."""

from __future__ import annotations

import pytest

from tests.interop.client_matrix import KAFKA_CLIENTS, Client, cells
from tests.interop.client_process import ClientError
from tests.interop.conftest import Session
from tests.interop.known_log import SPARE_GROUP_ID, KnownLog

_AMPLE_BYTES = 8 << 20  # more than the known log's largest record
_REFUSED_WITHIN_MS = 5_000
_finding_times = [client for client in KAFKA_CLIENTS if client.finds_times and client.shows_commits]


@pytest.mark.parametrize("client", cells(KAFKA_CLIENTS), indirect=True)
def test_group_reads_everything_and_resumes(client: Client, session: Session, known_log: KnownLog) -> None:
    records = known_log.records
    half = len(records) // 2
    metadata = f"{records[half - 1].timestamp_ms // 1000}|first half, 上半"
    first = session.run("group", count=half, metadata=metadata, partition_bytes=_AMPLE_BYTES)
    assert first.records == records[:half]
    if client.shows_commits:
        committed = session.run("committed")
        assert committed.values == {"offset": records[half - 1].offset + 1, "metadata": metadata}
    second = session.run("group", count=len(records) - half, metadata="", partition_bytes=_AMPLE_BYTES)
    assert second.records == records[half:]
    if client.shows_commits:
        assert session.run("committed").values == {"offset": records[-1].offset + 1, "metadata": ""}


@pytest.mark.parametrize("client", cells(KAFKA_CLIENTS), indirect=True)
@pytest.mark.parametrize("partition_bytes", [_AMPLE_BYTES, 700])
def test_assignment_reads_everything(
    client: Client, session: Session, known_log: KnownLog, partition_bytes: int
) -> None:
    """Also with a partition limit below the size of a record: the first record of an answer comes whole.

    Before Fetch version 3 (0.10.1) the limit is hard, and the client says so, as with any Kafka.
    """
    records = known_log.records
    if partition_bytes < _AMPLE_BYTES and not client.whole_records:
        with pytest.raises(ClientError, match=r"RecordTooLargeException: .*max\.partition\.fetch\.bytes"):
            session.run("assign", offset=records[0].offset, count=len(records), partition_bytes=partition_bytes)
        return
    outcome = session.run("assign", offset=records[0].offset, count=len(records), partition_bytes=partition_bytes)
    assert outcome.records == records


@pytest.mark.parametrize("client", cells(KAFKA_CLIENTS), indirect=True)
def test_assignment_in_the_middle(client: Client, session: Session, known_log: KnownLog) -> None:
    wanted = known_log.records[7:40]
    assert session.run("assign", offset=wanted[0].offset, count=len(wanted)).records == wanted


@pytest.mark.parametrize("client", cells(c for c in KAFKA_CLIENTS if c.shows_commits), indirect=True)
def test_bounds(client: Client, session: Session, known_log: KnownLog) -> None:
    records = known_log.records
    assert session.run("bounds").values == {"begin": records[0].offset, "end": records[-1].offset + 1}


@pytest.mark.parametrize("client", cells(c for c in KAFKA_CLIENTS if c.finds_times), indirect=True)
@pytest.mark.parametrize("unit", ["seconds", "milliseconds"])
def test_seek_by_time(client: Client, session: Session, known_log: KnownLog, unit: str) -> None:
    for asked_ms in known_log.interesting_times_ms:
        expected = known_log.from_time(asked_ms)
        timestamp = asked_ms // 1000 if unit == "seconds" else asked_ms
        outcome = session.run("assign_time", timestamp=timestamp, count=len(expected))
        assert outcome.records == expected
        if client.shows_commits:
            found_ms = expected[0].timestamp_ms
            answered = found_ms // 1000 if unit == "seconds" else found_ms
            assert outcome.values == {"offset": expected[0].offset, "timestamp": answered}


@pytest.mark.parametrize("client", cells(_finding_times), indirect=True)
@pytest.mark.parametrize("unit", ["seconds", "milliseconds"])
def test_time_after_the_range_finds_nothing(client: Client, session: Session, known_log: KnownLog, unit: str) -> None:
    after_ms = max(record.timestamp_ms for record in known_log.records) + 1000
    outcome = session.run("assign_time", timestamp=after_ms // 1000 if unit == "seconds" else after_ms, count=0)
    assert outcome.values == {"offset": None, "timestamp": None}


@pytest.mark.parametrize("client", cells(KAFKA_CLIENTS), indirect=True)
def test_wrong_password(client: Client, session: Session) -> None:
    with pytest.raises(ClientError, match=client.wrong_password):
        session.run("group", count=1, password="Wr0ng-secret", deadline_ms=_REFUSED_WITHIN_MS)
    assert session.run("assign", offset=0, count=1).records, "the right password is refused behind a wrong one"


@pytest.mark.parametrize("client", cells(KAFKA_CLIENTS), indirect=True)
def test_group_of_somebody_else(client: Client, session: Session) -> None:
    with pytest.raises(ClientError, match=client.foreign_group):
        session.run("group", count=1, group=SPARE_GROUP_ID)
