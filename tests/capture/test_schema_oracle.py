"""The schema history against real servers: every scenario statement, every table, after every statement."""

import contextlib

import pymysql
import pytest

from tests.capture.schema_oracle import SCENARIOS, Follower, load
from tests.live_server import LiveServer

SCENARIO_FILES = sorted(SCENARIOS.glob("*.sql"))


@pytest.mark.parametrize("path", SCENARIO_FILES, ids=lambda path: path.stem)
def test_history_follows_the_server(server: LiveServer, path):
    follower = Follower(server)
    full_metadata = server.global_variable("binlog_row_metadata", "FULL")
    with contextlib.nullcontext() if server.kind == "mysql56" else full_metadata:
        for sql in load(path).on(server.kind):
            for change in follower.run(sql):
                if change.new is not None and not change.new.table.startswith("seq"):
                    _insert_a_row(follower, change.database, change.table)
    assert follower.table_maps > 0


def _insert_a_row(follower: Follower, database: str, table: str) -> None:
    """Have the server log a TABLE_MAP of the table, where it takes a row of defaults."""
    quoted = ".".join(f"`{name.replace('`', '``')}`" for name in (database, table))
    with contextlib.suppress(pymysql.err.Error):
        follower.rows(f"REPLACE INTO {quoted} () VALUES ()")
    follower.follow()
