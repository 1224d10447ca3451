"""What the synthetic server says of itself and the orders table: as much as readers of its binlog ask.

Binwire's connection and precheck, mysql-replication, go-mysql's BinlogSyncer and canal. One row per statement, by the
words it is asked in. What its variables say is what `bench/material.py` writes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from bench import mysql_protocol as protocol
from bench import orders
from bench.material import SERVER_VERSION
from bench.mysql_protocol import SqlError
from bench.prepared_binlog import Binlog

USER: Final = "repl"

Answer = tuple[Sequence[str], Sequence[protocol.Row]]
"""Names of columns, and rows."""

_VARIABLES: Final = {
    "binlog_checksum": "CRC32",
    "binlog_encryption": "OFF",
    "binlog_expire_logs_auto_purge": "ON",
    "binlog_expire_logs_seconds": "2592000",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "binlog_row_metadata": "FULL",
    "binlog_row_value_options": "",
    "binlog_transaction_compression": "OFF",
    "collation_server": "utf8mb4_0900_ai_ci",
    "enforce_gtid_consistency": "ON",
    "explicit_defaults_for_timestamp": "ON",
    "gtid_mode": "ON",
    "gtid_purged": "",
    "log_bin": "ON",
    "log_replica_updates": "ON",
    "lower_case_table_names": "0",
    "partial_revokes": "OFF",
    "read_only": "OFF",
    "sql_mode": "",
    "super_read_only": "OFF",
    "time_zone": "SYSTEM",
    "version": SERVER_VERSION,
    "version_comment": "Binwire's synthetic server",
}
_DATABASE: Final = orders.DATABASE
_TABLE: Final = orders.TABLE.partition(".")[2]
_SHOW_CREATE_DATABASE: Final = (
    f"CREATE DATABASE `{_DATABASE}` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci */"
)
_SHOW_CREATE_TABLE: Final = """CREATE TABLE `orders` (
  `id` bigint unsigned NOT NULL,
  `customer_id` int NOT NULL,
  `status` tinyint NOT NULL,
  `quantity` int NOT NULL,
  `amount` decimal(12,2) NOT NULL,
  `currency` varchar(3) NOT NULL,
  `title` varchar(120) NOT NULL,
  `note` text,
  `coupon` varchar(20) DEFAULT NULL,
  `placed_at` datetime NOT NULL,
  `paid_at` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"""
"""What a MySQL 8.0 shows of orders.CREATE_TABLE."""


def answer(binlog: Binlog, sql: str) -> Answer | None:
    """What a statement gives; None for one that is not known. Raises SqlError."""
    for pattern, answering in _ANSWERS:
        if found := re.fullmatch(pattern, sql, re.IGNORECASE | re.DOTALL):
            return answering(binlog, found)
    return None


def _variables(binlog: Binlog) -> dict[str, str]:
    return {**_VARIABLES, "server_id": str(binlog.server_id), "server_uuid": binlog.server_uuid}


def _show_variables(binlog: Binlog, found: re.Match[str]) -> Answer:
    names = {name.lower() for name in re.findall(r"'(\w+)'", found[1])}
    rows = [(name, value) for name, value in _variables(binlog).items() if name in names]
    return ("Variable_name", "Value"), rows


def _select_variables(binlog: Binlog, found: re.Match[str]) -> Answer:
    known = {**_variables(binlog), "gtid_executed": binlog.executed}
    names = re.findall(r"@@(?:global\.|session\.)?(\w+)", found[1].lower())
    for name in names:
        if name not in known:
            raise SqlError(1193, "HY000", f"Unknown system variable '{name}'")
    return [f"@@{name}" for name in names], [[known[name] for name in names]]


def _binlog_status(binlog: Binlog, _: re.Match[str]) -> Answer:
    row = (binlog.name, str(binlog.start), "", "", binlog.executed)
    return ("File", "Position", "Binlog_Do_DB", "Binlog_Ignore_DB", "Executed_Gtid_Set"), [row]


def _binary_logs(binlog: Binlog, _: re.Match[str]) -> Answer:
    """All that will be sent: Binwire asks for the sizes at the end of a file."""
    rows = [(binlog.file_name(number), str(len(binlog.data)), "No") for number in range(binlog.files)]
    return ("Log_name", "File_size", "Encrypted"), rows


def _fixed(names: Sequence[str], *rows: protocol.Row) -> Callable[[Binlog, re.Match[str]], Answer]:
    return lambda _, found: (names, rows)


def _column_rows() -> list[protocol.Row]:
    """SHOW FULL COLUMNS, as the definition says: `name` type … [NOT NULL]."""
    rows: list[protocol.Row] = []
    for line in _SHOW_CREATE_TABLE.splitlines():
        if found := re.match(r"  `(\w+)` (\w+(?:\([\d,]+\))?(?: unsigned)?)", line):
            collation = "utf8mb4_0900_ai_ci" if re.match("varchar|text", found[2]) else None
            null, key = "NO" if "NOT NULL" in line else "YES", "PRI" if found[1] == orders.PRIMARY_KEY else ""
            rows.append((found[1], found[2], collation, null, key, None, "", "select", ""))
    return rows


_COLUMN_NAMES: Final = ("Field", "Type", "Collation", "Null", "Key", "Default", "Extra", "Privileges", "Comment")
_INDEX_NAMES: Final = (
    *("Table", "Non_unique", "Key_name", "Seq_in_index", "Column_name", "Collation", "Cardinality", "Sub_part"),
    *("Packed", "Null", "Index_type", "Comment", "Index_comment", "Visible", "Expression"),
)
_INDEX_ROW: Final = (
    *(_TABLE, "0", "PRIMARY", "1", orders.PRIMARY_KEY, "A", "0", None),
    *(None, "", "BTREE", "", "", "YES", None),
)
_GRANTED: Final = "SELECT, SHOW VIEW, REPLICATION SLAVE, REPLICATION CLIENT"
_NAMED: Final = rf"`?{_DATABASE}`?\.`?{_TABLE}`?"

_ANSWERS: Final[tuple[tuple[str, Callable[[Binlog, re.Match[str]], Answer]], ...]] = (
    (r"SHOW (?:GLOBAL |SESSION )?VARIABLES (?:WHERE Variable_name IN|LIKE) (.*)", _show_variables),
    (r"SELECT ((?:@@[\w.]+(?: AS \w+)?,? ?)+)", _select_variables),
    (r"SELECT UNIX_TIMESTAMP\(NOW\(6\)\)", lambda _, found: (("now",), [(f"{time.time():.6f}",)])),
    (r"SELECT VERSION\(\)", _fixed(("version",), (SERVER_VERSION,))),
    (r"SELECT USER\(\)", _fixed(("user",), (f"{USER}@localhost",))),
    (r"SELECT CURRENT_USER\(\)", _fixed(("user",), (f"{USER}@%",))),
    (
        r"SHOW GRANTS.*",
        _fixed(("Grants",), (f"GRANT {_GRANTED} ON *.* TO `{USER}`@`%`",)),
    ),
    (r"SHOW MASTER STATUS", _binlog_status),
    (r"SHOW (?:BINARY|MASTER) LOGS", _binary_logs),
    (
        rf"SHOW CREATE DATABASE (?:IF NOT EXISTS )?`?{_DATABASE}`?",
        _fixed(("Database", "Create Database"), (_DATABASE, _SHOW_CREATE_DATABASE)),
    ),
    (rf"SHOW CREATE TABLE {_NAMED}", _fixed(("Table", "Create Table"), (_TABLE, _SHOW_CREATE_TABLE))),
    (rf"SHOW FULL COLUMNS FROM {_NAMED}", _fixed(_COLUMN_NAMES, *_column_rows())),
    (rf"SHOW INDEX FROM {_NAMED}", _fixed(_INDEX_NAMES, _INDEX_ROW)),
    (
        r"SELECT (?:table_schema, table_name|\*) FROM information_schema\.(?:tables|statistics).*",
        _fixed(("TABLE_SCHEMA", "TABLE_NAME"), (_DATABASE, _TABLE)),
    ),
    (r"SELECT schema_name FROM information_schema\.schemata", _fixed(("SCHEMA_NAME",), (_DATABASE,))),
    (r"SHOW (?:SLAVE HOSTS|REPLICAS|SLAVE STATUS|REPLICA STATUS)", _fixed(("Server_Id",))),
    (r"SELECT .* FROM information_schema\.\w+.*", _fixed(("c0",))),
)
