"""The whole way: rows written to a real MySQL 9.7 come out of unmodified clients with the values that were written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from bench.client import RawClient
from tests.decoded import Row, decode_batches, decode_value, row_of
from tests.interop.client import Client
from tests.interop.client_matrix import DTS_CLIENTS, KAFKA_CLIENTS, cells
from tests.interop.conftest import ClientProcesses
from tests.interop.known_log import Channel, KnownLog, server_settings
from tests.interop.test_dts_sdk import assert_rows_shown
from tests.live_server import LiveServer
from tests.server_process import ServerProcess

_CLIENTS = [*(client for client in KAFKA_CLIENTS if client.representative), *DTS_CLIENTS]
_DTS_MODES = ("assign", "group")

_CREATE_TABLE = (
    "CREATE TABLE people (id BIGINT UNSIGNED NOT NULL, small TINYINT, number INT UNSIGNED, amount DECIMAL(20,4), "
    "name VARCHAR(40), old_name VARCHAR(40) CHARACTER SET gbk, western VARCHAR(40) CHARACTER SET latin1, note TEXT, "
    "at DATETIME(6), seen TIMESTAMP(3) NULL, PRIMARY KEY (id)) CHARACTER SET utf8mb4"
)
_ROW: dict[str, Any] = {
    "id": 18446744073709551615,
    "small": -128,
    "number": 4294967295,
    "amount": Decimal("-1234567890123456.0001"),
    "name": "张伟 ☎ O'Brien",
    "old_name": "景德镇瓷厂",
    "western": "Zoë Müller",
    "note": "n" * 60_000,
    "at": dt.datetime(2024, 2, 29, 23, 59, 59, 999_999),  # noqa: DTZ001 — DATETIME has no zone
    "seen": dt.datetime(2038, 1, 19, 3, 14, 7, 123_000, tzinfo=dt.UTC),
}
_CHANGED = {**_ROW, "small": None, "amount": Decimal("0.0000"), "name": "", "note": None, "seen": None}


class WholeWay:
    """A table that was written, a server that has captured it, and the row changes it must show."""

    def __init__(self, log: KnownLog, rows: list[Row]) -> None:
        self.log = log
        self.rows = rows


@pytest.fixture(scope="session")
def whole_way(mysql97: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeWay]:
    database = mysql97.fresh_database()
    mysql97.execute(_CREATE_TABLE, database=database)
    file, position = mysql97.binlog_position()
    channel = Channel.of("way", [client.group_id(purpose) for client in _CLIENTS for purpose in _purposes(client)])
    text = server_settings() + channel.table(mysql97.url(), [database], f"{file}:{position}")
    with ServerProcess(tmp_path_factory.mktemp("whole-way"), text).start() as server:
        rows = _write(mysql97, database)
        log = KnownLog(server, channel)
        with log.raw_client(log.spare_group_id) as client:
            _wait_for_commits(client, log.topic, len(rows))
        yield WholeWay(log, rows)


def _purposes(client: Client) -> list[str]:
    return [f"{mode}-begin" for mode in _DTS_MODES] if client in DTS_CLIENTS else [""]


def _write(mysql: LiveServer, database: str) -> list[Row]:
    """Insert, update and delete one row, a transaction each; the changes that makes."""
    with mysql.connect(database=database) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        marks = ", ".join(["%s"] * len(_ROW))
        stored = {**_ROW, "seen": _ROW["seen"].replace(tzinfo=None)}
        cursor.execute(f"INSERT INTO people VALUES ({marks})", tuple(stored.values()))
        cursor.execute("UPDATE people SET small = NULL, amount = 0, name = '', note = NULL, seen = NULL")
        cursor.execute("DELETE FROM people")
    table = f"{database}.people"
    return [
        Row("INSERT", table, None, _ROW),
        Row("UPDATE", table, _ROW, _CHANGED),
        Row("DELETE", table, _CHANGED, None),
    ]


def _wait_for_commits(client: RawClient, topic: str, transactions: int) -> None:
    """Long-poll until so many transactions are visible."""
    offset = commits = 0
    while commits < transactions:
        for record in decode_batches(client.fetch(topic, offset).records):
            offset = record.offset + 1
            commits += decode_value(record.value)["operation"] == "COMMIT"


@pytest.mark.parametrize("client", cells(c for c in _CLIENTS if c in KAFKA_CLIENTS), indirect=True)
def test_kafka_client(client: Client, client_processes: ClientProcesses, whole_way: WholeWay) -> None:
    log = whole_way.log
    read = client_processes.of(client).run("group", count=len(log.records), **log.login(client.group_id()))
    assert read.records == log.records
    decoded = [decode_value(record.value) for record in read.records]
    assert [row_of(record) for record in decoded if record["fields"] is not None] == whole_way.rows


@pytest.mark.parametrize("client", cells(DTS_CLIENTS), indirect=True)
@pytest.mark.parametrize("mode", _DTS_MODES)
def test_dts_sdk(client: Client, client_processes: ClientProcesses, whole_way: WholeWay, mode: str) -> None:
    log = whole_way.log
    begin_s = log.records[0].timestamp_ms // 1000
    wanted = len(log.records)
    login = log.login(client.group_id(f"{mode}-begin"))
    read = client_processes.of(client).run(mode, timestamp=begin_s, count=wanted, **login)
    assert read.records == log.records
    assert_rows_shown(read.rows, log.records)
    assert [row[3] for row in read.rows if row[4]] == ["INSERT", "UPDATE", "DELETE"]
