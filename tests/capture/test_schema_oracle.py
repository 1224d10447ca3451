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
                    _replace_a_row(follower, change.database, change.table)
    assert follower.table_maps > 0
    _restores(follower)


# MySQL 8.0+ takes this setting only when its data directory is made.
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.server(kind)) for kind in ("mysql56", "mariadb1011")]
)
def test_names_where_the_server_ignores_case(server_factory, kind):
    follower = Follower(server_factory(kind, "--lower-case-table-names=1"))
    for sql in (
        "CREATE DATABASE Away DEFAULT CHARSET gbk",
        "CREATE TABLE Orders (Id INT PRIMARY KEY, Name VARCHAR(5))",
        "CREATE TABLE AWAY.Copy LIKE oRDERS",
        "ALTER TABLE ORDERS ADD Note TEXT AFTER ID",
        "CREATE TABLE aWay.Own (A CHAR(3))",
        "RENAME TABLE Orders TO Away.Moved, AWAY.COPY TO Orders",
        "DROP TABLE oRdErS",
        "DROP DATABASE AWAY",
    ):
        for change in follower.run(sql):
            if change.new is not None:
                _replace_a_row(follower, change.database, change.table)
    assert follower.table_maps > 0


def _replace_a_row(follower: Follower, database: str, table: str) -> None:
    """Have the server log a TABLE_MAP of the table, where it takes a row of defaults."""
    quoted = ".".join(f"`{name.replace('`', '``')}`" for name in (database, table))
    with contextlib.suppress(pymysql.err.Error):
        follower.rows(f"REPLACE INTO {quoted} () VALUES ()")
    follower.follow()


def _restores(follower: Follower) -> None:
    """Compare the history with one made of its catalog rows."""
    restored = follower.new_history()
    restored.restore(follower.history.take_rows("channel"))
    tables = restored.tables_of(follower.database)
    assert tables
    assert sorted(tables) == sorted(follower.history.tables_of(follower.database))
    for table in tables:
        assert restored.table(follower.database, table) == follower.history.table(follower.database, table)
