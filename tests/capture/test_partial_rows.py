"""Partial updates: the plain UPDATE they stand for, byte for byte; row images cut apart; what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from capture import avro
from capture.encode import EventEncoder, length_encoded
from capture.envelope import RecordHead
from capture.errors import MalformedEvent, UnsupportedColumn, UnsupportedEvent
from capture.events import Checksum, EventDecoder, EventType, FieldType, RowsEvent, RowsKind, TableMapEvent
from capture.image_fields import field_end
from capture.json_diff import DiffOperation
from capture.json_writer import document_of
from capture.partial_rows import plain_update
from capture.table import Column
from capture.table_map import bits
from capture.transcoder import Transcoder
from tests.capture.recorded import binlog
from tests.capture.row_cases import Case, table_of, tables_with_rows, text_column

pytestmark = pytest.mark.usefixtures("way")

TABLE = table_of(
    Column("id", "int", nullable=False),
    Column("first", "json"),
    text_column("name"),
    Column("second", "json"),
    Column("third", "json"),
)
HEAD = RecordHead(1, "2@1", "1@1", None, 1, 0)
Diff = tuple[DiffOperation, str, Any]
Update = tuple[Sequence[Any], Sequence[Any], dict[int, list[Diff]]]
"""A row before and after, and the diffs that stand for its JSON values after, by column."""

BEFORE: list[Any] = [1, {"a": 1, "b": [1, 2]}, "ä", [0], None]
AFTER: list[Any] = [1, {"a": {"x": None}, "b": [1, 2, 3]}, "b", [0], '"new"']
DIFFS: dict[int, list[Diff]] = {
    1: [(DiffOperation.REPLACE, "$.a", {"x": None}), (DiffOperation.INSERT, "$.b[2]", 3)],
    3: [],
}


def diff_vector(diffs: list[Diff]) -> bytes:
    data = b""
    for operation, path, value in diffs:
        data += bytes([operation]) + length_encoded(len(path)) + path.encode()
        if operation is not DiffOperation.REMOVE:
            document = document_of(value)
            data += length_encoded(len(document)) + document
    return len(data).to_bytes(4, "little") + data


def decoded(encoder: EventEncoder, raw: bytes) -> tuple[TableMapEvent, RowsEvent]:
    decoder = EventDecoder(Checksum.CRC32)
    _, table_map = decoder.decode(encoder.table_map(1, TABLE, 5))
    _, rows = decoder.decode(raw)
    assert isinstance(table_map, TableMapEvent)
    assert isinstance(rows, RowsEvent)
    return table_map, rows


def spans(rows: RowsEvent, table_map: TableMapEvent, start: int, columns: bytes) -> tuple[bytes, dict[int, bytes], int]:
    """An image's null bitmap, its values by column, and where it ends."""
    present = [index for index, flag in enumerate(bits(columns, rows.column_count)) if flag]
    size = (len(present) + 7) // 8
    nulls, position, values = rows.data[start : start + size], start + size, {}
    for index, is_null in zip(present, bits(nulls, len(present)), strict=True):
        if not is_null:
            end = field_end(table_map.column_types[index], table_map.column_metadata[index])(rows.data, position)
            values[index], position = rows.data[position:end], end
    return nulls, values, position


def partial_update(
    pairs: list[Update], *, options: int = 1, bitmaps: bytes = b"\xff\xff"
) -> tuple[TableMapEvent, RowsEvent, RowsEvent]:
    """The table map, a PARTIAL_UPDATE_ROWS of these rows, and the UPDATE_ROWS that is wanted of it."""
    encoder = EventEncoder()
    table_map, plain = decoded(encoder, encoder.update_rows(1, TABLE, 5, [(one, other) for one, other, _ in pairs]))
    images, position = b"", plain.rows_start
    for _, _, diffs in pairs:
        _, _, end = spans(plain, table_map, position, plain.columns)
        images += plain.data[position:end]
        nulls, values, position = spans(plain, table_map, end, plain.columns_after)
        values |= {index: diff_vector(diff) for index, diff in diffs.items()}
        flags = sum(1 << [1, 3, 4].index(index) for index in diffs)
        images += length_encoded(options if diffs or options != 1 else 0)
        images += bytes([flags]) * bool(options & 1 and (diffs or options != 1)) + nulls
        images += b"".join(values[index] for index in sorted(values))
    head = (5).to_bytes(6, "little") + b"\x01\0" + b"\x02\0" + b"\x05" + bitmaps
    _, partial = decoded(encoder, encoder.event(EventType.PARTIAL_UPDATE_ROWS, 1, head + images))
    return table_map, partial, plain


def images_of(rows: RowsEvent) -> bytes:
    return rows.data[rows.rows_start : rows.rows_end]


def test_a_partial_update_is_the_update_it_stands_for() -> None:
    table_map, partial, plain = partial_update([(BEFORE, AFTER, DIFFS)])
    assert partial.is_partial
    made = plain_update(partial, table_map)
    assert images_of(made) == images_of(plain)
    assert made._replace(data=b"", rows_start=0, rows_end=0) == plain._replace(
        data=b"", rows_start=0, rows_end=0, columns=b"\xff", columns_after=b"\xff"
    )


def test_rows_with_and_without_diffs_stand_side_by_side() -> None:
    rows: list[Update] = [
        (BEFORE, AFTER, DIFFS),
        (BEFORE, [2, "[1]", None, "[2]", "[3]"], {}),
        ([3, [1], "x", [2], [3]], [3, [1], "x", [], [3]], {3: [(DiffOperation.REMOVE, "$[0]", None)]}),
    ]
    table_map, partial, plain = partial_update(rows)
    assert images_of(plain_update(partial, table_map)) == images_of(plain)


def test_records_of_a_partial_update_are_those_of_the_update() -> None:
    table_map, partial, plain = partial_update([(BEFORE, AFTER, DIFFS)])
    transcoder = Transcoder(TABLE, table_map, "8.0.36")
    assert transcoder.transcode(partial, HEAD, 7) == transcoder.transcode(plain, HEAD, 7)
    (record,) = transcoder.transcode(partial, HEAD, 7)
    after = avro.decode(record)["afterImages"]
    assert after[1] == {"class": "TextObject", "type": "JSON", "value": '{"a": {"x": null}, "b": [1, 2, 3]}'}


def test_an_empty_document_is_null_before_a_change() -> None:
    """As old servers stored it; nothing within null can be changed."""
    table_map, partial, _ = partial_update([([1, b"", None, None, None], [1, b"", None, None, None], DIFFS)])
    with pytest.raises(MalformedEvent, match=r"cannot be made: REPLACE at \$\.\"a\" does not fit"):
        plain_update(partial, table_map)


def test_a_change_that_does_not_fit_names_table_and_column() -> None:
    diffs: dict[int, list[Diff]] = {3: [(DiffOperation.REMOVE, "$[5]", None)]}
    table_map, partial, _ = partial_update([(BEFORE, AFTER, diffs)])
    with pytest.raises(MalformedEvent) as error:
        plain_update(partial, table_map)
    assert str(error.value) == (
        "The changes of column 4 of db.t, a JSON value, cannot be made: "
        "REMOVE at $[5] does not fit the document before it."
    )


def test_a_change_of_null_is_refused() -> None:
    table_map, partial, _ = partial_update([([1, None, None, None, None], AFTER, DIFFS)])
    with pytest.raises(MalformedEvent, match="cannot be made: it changes NULL in part"):
        plain_update(partial, table_map)


def test_unknown_value_options_are_refused() -> None:
    table_map, partial, _ = partial_update([(BEFORE, AFTER, DIFFS)], options=3)
    with pytest.raises(UnsupportedEvent, match=r"Rows of db\.t have the value options 0x3, which are not known"):
        plain_update(partial, table_map)


def minimal(*, with_diff: bool) -> tuple[TableMapEvent, RowsEvent]:
    """`UPDATE t SET second = …` of a row 1 under binlog_row_image=MINIMAL."""
    encoder = EventEncoder()
    body = (5).to_bytes(6, "little") + b"\x01\0" + b"\x02\0" + b"\x05" + b"\x01" + b"\x08"
    value = diff_vector([(DiffOperation.REMOVE, "$[0]", None)]) if with_diff else b"\x05\0\0\0" + document_of([])
    body += b"\x00\x01\0\0\0" + b"\x01" + (b"\x02" if with_diff else b"\x00") + b"\x00" + value
    return decoded(encoder, encoder.event(EventType.PARTIAL_UPDATE_ROWS, 1, body))


def test_a_change_without_the_value_before_is_refused() -> None:
    table_map, partial = minimal(with_diff=True)
    with pytest.raises(UnsupportedEvent) as error:
        plain_update(partial, table_map)
    assert str(error.value) == (
        "Column 4 of db.t was changed in part, and the event lacks its value before; "
        "set binlog_row_image=FULL or binlog_row_value_options='' on the source."
    )


def test_whole_values_of_an_image_that_lacks_columns_are_kept() -> None:
    """The bitmap of partial columns counts the JSON columns that are absent, too."""
    table_map, partial = minimal(with_diff=False)
    made = plain_update(partial, table_map)
    assert images_of(made) == b"\x00\x01\0\0\0" + b"\x00" + b"\x05\0\0\0" + document_of([])
    assert (made.columns, made.columns_after) == (b"\x01", b"\x08")


@pytest.mark.parametrize("with_diffs", [True, False])
def test_every_prefix_of_the_images_is_refused(with_diffs: bool) -> None:
    table_map, partial, _ = partial_update([(BEFORE, AFTER, DIFFS if with_diffs else {})])
    for end in range(partial.rows_start + 1, partial.rows_end):
        with pytest.raises((MalformedEvent, UnsupportedEvent)):
            plain_update(partial._replace(rows_end=end), table_map)


def test_an_event_of_another_width_than_its_table_map_is_refused() -> None:
    table_map, partial, _ = partial_update([(BEFORE, AFTER, DIFFS)])
    with pytest.raises(MalformedEvent, match=r"of a partial update of db\.t do not fit its columns"):
        plain_update(partial._replace(column_count=4), table_map)


# ---- values stepped over ----


@given(case=tables_with_rows())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_every_type_is_stepped_over(case: Case) -> None:
    encoder = EventEncoder()
    decoder = EventDecoder(Checksum.CRC32)
    _, table_map = decoder.decode(encoder.table_map(1, case.table, 5))
    _, rows = decoder.decode(encoder.write_rows(1, case.table, 5, case.rows))
    assert isinstance(table_map, TableMapEvent)
    assert isinstance(rows, RowsEvent)
    position = rows.rows_start
    for row in case.rows:
        _, values, position = spans(rows, table_map, position, rows.columns)
        assert [index in values for index in range(len(row))] == [value is not None for value in row]
    assert position == rows.rows_end


def test_a_type_that_no_row_image_has_is_refused() -> None:
    with pytest.raises(UnsupportedColumn, match="Values of the binlog type 200 have no known length"):
        field_end(200, 0)
    assert field_end(FieldType.LONG, 0)(b"", 3) == 7


# ---- recorded ----


def test_a_recorded_partial_update() -> None:
    """MySQL 8.0.40: `UPDATE t2 SET b = JSON_REPLACE(b, '$.b', …)`, by mysqlbinlog's own account of it."""
    raw = binlog("8.0.40_payload-and-partial-json_mdev35643.bin")
    decoder = EventDecoder(Checksum.CRC32)
    _, table_map = decoder.decode(raw[3353:3403])
    _, rows = decoder.decode(raw[3403:4359])
    assert isinstance(table_map, TableMapEvent)
    assert isinstance(rows, RowsEvent)
    assert rows.kind is RowsKind.UPDATE
    assert rows.is_partial
    table = table_of(Column("a", "int", nullable=False), Column("b", "json"))
    (record,) = Transcoder(table, table_map, "8.0.40").transcode(rows, HEAD, 1)
    cells = avro.decode(record)
    assert cells["beforeImages"][1]["value"] == f'{{"a": "hulu", "b": "{"[zyzzy]" * 100}", "c": "bulu"}}'
    assert cells["afterImages"][1]["value"] == f'{{"a": "hulu", "b": "{"oOo" * 50}", "c": "bulu"}}'
