"""A record as people are shown it: a row of a list, or all of it; and a value's bytes for a download.

Owns what is cut and where, and the names of types. What a value is `cells.py` says.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from broker.charsets import CODECS, decode
from broker.operations.records import FieldChange, KeyValue, RecordDetail, RecordRow, ShownValue
from broker.search import cells
from broker.search.records import (
    KINDS,
    CellClass,
    Reader,
    begin_image,
    end_image,
    read_fields,
    read_head,
    read_tags,
    skip_cell,
    split_name,
)

LIST_BYTES_MAX: Final = 4 << 10
DETAIL_BYTES_MAX: Final = 64 << 10
ROW_BYTES_MAX: Final = 8 << 20
"""Of all values of one shown record: a table may have 4,096 columns."""
DDL_BYTES_MAX: Final = 256 << 10
_DDL: Final = KINDS.index("DDL")
_UPDATE: Final = KINDS.index("UPDATE")
_PRIMARY: Final = "PRIMARY"

TYPE_NAMES: Final = {
    0: "DECIMAL", 1: "INT8", 2: "INT16", 3: "INT32", 4: "FLOAT", 5: "DOUBLE", 6: "NULL", 7: "TIMESTAMP", 8: "INT64",
    9: "INT24", 10: "DATE", 11: "TIME", 12: "DATETIME", 13: "YEAR", 14: "DATE", 15: "STRING", 16: "BIT",
    17: "TIMESTAMP", 18: "DATETIME", 19: "TIME", 245: "JSON", 246: "DECIMAL", 247: "ENUM", 248: "SET",
    249: "TINY_BLOB", 250: "MEDIUM_BLOB", 251: "LONG_BLOB", 252: "BLOB", 253: "STRING", 254: "STRING", 255: "GEOMETRY",
}  # fmt: skip
"""The service's names of its data type numbers, as its console shows them: STRING is every type of text."""

CHARSET_NAMES: Final = {
    1: "big5", 2: "latin2", 3: "dec8", 4: "cp850", 6: "hp8", 7: "koi8r", 8: "latin1", 9: "latin2", 10: "swe7",
    11: "ascii", 12: "ujis", 13: "sjis", 16: "hebrew", 18: "tis620", 19: "euckr", 22: "koi8u", 24: "gb2312",
    25: "greek", 26: "cp1250", 28: "gbk", 30: "latin5", 32: "armscii8", 33: "utf8", 36: "cp866", 38: "macce",
    39: "macroman", 40: "cp852", 41: "latin7", 45: "utf8mb4", 46: "utf8mb4", 51: "cp1251", 57: "cp1256", 59: "cp1257",
    63: "binary", 92: "geostd8", 95: "cp932", 97: "eucjpms", 248: "gb18030", 255: "utf8mb4",
}  # fmt: skip
"""Character sets by the numbers of the collations that clients name (information_schema.COLLATIONS of MySQL 8.0)."""

_RANGES: Final = (("utf8", range(192, 224)), ("utf8mb4", range(224, 248)), ("utf8mb4", range(256, 324)))


class Record(NamedTuple):
    """A record with its cells where they lie."""

    record_id: int
    timestamp_s: int
    checkpoint: str
    kind: int
    database: str | None
    table: str | None
    tags: dict[str, str]
    fields: list[tuple[str, int]]
    before: list[tuple[int, int]] | None
    after: list[tuple[int, int]] | None
    statement: tuple[int, int] | None


def parse(value: bytes, start: int, end: int) -> Record:
    """The record whose value lies there. Raises ValueError: it is none that is known."""
    reader = Reader(value, start, end)
    head = read_head(reader)
    tags = {_name(name): _name(text) for name, text in read_tags(reader).items()}
    fields = [(_name(name), number) for name, number in read_fields(reader)]
    before = after = statement = None
    if fields:
        before, after = _image(reader, len(fields)), _image(reader, len(fields))
    elif head.kind == _DDL:
        reader.number()
        statement = reader.text() if reader.number() == 1 else None
    database, table = split_name(head.object_name)
    checkpoint = _name(bytes(value[slice(*head.position)]))
    return Record(
        head.record_id, head.timestamp_s, checkpoint, head.kind, _object(database), _object(table), tags, fields,
        before, after, statement,
    )  # fmt: skip


def _image(reader: Reader, count: int) -> list[tuple[int, int]] | None:
    if not begin_image(reader, count):
        return None
    places = []
    for _ in range(count):
        start = reader.position
        skip_cell(reader)
        places.append((start, reader.position))
    end_image(reader)
    return places


def _name(data: bytes) -> str:
    """Names as they are, and what is no UTF-8 in them as escapes, so that JSON can say it."""
    return data.decode("utf-8", "backslashreplace")


def _object(data: bytes | None) -> str | None:
    return None if data is None else _name(data).replace("\\u002E", ".")


def row_of(value: bytes, start: int, end: int, offset: int, timestamp_ms: int) -> RecordRow:
    """A record in a list."""
    record = parse(value, start, end)
    return RecordRow(
        offset, record.record_id, record.database, record.table, _key(value, record), KINDS[record.kind],
        record.checkpoint, timestamp_ms,
    )  # fmt: skip


def detail_of(value: bytes, start: int, end: int, offset: int, timestamp_ms: int) -> RecordDetail:
    """All of a record."""
    record = parse(value, start, end)
    keys = set(_key_columns(record))
    room = _Room(ROW_BYTES_MAX)
    fields = tuple(_field(value, record, index, keys, room) for index in range(len(record.fields)))
    ddl, is_cut = _ddl(value, record)
    return RecordDetail(
        offset, record.record_id, record.database, record.table, _key(value, record), KINDS[record.kind],
        record.checkpoint, timestamp_ms, fields, ddl, _context(record), record.tags, is_cut,
    )  # fmt: skip


class _Room:
    """What the values of one record may still take."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def take(self, size_bytes: int) -> int:
        taken = min(size_bytes, self.size_bytes)
        self.size_bytes -= taken
        return taken


def _field(value: bytes, record: Record, index: int, keys: set[str], room: _Room) -> FieldChange:
    name, number = record.fields[index]
    before = None if record.before is None else _cell(value, record.before[index])
    after = None if record.after is None else _cell(value, record.after[index])
    is_changed = (
        record.kind == _UPDATE
        and before is not None
        and after is not None
        and before != after
        and _ABSENT not in {before[:1], after[:1]}
    )
    return FieldChange(
        name,
        TYPE_NAMES.get(number, str(number)),
        _charset(before) or _charset(after),
        name in keys,
        None if before is None else shown_value(before, DETAIL_BYTES_MAX, room),
        None if after is None else shown_value(after, DETAIL_BYTES_MAX, room),
        is_changed,
    )


_ABSENT: Final = bytes((CellClass.EMPTY_OBJECT << 1,))


def _cell(value: bytes, place: tuple[int, int]) -> bytes:
    return bytes(value[slice(*place)])


def _charset(cell: bytes | None) -> str | None:
    if cell is None:
        return None
    reader = Reader(cell)
    return _name(reader.take()) if reader.number() == CellClass.CHARACTER else None


def _key_columns(record: Record) -> list[str]:
    """The columns of the primary key, or of the first unique one."""
    try:
        keys: Any = json.loads(record.tags.get("pk_uk_info", "{}"))
        columns: list[Any] = keys.get(_PRIMARY) or next(iter(keys.values()), [])
        return [str(column) for column in columns]
    except (ValueError, AttributeError, TypeError):
        return []


def _key(value: bytes, record: Record) -> tuple[KeyValue, ...]:
    image = record.after or record.before
    if image is None:
        return ()
    names = [name for name, _ in record.fields]
    room = _Room(ROW_BYTES_MAX)
    return tuple(
        KeyValue(column, shown_value(_cell(value, image[names.index(column)]), LIST_BYTES_MAX, room))
        for column in _key_columns(record)
        if column in names
    )


def _ddl(value: bytes, record: Record) -> tuple[str | None, bool]:
    if record.statement is None:
        return None, False
    start, end = record.statement
    return _name(bytes(value[start : min(end, start + DDL_BYTES_MAX)])), end - start > DDL_BYTES_MAX


def _context(record: Record) -> str | None:
    """What a DDL was executed under, in the form of the service's console: sql_mode as the number in the binlog."""
    if record.kind != _DDL:
        return None
    tags = record.tags
    parts = [f"SET TIMESTAMP={tags.get('commitTimestamp', record.timestamp_s)};"]
    if "Q_SQL_MODE_CODE" in tags:
        parts.append(f"SET @@session.sql_mode={tags['Q_SQL_MODE_CODE']};")
    charset = tags.get("Q_CHARSET_CODE", "")
    if charset.isdecimal():
        number = int(charset)
        name = CHARSET_NAMES.get(number) or next((name for name, those in _RANGES if number in those), None)
        parts.append(f"SET names {name};" if name else f"SET @@session.collation_connection={number};")
    return "".join(parts)


# ---- values ----


def content_of(cell: bytes) -> tuple[bytes, bool, str | None]:
    """The bytes of a value as they lie in a record, whether they are text, and of which character set."""
    reader = Reader(cell)
    kind = reader.number()
    if kind == CellClass.CHARACTER:
        charset = _name(reader.take())
        return reader.take(), charset != "binary", charset
    if kind in {CellClass.BINARY_GEOMETRY, CellClass.BINARY_OBJECT}:
        reader.take()
        return reader.take(), False, None
    if kind in {CellClass.TEXT_GEOMETRY, CellClass.TEXT_OBJECT}:
        reader.take()
        return reader.take(), True, "utf8mb4"
    shown = cells.read_cell(cell)
    return str(_plain_text(shown)).encode(), True, "utf8mb4"


def _plain_text(cell: dict[str, Any] | None) -> str:
    if cell is None or cell["class"] == "EmptyObject":
        return ""
    return str(cell["value"]) if cell["class"] in {"Integer", "Decimal"} else str(cells.plain(cell))


def shown_value(cell: bytes, bytes_max: int, room: _Room) -> ShownValue:
    """A value, or its beginning: at most so many bytes of text, or half as many bytes in hexadecimal."""
    kind = Reader(cell).number()
    if kind == CellClass.NULL:
        return ShownValue("null")
    if kind == CellClass.EMPTY_OBJECT:
        return ShownValue("absent")
    content, is_text, charset = content_of(cell)
    total = len(content)
    text = _beginning(content, room.take(min(bytes_max, total)), charset) if is_text else None
    if text is not None:
        shown, size = text
        return ShownValue("text", shown, total, size < total)
    size = room.take(min(bytes_max, 2 * total)) // 2
    return ShownValue("bytes", content[:size].hex(), total, size < total)


def _beginning(content: bytes, bytes_max: int, charset: str | None) -> tuple[str, int] | None:
    """Whole characters of the first so many bytes, and how many bytes these are; None if they are no text."""
    if charset is None or charset not in CODECS:
        return None
    whole = content if len(content) <= bytes_max else content[:bytes_max]
    for size in range(len(whole), max(-1, len(whole) - 5), -1):
        try:
            return decode(whole[:size], charset), size
        except UnicodeDecodeError:
            if len(whole) == len(content):
                return None
    return None


def content_at(
    value: bytes, start: int, end: int, column: int, *, is_after: bool
) -> tuple[bytes, bool, str | None] | None:
    """`content_of` a column before or after the change, or of the statement of a DDL (-1); None without one."""
    record = parse(value, start, end)
    if column < 0:
        statement = record.statement
        return None if statement is None else (bytes(value[slice(*statement)]), True, "utf8mb4")
    image = record.after if is_after else record.before
    if image is None or column >= len(image):
        return None
    cell = _cell(value, image[column])
    return None if Reader(cell).number() in {CellClass.NULL, CellClass.EMPTY_OBJECT} else content_of(cell)
