"""The forms of servers' binlogs: told from one another, read back, and the records of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from capture.binlog_form import binlog_form
from capture.dialect import Dialect
from capture.embedded_source import EmbeddedSource
from capture.encode import GtidParts, RowMetadata
from capture.errors import SourceRefused
from capture.events import EventDecoder, FormatDescriptionEvent, GtidEvent, QueryEvent, RowsEvent
from capture.gtid import MariadbGtidEvent
from capture.table_map import TableMapEvent
from tests.capture.recorded import binlog
from tests.capture.test_embedded_source import visible
from tests.capture.world import World, running
from tests.fakes import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, note VARCHAR(20) CHARACTER SET utf8mb4, at DATETIME(3), ts TIMESTAMP NULL)"
VERSIONS = (
    *("5.6.47-log", "5.7.44-log", "8.0.36", "8.4.5", "9.7.4"),
    *("10.1.48-MariaDB", "10.11.6-MariaDB-log", "11.8.2-MariaDB"),
)


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_form_gives_the_same_rows(tmp_path: Path, version: str) -> None:
    clock = ManualClock()
    source = EmbeddedSource(clock, database="shop", server_version=version)
    source.statement(TABLE)
    row: dict[str, Any] = {"id": 1, "note": "茶", "at": "2024-01-02 03:04:05.678", "ts": 5}
    source.insert("t", row)
    source.rotate()
    source.update("t", (row, {"note": None}))
    source.heartbeat()
    world = World(tmp_path, clock)
    async with running(world.channel(lambda: source, "shop")) as channel:
        await visible(channel, source)
    records = world.records(heartbeats=True)
    assert [record.operation for record in records] == [
        *("DDL", "DDL", "BEGIN", "INSERT", "COMMIT", "BEGIN", "UPDATE", "COMMIT", "HEARTBEAT")
    ]
    assert {record.fields["source"]["version"] for record in records} == {version}
    cells = records[3].fields["afterImages"]
    assert [cells[0]["value"], cells[1]["value"], cells[2]["millis"], cells[3]["timestamp"]] == [
        *("1", "茶".encode(), 678_000, 5)
    ]
    assert records[6].fields["beforeImages"] == cells
    assert records[6].fields["afterImages"] == [cells[0], None, *cells[2:]]
    numbers = [record.tags["GTID"] for record in records if record.operation in ("DDL", "BEGIN")]
    assert [int(number[-1]) for number in numbers] == [1, 2, 3, 4]
    assert all(number.startswith("0-1-") for number in numbers) == Dialect.of(version).is_mariadb
    await world.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_events_are_those_of_the_version(version: str) -> None:
    source = EmbeddedSource(ManualClock(), database="shop", server_version=version)
    source.statement(TABLE)
    source.insert("t", {"id": 1})
    decoder = EventDecoder()
    events = [decoder.decode(kept.raw)[1] for kept in source._events]
    first = events[0]
    assert isinstance(first, FormatDescriptionEvent)
    assert first.server_version == version
    dialect = Dialect.of(version)
    maps = [event for event in events if isinstance(event, TableMapEvent)]
    has_metadata = not dialect.is_mariadb and dialect.version >= (8, 0, 1)
    assert (maps[0].optional.collations is not None) == has_metadata
    assert [event.kind.name for event in events if isinstance(event, RowsEvent)] == ["WRITE"]
    commits = [event.immediate_commit_us is not None for event in events if isinstance(event, GtidEvent)]
    clocks = [event.last_committed is not None for event in events if isinstance(event, GtidEvent)]
    standalone = [event.standalone for event in events if isinstance(event, MariadbGtidEvent)]
    if dialect.is_mariadb:
        assert (commits, standalone) == ([], [True, True, False])
    else:
        assert standalone == []
        assert commits == [dialect.version >= (8, 0, 1)] * 3
        assert clocks == [dialect.version >= (5, 7, 0)] * 3
    begins = [event for event in events if isinstance(event, QueryEvent) and event.sql == b"BEGIN"]
    assert len(begins) == (not dialect.is_mariadb)


def test_a_table_has_the_character_set_of_a_server_nobody_configured() -> None:
    charsets = []
    for version in VERSIONS:
        source = EmbeddedSource(ManualClock(), database="shop", server_version=version)
        source.statement("CREATE TABLE t (a VARCHAR(9))")
        charsets.append(source.table("t").collation)
    assert charsets == [
        *("latin1_swedish_ci", "latin1_swedish_ci", *["utf8mb4_0900_ai_ci"] * 3),
        *("latin1_swedish_ci", "latin1_swedish_ci", "utf8mb4_uca1400_ai_ci"),
    ]


@pytest.mark.parametrize(
    ("file", "version"),
    [
        ("5.6.24_gtid_binlog_transaction_with_GTID.000001.bin", "5.6.24"),
        ("5.7.22_gtid-ddl_rpl_atomic_ddl_rollback_full.bin", "5.7.22"),
        ("8.0.40_prev-gtids_no_tag.000001.bin", "8.0.40"),
    ],
)
def test_fixed_parts_are_those_of_recorded_files(file: str, version: str) -> None:
    data = binlog(file)
    size = int.from_bytes(data[13:17], "little")
    _, event = EventDecoder().decode(data[4 : 4 + size])
    assert isinstance(event, FormatDescriptionEvent)
    assert binlog_form(version).post_header_bytes == event.post_header_bytes


@pytest.mark.parametrize(
    ("version", "parts", "metadata", "rows_version"),
    [
        ("5.6.6", GtidParts.NUMBER, RowMetadata.NONE, 2),
        ("5.7.0", GtidParts.LOGICAL_CLOCK, RowMetadata.NONE, 2),
        ("8.0.1", GtidParts.COMMIT_TIME, RowMetadata.MINIMAL, 2),
        ("12.0.0", GtidParts.COMMIT_TIME, RowMetadata.MINIMAL, 2),
        ("10.1.2-MariaDB", None, RowMetadata.NONE, 1),
        ("5.5.5-10.6.4-MariaDB", None, RowMetadata.NONE, 1),
    ],
)
def test_forms(version: str, parts: GtidParts | None, metadata: RowMetadata, rows_version: int) -> None:
    form = binlog_form(version)
    assert (form.gtid_parts, form.row_metadata, form.rows_version) == (parts, metadata, rows_version)


@pytest.mark.parametrize(
    "version", ["", "8", "8.0", "x8.0.36", "8.0.36.1", "8.0.36\n", "8.0.36-é", "8.0.36" + "x" * 50]
)
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(SourceRefused, match=r"is no server's version; write it as the server does, such as 8\.0\.36"):
        EmbeddedSource(ManualClock(), server_version=version)


@pytest.mark.parametrize("version", ["5.5.62", "5.6.5", "10.0.38-MariaDB", "10.1.1-MariaDB"])
def test_servers_that_cannot_be_passed_for_are_refused(version: str) -> None:
    with pytest.raises(SourceRefused, match=f"by a server of version {version}; take"):
        EmbeddedSource(ManualClock(), server_version=version)
