"""Rows of real servers through decoder and transcoder, against what was put in; our files through MySQL's own tool."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings

from capture import avro
from capture.dialect import Dialect
from capture.encode import EventEncoder, RowMetadata
from capture.envelope import RecordHead
from capture.events import BINLOG_MAGIC, EventDecoder, RowsEvent, TableMapEvent, iter_events
from capture.schema import SchemaHistory
from capture.table import Column, TableVersion
from capture.transcoder import Transcoder
from tests.capture.recorded import dumped_events, printed
from tests.capture.row_cases import Case, expected_cell, tables_with_rows
from tests.live_server import LiveServer

FEW = settings(
    max_examples=12,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ROW_BYTES_MAX = 60_000
HEAD = RecordHead(1, "2@1", "1@1", None, 1, 0)


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def definition(column: Column) -> str:
    """A column as CREATE TABLE takes it."""
    size = {
        "decimal": f"({column.precision},{column.scale})",
        "varchar": f"({column.length})",
        **dict.fromkeys(("char", "binary", "varbinary", "bit"), f"({column.length})"),
        **dict.fromkeys(("datetime", "timestamp", "time"), f"({column.fsp})"),
        **dict.fromkeys(("enum", "set"), f"({', '.join(map(_literal, column.labels))})"),
    }.get(column.data_type, "")
    charset = f" CHARACTER SET {column.charset}" if column.charset else ""
    null = "NULL" if column.nullable else "NOT NULL"
    return f"{quoted(column.name)} {column.data_type}{size}{' UNSIGNED' * column.unsigned}{charset} {null}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def fits_a_row(case: Case) -> bool:
    """Servers hold 65,535 bytes of VARCHAR to the row, and `a.b`.`t` is not a table of its own."""
    return sum(4 * (column.length or 0) for column in case.table.columns) < ROW_BYTES_MAX


def records_of(server: LiveServer, file: str, create_sql: str, database: str, **options: Any) -> list[dict[str, Any]]:
    """All records of the tables of a database in a binlog file, decoded. `options` are the transcoder's."""
    history = SchemaHistory(Dialect.of(server.version), lambda name, table: name == database)
    history.snapshot_database(server.execute(f"SHOW CREATE DATABASE {quoted(database)}")[0][1], (0, 0))
    history.snapshot_table(database, create_sql, (0, 0))
    decoder, records = EventDecoder(), []
    transcoders: dict[int, Transcoder] = {}
    for raw in iter_events(server.binlog_path(file).read_bytes()):
        _, event = decoder.decode(raw)
        if isinstance(event, TableMapEvent) and event.database == database:
            transcoders[event.table_id] = Transcoder(history.check(event), event, server.version, **options)
        if isinstance(event, RowsEvent) and event.table_id in transcoders:
            records += transcoders[event.table_id].transcode(event, HEAD, 1)
    return [avro.decode(record) for record in records]


@FEW
@given(case=tables_with_rows(columns_max=8).filter(fits_a_row))
def test_rows_of_a_server_are_what_was_put_in(server: LiveServer, case: Case) -> None:
    database, table = server.fresh_database(), case.table
    columns = ", ".join(map(definition, table.columns))
    server.execute_all("SET SESSION sql_mode = 'STRICT_ALL_TABLES'", "SET SESSION time_zone = '+00:00'")
    server.execute(f"CREATE TABLE {quoted(table.table)} ({columns})", database=database)
    server.execute("FLUSH BINARY LOGS")
    file, _ = server.binlog_position()
    marks = ", ".join(["%s"] * len(table.columns))
    for row in case.rows:
        server.execute(f"INSERT INTO {quoted(table.table)} VALUES ({marks})", list(map(_given, row)), database=database)
    server.execute(f"DELETE FROM {quoted(table.table)}", database=database)
    (created,) = server.execute(f"SHOW CREATE TABLE {quoted(table.table)}", database=database)
    records = records_of(server, file, created[1], database)
    images = [_image(table, row) for row in case.rows]
    assert [record["afterImages"] for record in records] == images + [None] * len(images)
    assert [record["beforeImages"] for record in records] == [None] * len(images) + images


def _given(value: Any) -> Any:
    """A value as the driver takes it: the labels of a SET as one text."""
    return ",".join(sorted(value)) if isinstance(value, set | tuple) else value


def _image(table: TableVersion, row: list[Any]) -> list[Any]:
    return list(map(expected_cell, table.columns, row))


@FEW
@given(case=tables_with_rows())
def test_our_files_read_the_same_with_mysqls_own_tool(mysql97: LiveServer, tmp_path_factory: Any, case: Case) -> None:
    path: Path = tmp_path_factory.mktemp("binlog") / "binlog.000001"
    for metadata in RowMetadata:
        encoder = EventEncoder(row_metadata=metadata)
        rows = case.rows
        raws = [
            encoder.format_description(1700000000),
            encoder.anonymous_gtid(1700000000),
            encoder.query(1700000000, "BEGIN", database=case.table.database, thread_id=7),
            encoder.table_map(1700000000, case.table, 9),
            encoder.write_rows(1700000000, case.table, 9, rows, ends_statement=False),
            encoder.update_rows(1700000000, case.table, 9, [(rows[0], rows[-1])]),
            encoder.xid(1700000000, 5),
        ]
        path.write_bytes(BINLOG_MAGIC + b"".join(raws))
        events = dumped_events(dump(mysql97, path))
        assert [event.end for event in events] == list(_ends(raws))
        images = [*rows, rows[0], rows[-1]]
        texts = [image for event in events for _, *both in event.rows for image in both if image]
        assert len(images) == len(texts)
        for image, text in zip(images, texts, strict=True):
            shown = [_of_sign(column, one) for column, one in zip(case.table.columns, text, strict=True)]
            assert list(map(mysqlbinlogs, case.table.columns, image, shown)) == shown


def mysqlbinlogs(column: Column, value: Any, text: str) -> str:
    """A value as mysqlbinlog prints it; where it has two notations, the one of `text`."""
    if value is None:
        return "NULL"
    if column.data_type == "date":
        return f"'{value:%Y:%m:%d}'"
    if column.data_type == "year":
        return str(value or 1900)  # what the tool makes of the year 0000
    if column.data_type in {"float", "double"}:
        return text if float(text) == float(f"{value:{'.6g' if column.data_type == 'float' else '.20g'}}") else "?"
    if column.data_type == "bit":
        return f"b'{value:0{(column.length or 1)}b}'"
    if column.data_type == "enum":
        return str(column.labels.index(value) + 1)
    if column.data_type == "set":
        bits = sum(1 << column.labels.index(one) for one in value)  # printed byte by byte as they are stored
        return f"b'{''.join(f'{byte:08b}' for byte in bits.to_bytes(_set_bytes(column), 'little'))}'"
    if column.data_type == "time":
        return f"'{time_text(value, column.fsp)}'"
    if isinstance(value, bytes):
        return c_string(value.rstrip(b"\0") if column.data_type == "binary" else value)
    return printed(expected_cell(column, value), text)


def _set_bytes(column: Column) -> int:
    size = (len(column.labels) + 7) // 8
    return size if size <= 4 else 8


def time_text(value: dt.timedelta, fsp: int) -> str:
    """A TIME as servers show it."""
    seconds, fraction = divmod(abs(value) // dt.timedelta(microseconds=1), 10**6)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return "-" * (value < dt.timedelta()) + text + f".{fraction:06d}"[: fsp + 1] * bool(fsp)


def c_string(data: bytes) -> str:
    """Bytes as mysqlbinlog quotes them, like a string of C, read back the way this file reads its output."""
    escapes = {**{ord(one): f"\\{letter}" for one, letter in zip("\b\t\n\f\r'\\", "btnfr'\\", strict=True)}}
    pieces = [escapes.get(byte, f"\\x{byte:02x}" if byte < 32 else "").encode() or bytes([byte]) for byte in data]
    return "'" + b"".join(pieces).decode("utf-8", "surrogateescape") + "'"


def dump(server: LiveServer, path: Path) -> str:
    assert server.binlog_reader is not None
    command = [*server.binlog_reader, "--no-defaults", "--verify-binlog-checksum", "-vv", str(path)]
    shown = subprocess.run(command, capture_output=True, check=True, env={"TZ": "UTC"})
    return shown.stdout.decode("utf-8", "surrogateescape")


def _ends(raws: list[bytes]) -> Any:
    position = 4
    for raw in raws:
        position += len(raw)
        yield position


def _of_sign(column: Column, text: str) -> str:
    """Numbers with the first bit set are shown as signed and, in brackets, as unsigned ones."""
    signed, _, unsigned = text.partition(" (")
    if column.charset is not None or not unsigned:
        return text
    return unsigned.rstrip(")") if column.unsigned else signed
