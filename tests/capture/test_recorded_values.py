"""Every recorded binlog through a channel, value by value against what the servers' own tools print of it.

A file's rows all come out as its independent decode has them, in its order, or the channel stops with the sentence that
`STOPS` names for it, behind rows that are equal up to there. Nothing else ends a file.
"""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from capture.channel import State
from capture.errors import CaptureError
from capture.file_source import read_info
from capture.position import BINLOG_MAGIC_BYTES
from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture.recorded import ABSENT, BINLOGS, binlog, binlog_names, dump_text, dumped_events
from tests.capture.recorded_definitions import Before, before, give
from tests.capture.recorded_rows import compared
from tests.capture.world import World, running
from tests.fakes import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from capture.channel import ChannelStatus

STATEMENT = "changed rows and was logged as a statement, not as rows"
NOT_RELEASED = "writes no row events of a released version; MySQL 5.1.20 or later is needed"
DAMAGED = "its bytes are damaged"
RELAY_LOG = "is a replica's relay log"

STOPS = {
    "4.1.26_v3_bug47142_master-bin.000001.bin": "in the format of MySQL 4.1 or older",
    "5.0.46_relay_corrupt-relay-bin.000624.bin": NOT_RELEASED,
    "5.0.58_relay_bug33029-slave-relay-bin.000001.bin": NOT_RELEASED,
    "5.1.15-ndb_pre-ga-rows_bug32407.001.bin": NOT_RELEASED,
    "5.1.15-ndb_pre-ga-rows_ver_5_1-telco.001.bin": NOT_RELEASED,
    "5.1.17_pre-ga-rows_ver_5_1_17.001.bin": NOT_RELEASED,
    "5.1.23_rows-v1_ver_5_1_23.001.bin": "rows outside a transaction",
    "5.1.30_incident_bug40482-bin.000001.bin": "changes were lost before they reached its binlog",
    "5.1.43_savepoint_binlog_savepoint.000001.bin": RELAY_LOG,
    "5.1.63-google_stmt_mdev-4645-binlog_group_id_checksum.bin": "event headers of 31 bytes",
    "5.1.63-google_stmt_mdev-4645-binlog_none.bin": STATEMENT,
    "5.2.2-a_drop6_permuted-types_ver_5_1-wl2325_r.001.bin": NOT_RELEASED,
    "5.2.2-a_drop6_permuted-types_ver_5_1-wl2325_s.001.bin": NOT_RELEASED,
    "5.5.17_truncated_bug11747416_32228_binlog.000001.bin": "bytes into an event",
    "5.6.24_gtid_binlog_transaction_with_GTID.000001.bin": STATEMENT,
    "5.6.4_rows-v2_ver_trunk_row_v2.001.bin": STATEMENT,
    "5.6.4_uservar_bug11747887-bin.000003.bin": STATEMENT,
    "5.7.11_stmt_temporal-round.000001.bin": STATEMENT,
    "5.7.22_charset_cross_version_utf8mb4.bin": STATEMENT,
    "5.7.2_truncated_prev_gtid.000001.bin": "ends 9 bytes into an event",
    "5.7.30_05_intvar_mysql-cdc-rs.bin": STATEMENT,
    "5.7.30_13_rand_mysql-cdc-rs.bin": STATEMENT,
    "5.7.30_14_user_var_mysql-cdc-rs.bin": STATEMENT,
    "5.7.30_17_18_load_mysql-cdc-rs.bin": STATEMENT,
    "5.7.6_anon-gtid_binlog_transaction.000001.bin": STATEMENT,
    "8.0.13_stmt_temporal-round.000001.bin": STATEMENT,
    "8.0.17_relay_rpl_unfiltered_hidden_gcol.bin": RELAY_LOG,
    "8.0.28_relay_rpl_no_gipk_low_column_number.bin": RELAY_LOG,
    "8.0.30_recovery_duplicate_xid_xa_commit.bin": "is committed at binlog.000001:1530 and was ended before",
    "8.0.30_recovery_duplicate_xid_xa_prepare.bin": DAMAGED,
    "8.0.30_recovery_malformed_xid_xa_commit.bin": DAMAGED,
    "8.0.30_recovery_malformed_xid_xa_rollback.bin": DAMAGED,
    "8.0.30_recovery_orphan_begin_start.bin": "inside another",
    "8.0.30_recovery_orphan_xa_commit.bin": "inside another",
    "8.0.40_payload-and-partial-json_mdev35643.bin": STATEMENT,
    "mariadb-10.6.26_badcrc_mdev-39404.bin": DAMAGED,
    "mysql-8.0-encrypted_rpl_nogtid_encryption_master-bin.000002.bin": "encrypted by MySQL",
    "mysql-neg_truncated_event_14bytes.000001.bin": "does not begin with a whole format description",
}
"""Files that end before their end, and a part of the sentence that says why."""

DECODED_TO_ITS_END = {"mariadb-10.0.17_rows-v1_tiflow.bin": 11}
"""Rows of files whose independent decode breaks off: mariadb-binlog cannot print TIMESTAMP(3) of MariaDB 10.0."""

BY_HAND = {
    "5.7.19_canal-tsdb_mysql-bin.000003.bin": (
        "wanshao",
        "CREATE TABLE `wanshao_test` (`c1` int NOT NULL, `c2` varchar(60) NULL, `c3` int NULL) DEFAULT CHARSET=latin1",
    ),
}
"""Tables that a file alters before its first row of them, as they were before that."""

pytestmark = pytest.mark.skipif(not BINLOGS.is_dir(), reason=ABSENT)


def known_before(name: str) -> Before:
    known = before(binlog(name))
    if name in BY_HAND:
        known = Before(known.databases, [table for table in known.tables if "wanshao_test" not in table[1]])
        known.tables.append(BY_HAND[name])
    return known


@asynccontextmanager
async def captured(
    name: str, folder: Path, known: Before, position: int = BINLOG_MAGIC_BYTES
) -> AsyncIterator[tuple[World, ChannelStatus]]:
    """A channel that has read a recorded file from a position to where it ends, or stops."""
    world = World(folder, ManualClock())
    path = BINLOGS / name
    with suppress(CaptureError):  # the channel says why
        give(world, await read_info([path]), known, position)
    objects = [f"`{database}`" for database, _ in known.databases] or ["none"]
    url = f"file://{path}"
    channel = world.channel(
        partial(open_source, SourceAddress.parse(url), 1, SystemClock()), *objects, url=url, row_image="any"
    )
    try:
        async with running(channel, *State):
            status = await channel.wait_ended()
        yield world, status
    finally:
        await world.close()


@pytest.mark.parametrize("name", binlog_names())
async def test_a_recorded_file(name: str, tmp_path: Path) -> None:
    async with captured(name, tmp_path, known_before(name)) as (world, status):
        rows, expected = compared(world, name)
        if name in STOPS:
            assert status.state is State.ERROR
            assert status.reason is not None
            assert STOPS[name] in status.reason
        else:
            assert status.ended, status.reason
            assert rows == DECODED_TO_ITS_END.get(name, expected)


async def test_a_recorded_partial_update_behind_a_statement(tmp_path: Path) -> None:
    """The one recorded PARTIAL_UPDATE_ROWS stands behind the statement that ends its file's comparison."""
    name = "8.0.40_payload-and-partial-json_mdev35643.bin"
    table = "CREATE TABLE `t2` (`a` int NOT NULL, `b` json DEFAULT NULL, PRIMARY KEY (`a`))"
    known = Before([("test", "CREATE DATABASE `test`")], [("test", table)])
    async with captured(name, tmp_path, known, position=3190) as (world, status):
        assert status.ended, status.reason
        (record,) = [record for record in world.records() if record.operation == "UPDATE"]
    rows = [row for event in dumped_events(dump_text(name)) for row in event.rows]
    ((_, (_, found), (_, changed)),) = [row for row in rows if "JSON_REPLACE" in str(row)]
    replaced = re.fullmatch(r"JSON_REPLACE\(@2, '\$\.(\w)', '(\w+)'\)", changed)
    assert replaced is not None
    before_image, after_image = (record.fields[image][1]["value"] for image in ("beforeImages", "afterImages"))
    assert before_image == found.strip("'")
    assert after_image == json.dumps({**json.loads(before_image), replaced[1]: replaced[2]})
