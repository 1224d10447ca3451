"""What unmodified Kafka consumers are shown beyond the columns of the client matrix."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.client import KEEPS_TRYING, Client
from tests.interop.client_matrix import KAFKA_CLIENTS, cells
from tests.interop.client_process import DEADLINE_MS, ClientError
from tests.interop.conftest import Session
from tests.interop.known_log import KnownLog

_LESS_THAN_A_RECORD_BYTES = 700
_REFUSED_WITHIN_MS = 5_000
_finding_times = [client for client in KAFKA_CLIENTS if client.can("seek_seconds") and client.lookup_answer]


@pytest.mark.parametrize("client", cells(KAFKA_CLIENTS), indirect=True)
def test_records_larger_than_the_partition_limit(client: Client, session: Session, known_log: KnownLog) -> None:
    """The first record of an answer comes whole.

    Before Fetch version 3 (0.10.1) the limit is hard, and the client says so or waits for ever, as with any Kafka.
    """
    records = known_log.records
    arguments: dict[str, Any] = {
        "offset": records[0].offset,
        "count": len(records),
        "partition_bytes": _LESS_THAN_A_RECORD_BYTES,
    }
    if client.too_large is None:
        assert session.run("assign", **arguments).records == client.by_assignment(records)
        return
    with pytest.raises(ClientError, match=client.too_large):
        session.run("assign", deadline_ms=_REFUSED_WITHIN_MS, **arguments)


@pytest.mark.parametrize("client", cells(KAFKA_CLIENTS), indirect=True)
def test_assignment_in_the_middle(client: Client, session: Session, known_log: KnownLog) -> None:
    wanted = known_log.records[7:40]
    outcome = session.run("assign", offset=wanted[0].offset, count=len(wanted))
    assert outcome.records == client.by_assignment(wanted)


@pytest.mark.parametrize("client", cells(c for c in KAFKA_CLIENTS if c.shows_bounds), indirect=True)
def test_bounds(client: Client, session: Session, known_log: KnownLog) -> None:
    records = known_log.records
    assert session.run("bounds").values == {"begin": records[0].offset, "end": records[-1].offset + 1}


@pytest.mark.parametrize("client", cells(_finding_times), indirect=True)
@pytest.mark.parametrize("unit", ["seconds", "milliseconds"])
def test_time_after_the_range_finds_nothing(client: Client, session: Session, known_log: KnownLog, unit: str) -> None:
    after_ms = max(record.timestamp_ms for record in known_log.records) + 1000
    outcome = session.run("assign_time", timestamp=after_ms // 1000 if unit == "seconds" else after_ms, count=0)
    assert {key: outcome.values[key] for key in client.lookup_answer} == dict.fromkeys(client.lookup_answer)


@pytest.mark.parametrize("client", cells(KAFKA_CLIENTS), indirect=True)
def test_group_of_somebody_else(client: Client, session: Session, known_log: KnownLog) -> None:
    deadline_ms = _REFUSED_WITHIN_MS if client.foreign_group == KEEPS_TRYING else DEADLINE_MS
    with pytest.raises(ClientError, match=client.foreign_group):
        session.run("group", count=1, group=known_log.spare_group_id, deadline_ms=deadline_ms)
