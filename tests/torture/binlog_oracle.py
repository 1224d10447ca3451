"""What a binlog says, read independently: mysql-replication's reader against the same server."""

from __future__ import annotations

import datetime as dt
import decimal
import warnings
from typing import TYPE_CHECKING, Any

from tests.decoded import Row, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live_server import LiveServer

_SERVER_ID = 4_000_001
_TRANSACTION_CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "ROLLBACK TO")
_OPERATIONS = {"WriteRowsEvent": "INSERT", "UpdateRowsEvent": "UPDATE", "DeleteRowsEvent": "DELETE"}


def read_binlog(server: LiveServer, database: str, position: tuple[str, int]) -> Iterator[Transaction]:
    """The transactions with row changes in ``database``, and its DDL, from ``position`` to the end of the binlog.

    The server must log full row metadata: the reader has no other source of column names.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymysqlreplication import BinLogStreamReader
        from pymysqlreplication.event import QueryEvent, XidEvent
        from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

        account = {"host": server.host, "port": server.port, "user": server.root_user, "passwd": server.root_password}
        stream = BinLogStreamReader(
            connection_settings=account,
            server_id=_SERVER_ID,
            log_file=position[0],
            log_pos=position[1],
            resume_stream=True,
            blocking=False,
            only_events=[QueryEvent, XidEvent, WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
        )
        current = Transaction()
        for event in stream:
            if isinstance(event, XidEvent):
                if current.rows:
                    yield current
                current = Transaction()
            elif isinstance(event, QueryEvent):
                schema = event.schema.decode() if isinstance(event.schema, bytes) else event.schema
                if schema == database and not event.query.startswith(_TRANSACTION_CONTROL):
                    yield Transaction(ddl=event.query)
            elif event.schema == database:
                current.rows += _rows(event)
        stream.close()


def _rows(event: Any) -> Iterator[Row]:
    operation = _OPERATIONS[type(event).__name__]
    table = f"{event.schema}.{event.table}"
    for row in event.rows:
        match operation:
            case "INSERT":
                yield Row(operation, table, None, _plain(row["values"]))
            case "UPDATE":
                yield Row(operation, table, _plain(row["before_values"]), _plain(row["after_values"]))
            case "DELETE":
                yield Row(operation, table, _plain(row["values"]), None)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    for value in values.values():
        assert value is None or isinstance(value, int | str | decimal.Decimal | dt.datetime), value
    return values
