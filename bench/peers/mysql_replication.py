"""The peer of `capture`: mysql-replication decodes the same binlog file, fastavro encodes the same records.

The reader is mysql-replication's own, on a connection that gives it the file's events as packets: no socket is paid
for; it writes its records into memory instead of a log. Both are to its advantage.
"""

from __future__ import annotations

import datetime as dt
import io
import logging
import struct
import warnings
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bench.orders import COLUMN_TYPE_NUMBERS, PRIMARY_KEY
from bench.records import schema

NAME: Final = "mysql-replication + fastavro"

_MAGIC_BYTES: Final = 4
_EVENT_LENGTH_AT: Final = 9
_OK: Final = b"\0"
_EOF_PACKET: Final = b"\xfe\0\0\0\0"
_NAMESPACE: Final = "com.alibaba.dts.formats.avro."
_OPERATIONS: Final = {"WriteRowsEvent": "INSERT", "UpdateRowsEvent": "UPDATE", "DeleteRowsEvent": "DELETE"}


def transcode(binlog: Path, server_version: str) -> list[bytes]:
    """The record of every row change in a binlog file, in order."""
    import fastavro

    fields = [{"name": name, "dataTypeNumber": number} for name, number in COLUMN_TYPE_NUMBERS.items()]
    tags = {"pk_uk_info": f'{{"PRIMARY":["{PRIMARY_KEY}"]}}'}
    head = {"version": 0, "sourceTxid": "0", "source": {"sourceType": "MySQL", "version": server_version}}
    written: list[bytes] = []
    record_schema = schema()
    for event in row_events(binlog):
        operation = _OPERATIONS[type(event).__name__]
        position = f"{event.packet.log_pos}@1"
        for row in event.rows:
            before = row.get("before_values") or (row["values"] if operation == "DELETE" else None)
            after = row.get("after_values") or (row["values"] if operation == "INSERT" else None)
            record = {
                **head,
                "id": len(written),
                "sourceTimestamp": event.timestamp,
                "sourcePosition": position,
                "safeSourcePosition": position,
                "operation": operation,
                "objectName": f"{event.schema}.{event.table}",
                "processTimestamps": None,
                "tags": tags,
                "fields": fields,
                "beforeImages": None if before is None else [_cell(*item) for item in before.items()],
                "afterImages": None if after is None else [_cell(*item) for item in after.items()],
                "bornTimestamp": event.timestamp,
            }
            buffer = io.BytesIO()
            fastavro.schemaless_writer(buffer, record_schema, record)
            written.append(buffer.getvalue())
    return written


def row_events(binlog: Path) -> Iterator[Any]:
    """The rows events of a binlog file with full row metadata, as mysql-replication decodes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymysqlreplication import BinLogStreamReader
        from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

        logging.getLogger("pymysqlreplication").setLevel(logging.ERROR)
        stream = BinLogStreamReader(
            connection_settings={"charset": "utf8"},
            server_id=1,
            log_file=binlog.name,
            log_pos=_MAGIC_BYTES,
            only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
            pymysql_wrapper=lambda **_: _FileConnection(binlog),
        )
        yield from stream
        stream.close()


def _cell(name: str, value: Any) -> Any:
    """A value of mysql-replication as the DTS class of its column, in fastavro's notation for a union."""
    if value is None:
        return None
    match COLUMN_TYPE_NUMBERS[name]:
        case 1 | 3 | 8 as number:
            return _NAMESPACE + "Integer", {"precision": {1: 1, 3: 4, 8: 8}[number], "value": str(value)}
        case 246:
            assert isinstance(value, Decimal)
            digits = len(value.as_tuple().digits)
            return _NAMESPACE + "Decimal", {"value": f"{value:f}", "precision": digits, "scale": 2}
        case 15 | 253:
            return _NAMESPACE + "Character", {"charset": "utf8mb4", "value": value.encode()}
        case 12:
            names = ("year", "month", "day", "hour", "minute", "second")
            parts = {part: getattr(value, part) for part in names}
            return _NAMESPACE + "DateTime", {**parts, "millis": value.microsecond}
        case 7:
            seconds = int(value.replace(tzinfo=dt.UTC).timestamp())
            return _NAMESPACE + "Timestamp", {"timestamp": seconds, "millis": value.microsecond}
        case other:
            raise AssertionError(f"a column of type number {other}")


class _FileConnection:
    """As much of a PyMySQL connection as mysql-replication's reader uses; its packets are a file's events."""

    charset = "utf8"

    def __init__(self, binlog: Path) -> None:
        data = binlog.read_bytes()
        self._packets = iter(_packets(data))

    def cursor(self) -> _Answers:
        return _Answers()

    def close(self) -> None:
        self._packets = iter(())

    def get_server_info(self) -> str:
        return "8.0"

    def _write_bytes(self, data: bytes) -> None:
        """The dump command; the file answers anyway."""

    def _read_packet(self) -> Any:
        return next(self._packets)


class _Answers:
    """A cursor that answers the two variables the reader asks for: checksums on, full row metadata."""

    def execute(self, sql: str, *_: object) -> None:
        self._row: Any = None
        if "BINLOG_CHECKSUM" in sql:
            self._row = ("binlog_checksum", "CRC32")
        elif "BINLOG_ROW_METADATA" in sql:
            self._row = {"Value": "FULL"}

    def fetchone(self) -> Any:
        return self._row

    def close(self) -> None: ...


def _packets(data: bytes) -> Iterator[Any]:
    from pymysql.protocol import MysqlPacket

    position = _MAGIC_BYTES
    while position < len(data):
        (size,) = struct.unpack_from("<I", data, position + _EVENT_LENGTH_AT)
        yield MysqlPacket(_OK + data[position : position + size], "utf8")
        position += size
    yield MysqlPacket(_EOF_PACKET, "utf8")
