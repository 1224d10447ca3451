"""The service's own Java SDK, unmodified, in both of its modes: bytes, decoded rows, checkpoint, resumption."""

from __future__ import annotations

import pytest

from tests.interop.client_matrix import DTS_CLIENTS, Client, cells
from tests.interop.conftest import Session
from tests.interop.known_log import KnownLog

_MODES = pytest.mark.parametrize("mode", ["assign", "subscribe"])


@pytest.mark.parametrize("client", cells(DTS_CLIENTS), indirect=True)
@_MODES
def test_reads_everything_and_resumes_by_its_checkpoint(
    client: Client, session: Session, known_log: KnownLog, mode: str
) -> None:
    """The SDK commits a record's own offset with its time as metadata, and comes back by that time."""
    records = known_log.records
    half = len(records) // 2
    begin_s = records[0].timestamp_ms // 1000
    first = session.run(mode, timestamp=begin_s, count=half, force="true")
    assert first.records == records[:half]
    assert [row[0] for row in first.rows] == [record.offset for record in records[:half]]
    assert [tuple(row[1:]) for row in first.rows] == known_log.rows[:half]

    resumed = known_log.from_time(records[half - 1].timestamp_ms)
    second = session.run(mode, timestamp=begin_s, count=len(resumed))
    assert second.records == resumed


@pytest.mark.parametrize("client", cells(DTS_CLIENTS), indirect=True)
@_MODES
def test_start_before_the_range_is_the_beginning(
    client: Client, session: Session, known_log: KnownLog, mode: str
) -> None:
    wanted = known_log.records[:20]
    before_s = known_log.records[0].timestamp_ms // 1000 - 3600
    assert session.run(mode, timestamp=before_s, count=len(wanted), force="true").records == wanted
