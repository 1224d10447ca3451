"""Row images to Avro records: identical to fastavro's bytes for random tables; strange bytes never get through."""

from __future__ import annotations

import datetime as dt
import linecache
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture import avro, transcoder
from capture.encode import EventEncoder, RowMetadata
from capture.envelope import RecordHead
from capture.errors import CaptureError, MalformedEvent, SchemaMismatch, UnsupportedColumn, UnsupportedEvent
from capture.events import Checksum, EventDecoder, FieldType, RowsEvent, RowsKind, TableMapEvent
from capture.table import Column, Key, TableVersion
from capture.transcoder import Transcoder
from tests.capture.row_cases import NUMBERS, Case, expected_cell, table_of, tables_with_rows, text_column

pytestmark = pytest.mark.usefixtures("way")

HEAD = RecordHead(1700000000, "300@7", "200@7", 42, 9, 1700000000123)
ALL = settings(suppress_health_check=[HealthCheck.too_slow])


def events_of(
    table: TableVersion, kind: RowsKind, images: list[list[Any]], **options: Any
) -> tuple[TableMapEvent, RowsEvent]:
    """The decoded TABLE_MAP and rows event of these row images; an UPDATE takes them in pairs."""
    encoder = EventEncoder(**options)
    decoder = EventDecoder()
    decoder.decode(encoder.format_description(1))
    _, table_map = decoder.decode(encoder.table_map(1, table, 5))
    if kind is RowsKind.UPDATE:
        raw = encoder.update_rows(1, table, 5, list(zip(images[::2], images[1::2], strict=True)))
    else:
        write = encoder.write_rows if kind is RowsKind.WRITE else encoder.delete_rows
        raw = write(1, table, 5, images)
    _, rows = decoder.decode(raw)
    assert isinstance(table_map, TableMapEvent)
    assert isinstance(rows, RowsEvent)
    return table_map, rows


def expected_record(
    table: TableVersion, operation: str, record_id: int, before: list[Any] | None, after: list[Any] | None
) -> dict[str, Any]:
    keys = table.pk_uk_info()
    return {
        "version": 0,
        "id": record_id,
        "sourceTimestamp": HEAD.timestamp,
        "sourcePosition": HEAD.source_position,
        "safeSourcePosition": HEAD.safe_source_position,
        "sourceTxid": "0",
        "source": {"sourceType": "MySQL", "version": "8.0.36"},
        "operation": operation,
        "objectName": f"{table.database}.{table.table}".replace("a.b", "a\\u002Eb"),
        "processTimestamps": None,
        "tags": {
            **({} if keys is None else {"pk_uk_info": keys}),
            "metaVersion": str(table.meta_version),
            "thread_id": "42",
            "readerThroughoutTime": "1700000000123",
            "server_id": "9",
        },
        "fields": [{"name": one.name, "dataTypeNumber": NUMBERS[one.data_type]} for one in table.columns],
        "beforeImages": _image(table, before),
        "afterImages": _image(table, after),
        "bornTimestamp": HEAD.timestamp,
    }


def _image(table: TableVersion, row: list[Any] | None) -> list[Any] | None:
    return None if row is None else list(map(expected_cell, table.columns, row))


def expected_records(table: TableVersion, kind: RowsKind, images: list[list[Any]], first_id: int) -> list[bytes]:
    if kind is RowsKind.UPDATE:
        pairs: list[tuple[Any, Any]] = list(zip(images[::2], images[1::2], strict=True))
    else:
        pairs = [(None, image) if kind is RowsKind.WRITE else (image, None) for image in images]
    name = {RowsKind.WRITE: "INSERT", RowsKind.UPDATE: "UPDATE", RowsKind.DELETE: "DELETE"}[kind]
    return [
        avro.encode(expected_record(table, name, record_id, before, after))
        for record_id, (before, after) in enumerate(pairs, first_id)
    ]


@ALL
@given(
    case=tables_with_rows(),
    kind=st.sampled_from(RowsKind),
    first_id=st.integers(0, 2**62) | st.integers(0, 20000),
    rows_version=st.sampled_from([1, 2]),
    checksum=st.sampled_from(Checksum),
    metadata=st.sampled_from(RowMetadata),
)
def test_records_are_byte_for_byte_what_fastavro_writes(
    case: Case, kind: RowsKind, first_id: int, rows_version: int, checksum: Checksum, metadata: RowMetadata
) -> None:
    images = case.rows * (2 if kind is RowsKind.UPDATE and len(case.rows) % 2 else 1)
    table_map, rows = events_of(
        case.table, kind, images, rows_version=rows_version, checksum=checksum, row_metadata=metadata
    )
    records = Transcoder(case.table, table_map, "8.0.36").transcode(rows, HEAD, first_id)
    assert records == expected_records(case.table, kind, images, first_id)


@ALL
@given(case=tables_with_rows(columns_max=10, rows_max=8))
def test_functions_of_single_null_bitmaps_agree_with_the_general_one(case: Case) -> None:
    table_map, rows = events_of(case.table, RowsKind.WRITE, case.rows)
    made = Transcoder(case.table, table_map, "8.0.36")
    general = made.transcode(rows, HEAD, 1)
    for _ in range(transcoder.IMAGES_BEFORE_SPECIALIZED):
        made.transcode(rows, HEAD, 1)
    assert made.transcode(rows, HEAD, 1) == general
    assert general == expected_records(case.table, RowsKind.WRITE, case.rows, 1)


def test_a_frequent_null_bitmap_gets_a_function_of_its_own_and_only_so_many_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.program._rows", None)
    table = table_of(*(Column(f"c{index}", "int") for index in range(8)))
    patterns = [[None if byte >> index & 1 else index for index in range(8)] for byte in range(256)]
    images = [row for row in patterns for _ in range(transcoder.IMAGES_BEFORE_SPECIALIZED + 1)]
    table_map, rows = events_of(table, RowsKind.DELETE, images)
    made = Transcoder(table, table_map, "8.0.36")
    assert made.transcode(rows, HEAD, 7) == expected_records(table, RowsKind.DELETE, images, 7)
    assert len(made._images[0xFF]) == transcoder.SPECIALIZED_MAX


CELLS = [
    (Column("c", "tinyint"), -128, {"class": "Integer", "precision": 1, "value": "-128"}),
    (Column("c", "tinyint", unsigned=True), 255, {"class": "Integer", "precision": 1, "value": "255"}),
    (Column("c", "smallint"), -32768, {"class": "Integer", "precision": 2, "value": "-32768"}),
    (Column("c", "mediumint"), -8388608, {"class": "Integer", "precision": 3, "value": "-8388608"}),
    (Column("c", "mediumint", unsigned=True), 16777215, {"class": "Integer", "precision": 3, "value": "16777215"}),
    (Column("c", "int", unsigned=True), 3230202323, {"class": "Integer", "precision": 4, "value": "3230202323"}),
    (Column("c", "bigint"), -(2**63), {"class": "Integer", "precision": 8, "value": "-9223372036854775808"}),
    (
        Column("c", "bigint", unsigned=True),
        2**64 - 1,
        {"class": "Integer", "precision": 8, "value": "18446744073709551615"},
    ),
    *(
        (
            Column("c", "decimal", precision=precision, scale=scale),
            value,
            {"class": "Decimal", "value": text, "precision": digits, "scale": scale},
        )
        for precision, scale, value, text, digits in (
            (10, 2, "348.00", "348.00", 5),
            (10, 2, "1050", "1050.00", 6),
            (10, 2, "1.00", "1.00", 3),
            (10, 2, "0", "0.00", 1),
            (10, 2, "-0.00", "0.00", 1),
            (10, 2, "-0.50", "-0.50", 2),
            (10, 2, "0.05", "0.05", 1),
            (10, 2, "99999999.99", "99999999.99", 10),
            (10, 2, "-99999999.99", "-99999999.99", 10),
            (2, 2, "0.99", "0.99", 2),
            (9, 0, "-999999999", "-999999999", 9),
            (18, 9, "123456789.000000001", "123456789.000000001", 18),
            (19, 9, "1000000000.000000000", "1000000000.000000000", 19),
            (20, 6, "12345678901234.000001", "12345678901234.000001", 20),
            (65, 30, "0.000000000000000000000000000001", "0.000000000000000000000000000001", 1),
            (65, 0, "9" * 65, "9" * 65, 65),
        )
    ),
    (text_column("c"), "", {"class": "Character", "charset": "utf8mb4", "value": b""}),
    (text_column("c"), "杭州😀", {"class": "Character", "charset": "utf8mb4", "value": "杭州😀".encode()}),
    (text_column("c", charset="gbk"), "订单", {"class": "Character", "charset": "gbk", "value": b"\xb6\xa9\xb5\xa5"}),
    (text_column("c", charset="latin1"), "Ä€", {"class": "Character", "charset": "latin1", "value": b"\xc4\x80"}),
    (text_column("c", length=63), b"x" * 252, {"class": "Character", "charset": "utf8mb4", "value": b"x" * 252}),
    (text_column("c", length=64), b"x" * 256, {"class": "Character", "charset": "utf8mb4", "value": b"x" * 256}),
    (
        text_column("c", "mediumtext"),
        b"x" * 70000,
        {"class": "Character", "charset": "utf8mb4", "value": b"x" * 70000},
    ),
    *(
        (
            Column("c", "datetime", fsp=fsp),
            text,
            {
                "class": "DateTime",
                **dict(zip(("year", "month", "day", "hour", "minute", "second", "millis"), parts, strict=True)),
            },
        )
        for fsp, text, parts in (
            (0, "2021-09-29 21:22:25", (2021, 9, 29, 21, 22, 25, 0)),
            (0, "0000-00-00 00:00:00", (0, 0, 0, 0, 0, 0, 0)),
            (0, "2021-00-00 00:00:00", (2021, 0, 0, 0, 0, 0, 0)),
            (0, "9999-12-31 23:59:59", (9999, 12, 31, 23, 59, 59, 0)),
            (0, "2021-09-29 21:22:25.5", (2021, 9, 29, 21, 22, 26, 0)),
            (1, "1000-01-01 00:00:00.9", (1000, 1, 1, 0, 0, 0, 900000)),
            (2, "1000-01-01 00:00:00.99", (1000, 1, 1, 0, 0, 0, 990000)),
            (3, "1000-01-01 00:00:00.999", (1000, 1, 1, 0, 0, 0, 999000)),
            (4, "1000-01-01 00:00:00.9999", (1000, 1, 1, 0, 0, 0, 999900)),
            (5, "1000-01-01 00:00:00.99999", (1000, 1, 1, 0, 0, 0, 999990)),
            (6, "1000-01-01 00:00:00.999999", (1000, 1, 1, 0, 0, 0, 999999)),
            (6, "1000-01-01 00:00:00.000001", (1000, 1, 1, 0, 0, 0, 1)),
        )
    ),
    *(
        (
            Column("c", "timestamp", fsp=fsp),
            value,
            {"class": "Timestamp", "timestamp": seconds, "millis": micros},
        )
        for fsp, value, seconds, micros in (
            (0, 1618239451, 1618239451, 0),
            (0, "0000-00-00 00:00:00", 0, 0),
            (0, "1970-01-01 00:00:01", 1, 0),
            (0, 8191, 8191, 0),
            (0, 8192, 8192, 0),
            (0, "2038-01-19 03:14:07", 2**31 - 1, 0),
            (0, dt.datetime(2024, 1, 1, 8, tzinfo=dt.timezone(dt.timedelta(hours=8))), 1704067200, 0),
            (3, "2024-01-01 00:00:00.123", 1704067200, 123000),
            (6, "2024-01-01 00:00:00.123456", 1704067200, 123456),
            (6, "2024-01-01 00:00:00", 1704067200, 0),
        )
    ),
]


@pytest.mark.parametrize(("column", "value", "cell"), CELLS, ids=lambda part: repr(part)[:60])
def test_cells(column: Column, value: Any, cell: dict[str, Any]) -> None:
    table = table_of(column)
    table_map, rows = events_of(table, RowsKind.WRITE, [[value]])
    (record,) = Transcoder(table, table_map, "8.0.36").transcode(rows, HEAD, 1)
    assert avro.decode(record)["afterImages"] == [cell]


def raw_rows(table_map: TableMapEvent, image: bytes) -> RowsEvent:
    count = table_map.column_count
    present = b"\xff" * ((count + 7) // 8)
    return RowsEvent(RowsKind.WRITE, table_map.table_id, 1, count, present, present, image, 0, len(image))


def test_temporal_formats_before_56() -> None:
    table = table_of(Column("d", "datetime"), Column("t", "timestamp"))
    types = bytes([FieldType.DATETIME, FieldType.TIMESTAMP])
    table_map = TableMapEvent(1, 0, "db", "t", types, (0, 0), (True, True))
    image = b"\xfc" + struct.pack("<QI", 20130624191423, 1372101263) + b"\xfc" + bytes(12)
    first, second = Transcoder(table, table_map, "5.5.27").transcode(raw_rows(table_map, image), HEAD, 1)
    names = ("year", "month", "day", "hour", "minute", "second", "millis")
    assert avro.decode(first)["afterImages"] == [
        {"class": "DateTime", **dict(zip(names, (2013, 6, 24, 19, 14, 23, 0), strict=True))},
        {"class": "Timestamp", "timestamp": 1372101263, "millis": 0},
    ]
    assert avro.decode(second)["afterImages"] == [
        {"class": "DateTime", **dict.fromkeys(names, 0)},
        {"class": "Timestamp", "timestamp": 0, "millis": 0},
    ]


def test_a_negative_datetime_is_malformed() -> None:
    table = table_of(Column("d", "datetime"))
    table_map = TableMapEvent(1, 0, "db", "t", bytes([FieldType.DATETIME2]), (0,), (True,))
    with pytest.raises(MalformedEvent, match="A DATETIME is negative"):
        Transcoder(table, table_map, "8").transcode(raw_rows(table_map, b"\xfe" + bytes(5)), HEAD, 1)


ORDER = table_of(
    Column("id", "bigint", nullable=False),
    text_column("name"),
    Column("price", "decimal", precision=10, scale=2),
    text_column("note", "text"),
    Column("at", "datetime", fsp=3),
    keys=(Key("PRIMARY", ("id",), True),),
)
ORDER_ROWS: list[list[Any]] = [
    [1, "a", "2.50", "text", dt.datetime.fromisoformat("2024-01-01T00:00:00.500000")],
    [2, None, None, None, None],
    [3, "b", "-1", "", dt.datetime.fromisoformat("2024-01-01")],
]


@pytest.mark.parametrize("kind", RowsKind)
def test_images_must_fill_the_event_exactly(kind: RowsKind) -> None:
    images = ORDER_ROWS[:2]
    table_map, rows = events_of(ORDER, kind, images)
    made = Transcoder(ORDER, table_map, "8.0.36")
    whole = rows.rows_end - rows.rows_start
    _, first = events_of(ORDER, RowsKind.WRITE, images[:1])
    boundary = None if kind is RowsKind.UPDATE else first.rows_end - first.rows_start
    for size in range(1, whole):
        cut = rows._replace(rows_end=rows.rows_start + size)
        if size == boundary:
            assert len(made.transcode(cut, HEAD, 1)) == 1
            continue
        with pytest.raises(MalformedEvent, match=r"The row images of db\.t do not fit its columns"):
            made.transcode(cut, HEAD, 1)
    for extra in (b"\x00", b"\xff", b"\xe0"):
        longer = rows.data[: rows.rows_end] + extra
        with pytest.raises(MalformedEvent):
            made.transcode(rows._replace(data=longer, rows_end=len(longer)), HEAD, 1)
    assert made.transcode(rows, HEAD, 1) == expected_records(ORDER, kind, images, 1)


@ALL
@given(image=st.binary(min_size=1, max_size=120), case=tables_with_rows(columns_max=6, rows_max=1))
def test_strange_bytes_become_valid_records_or_an_error(image: bytes, case: Case) -> None:
    table_map, _ = events_of(case.table, RowsKind.WRITE, case.rows)
    made = Transcoder(case.table, table_map, "8.0.36")
    try:
        records = made.transcode(raw_rows(table_map, image), HEAD, 1)
    except MalformedEvent:
        return
    for record in records:
        assert avro.encode(avro.decode(record)) == record


def test_a_null_in_a_column_that_is_not_null_is_malformed() -> None:
    table_map, _ = events_of(ORDER, RowsKind.WRITE, ORDER_ROWS)
    made = Transcoder(ORDER, table_map, "8.0.36")
    for _ in range(transcoder.IMAGES_BEFORE_SPECIALIZED + 1):
        with pytest.raises(MalformedEvent):
            made.transcode(raw_rows(table_map, b"\xff"), HEAD, 1)


@pytest.mark.parametrize("first_id", [0, 8190, 8191, 8192, 2**20 - 1, 2**21, 2**34, 2**62])
def test_ids_count_up_from_the_first(first_id: int) -> None:
    table_map, rows = events_of(ORDER, RowsKind.WRITE, ORDER_ROWS)
    records = Transcoder(ORDER, table_map, "8.0.36").transcode(rows, HEAD, first_id)
    assert [avro.decode(record)["id"] for record in records] == [first_id, first_id + 1, first_id + 2]


def test_a_rows_event_without_rows_gives_no_records() -> None:
    table_map, rows = events_of(ORDER, RowsKind.WRITE, ORDER_ROWS)
    assert Transcoder(ORDER, table_map, "8").transcode(rows._replace(rows_end=rows.rows_start), HEAD, 1) == []


def test_row_images_that_lack_columns_are_refused() -> None:
    table_map, rows = events_of(ORDER, RowsKind.UPDATE, ORDER_ROWS[:2])
    made = Transcoder(ORDER, table_map, "8.0.36")
    for partial, named in (
        (rows._replace(columns=b"\x01"), "the columns name, price, note and 1 more"),
        (rows._replace(columns_after=b"\x0f"), "the column at"),
    ):
        with pytest.raises(UnsupportedEvent) as error:
            made.transcode(partial, HEAD, 1)
        assert str(error.value) == (
            f"A row image of db.t lacks {named}, as its session had a binlog_row_image other than FULL; set it to FULL "
            'on the source, and give the channel row_image = "any" to go on with records that lack these columns.'
        )


ABSENT = {"class": "EmptyObject", "symbol": "NONE"}


def partial_image(table: TableVersion, row: list[Any], present: set[int]) -> bytes:
    """The row image of some columns, as it would be of a table that has no others."""
    kept = sorted(present)
    _, rows = events_of(
        table_of(*(table.columns[index] for index in kept)), RowsKind.WRITE, [[row[index] for index in kept]]
    )
    return rows.data[rows.rows_start : rows.rows_end]


def bitmap_of(present: set[int], count: int) -> bytes:
    return sum(1 << index for index in present).to_bytes((count + 7) // 8, "little")


@ALL
@given(case=tables_with_rows(columns_max=12, rows_max=3), data=st.data())
def test_absent_columns_are_empty_objects_where_the_channel_takes_such_images(case: Case, data: st.DataObject) -> None:
    table, count = case.table, len(case.table.columns)
    columns = st.sets(st.integers(0, count - 1), min_size=1)
    kind = data.draw(st.sampled_from(RowsKind))
    before = data.draw(columns)
    after = data.draw(columns | st.just(set[int]())) if kind is RowsKind.UPDATE else before
    sides = (before, after) if kind is RowsKind.UPDATE else (before,)
    image = b"".join(partial_image(table, row, present) for row in case.rows for present in sides if present)
    table_map, _ = events_of(table, RowsKind.WRITE, case.rows)
    rows = RowsEvent(kind, 5, 1, count, bitmap_of(before, count), bitmap_of(after, count), image, 0, len(image))
    made = Transcoder(table, table_map, "8.0.36", partial_images=True)
    records = [avro.decode(record) for record in made.transcode(rows, HEAD, 1)]

    def cells(row: list[Any], present: set[int]) -> list[Any]:
        whole = _image(table, row) or []
        return [cell if index in present else ABSENT for index, cell in enumerate(whole)]

    shown = [(record["beforeImages"], record["afterImages"]) for record in records]
    assert shown == [
        (
            None if kind is RowsKind.WRITE else cells(row, before),
            None if kind is RowsKind.DELETE else cells(row, after),
        )
        for row in case.rows
    ]


def test_whole_images_among_partial_ones_are_made_as_always() -> None:
    table_map, rows = events_of(ORDER, RowsKind.WRITE, ORDER_ROWS)
    made = Transcoder(ORDER, table_map, "8.0.36", partial_images=True)
    image = partial_image(ORDER, ORDER_ROWS[0], {0, 2})
    partial = rows._replace(columns=b"\x05", columns_after=b"\x05", data=image, rows_start=0, rows_end=len(image))
    for _ in range(3):
        made.transcode(partial, HEAD, 1)
        assert made.transcode(rows, HEAD, 1) == expected_records(ORDER, RowsKind.WRITE, ORDER_ROWS, 1)


def test_images_of_many_sets_of_columns_keep_few_functions() -> None:
    table = table_of(*(Column(f"c{index}", "int") for index in range(9)), name="wide")
    table_map, _ = events_of(table, RowsKind.WRITE, [[0] * 9])
    made = Transcoder(table, table_map, "8.0.36", partial_images=True)
    sources = len(linecache.cache)
    for bits in range(1, 1 << 9):
        present = {index for index in range(9) if bits >> index & 1}
        image = partial_image(table, list(range(9)), present)
        bitmap = bitmap_of(present, 9)
        (record,) = made.transcode(RowsEvent(RowsKind.DELETE, 5, 1, 9, bitmap, bitmap, image, 0, len(image)), HEAD, 1)
        cells = avro.decode(record)["beforeImages"]
        assert [index for index, cell in enumerate(cells) if cell != ABSENT] == sorted(present)
    assert len(made._images) <= transcoder.COLUMN_SETS_MAX + 1
    assert len(linecache.cache) - sources <= transcoder.COLUMN_SETS_MAX + 2


@pytest.mark.parametrize("kind", RowsKind)
def test_images_without_any_column_are_refused(kind: RowsKind) -> None:
    table_map, rows = events_of(ORDER, kind, ORDER_ROWS[:2])
    made = Transcoder(ORDER, table_map, "8.0.36", partial_images=True)
    with pytest.raises(UnsupportedEvent, match=r"The row images of db\.t have no column at all"):
        made.transcode(rows._replace(columns=b"\0", columns_after=b"\0"), HEAD, 1)


def test_a_rows_event_of_another_width_than_its_table_map_is_malformed() -> None:
    table_map, rows = events_of(ORDER, RowsKind.WRITE, ORDER_ROWS)
    with pytest.raises(MalformedEvent, match="has 6 columns, its table map has 5"):
        Transcoder(ORDER, table_map, "8.0.36").transcode(rows._replace(column_count=6), HEAD, 1)


@pytest.mark.parametrize("data_type", ["interval", "no such type"])
def test_unsupported_columns_are_refused_by_name(data_type: str) -> None:
    table = table_of(Column("id", "int"), Column("odd", data_type), name="orders")
    table_map = TableMapEvent(1, 0, "db", "orders", bytes([FieldType.LONG, FieldType.JSON]), (0, 0), (True, True))
    with pytest.raises(UnsupportedColumn) as error:
        Transcoder(table, table_map, "8")
    assert str(error.value) == (
        f"Column odd of db.orders has the type {data_type.upper()}, which is not supported yet; "
        "list the tables to track in the channel's objects, without this one."
    )


def test_a_table_map_of_another_table_is_a_mismatch() -> None:
    table = table_of(Column("id", "int"))
    for types in (bytes([FieldType.LONG, FieldType.LONG]), bytes([FieldType.LONGLONG]), bytes([200])):
        table_map = TableMapEvent(1, 0, "db", "t", types, (0,) * len(types), (True,) * len(types))
        with pytest.raises(SchemaMismatch, match=r"db\.t"):
            Transcoder(table, table_map, "8")


def test_generated_source_is_readable_where_it_fails() -> None:
    table_map, _ = events_of(ORDER, RowsKind.WRITE, ORDER_ROWS)
    made = Transcoder(ORDER, table_map, "8.0.36")
    with pytest.raises(CaptureError) as error:
        made.transcode(raw_rows(table_map, b"\xe0\x01"), HEAD, 1)
    cause = error.value.__cause__
    assert cause is not None
    assert cause.__traceback__ is not None
    frame = cause.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    filename = frame.tb_frame.f_code.co_filename
    assert filename == f"<db.t {ORDER.meta_version} image>"
    assert "unpack_little" in linecache.getline(filename, frame.tb_lineno)


def test_a_decimal_is_rounded_like_the_server_does() -> None:
    table = table_of(Column("c", "decimal", precision=5, scale=2))
    table_map, rows = events_of(table, RowsKind.WRITE, [[Decimal("1.005")], [1.1], [-7]])
    records = Transcoder(table, table_map, "8").transcode(rows, HEAD, 1)
    assert [avro.decode(record)["afterImages"][0]["value"] for record in records] == ["1.01", "1.10", "-7.00"]
