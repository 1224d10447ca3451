"""The table of column types: every row whole, and every type that is not supported refused by table and column."""

from __future__ import annotations

from itertools import pairwise

import pytest

from capture.columns import COLUMN_TYPES, column_codes, column_type
from capture.errors import UnsupportedColumn
from capture.events import FieldType, TableMapEvent
from capture.table import Column, TableVersion
from tests.capture.row_cases import NUMBERS, table_of

NAMES_AND_NUMBERS = NUMBERS | {
    **dict.fromkeys(("blob", "binary", "varbinary"), 252),
    **dict.fromkeys(("geometry", "point"), 255),
    "float": 4,
    "double": 5,
    "date": 10,
    "time": 11,
    "year": 13,
    "bit": 16,
    "json": 245,
    "enum": 247,
    "set": 248,
    "tinyblob": 249,
    "mediumblob": 250,
    "longblob": 251,
    "char": 254,
}
"""dataTypeNumber of the record format's table, by MySQL type."""
OBJECTS = {"json", "vector", "uuid", "inet4", "inet6", "geometry", "point", "linestring", "polygon"}
OBJECTS |= {"multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection"}
"""Types that only some servers have; `tests/capture/test_object_cells.py` is about them."""
F = FieldType
CHARSETS = (None, "binary", "latin1", "utf8mb4", "blob")
"""Of a text, some of them names that other types have too."""
INTEGERS = {"tinyint": F.TINY, "smallint": F.SHORT, "mediumint": F.INT24, "int": F.LONG, "bigint": F.LONGLONG}
MOMENTS = {"time": F.TIME2, "datetime": F.DATETIME2, "timestamp": F.TIMESTAMP2}
MOMENTS_BEFORE_56 = {"time": F.TIME, "datetime": F.DATETIME, "timestamp": F.TIMESTAMP}


def test_one_row_per_type_in_the_order_of_the_numbers() -> None:
    assert all(one.number <= other.number for one, other in pairwise(COLUMN_TYPES))
    names = [name for row in COLUMN_TYPES for name in row.names]
    assert len(names) == len(set(names))
    by_name = {name: row.number for row in COLUMN_TYPES for name in row.names}
    assert by_name.items() >= NAMES_AND_NUMBERS.items()


def test_a_type_is_read_and_written_or_refused() -> None:
    supported = {name for row in COLUMN_TYPES if row.readers for name in row.names}
    assert supported == set(NUMBERS) | OBJECTS
    for row in COLUMN_TYPES:
        assert bool(row.readers) == (row.writer is not None)


def test_the_type_of_a_column_is_that_of_its_keyword() -> None:
    for data_type, number in NUMBERS.items():
        assert column_type(table_of(Column("c", data_type)), 0).number == number


def test_a_label_that_is_no_text_is_refused_and_its_definition_is_kept() -> None:
    """As `SHOW CREATE TABLE` of MySQL 9.7 has it: enum('a',x'ff')."""
    table = table_of(Column("c", "enum", labels=("é", "a\udcff"), charset="binary", collation="binary"))
    assert TableVersion.from_json(table.to_json()) == table
    assert table.to_json().encode()
    with pytest.raises(UnsupportedColumn, match=r"^Column c of db\.t has the label x'61ff', which is no text"):
        column_type(table, 0)
    assert column_type(table_of(Column("c", "enum", labels=("é", "订😀"))), 0).number == 247


def test_a_decimal_takes_the_bytes_the_server_gives_it() -> None:
    """Sizes by the rule of the manual: four bytes for nine digits, and for what is left 0, 1, 1, 2, 2, 3, 3, 4, 4."""
    left = (0, 1, 1, 2, 2, 3, 3, 4, 4)
    for precision in range(1, 66):
        for scale in range(min(precision, 30) + 1):
            metadata = (precision << 8 | scale,)
            table_map = TableMapEvent(1, 0, "db", "t", bytes([FieldType.NEWDECIMAL]), metadata, (True,))
            (code,) = column_codes(table_of(Column("c", "decimal", precision=precision, scale=scale)), table_map)
            whole = precision - scale
            wanted = whole // 9 * 4 + left[whole % 9] + scale // 9 * 4 + left[scale % 9]
            assert sum(one.size for one in code.fixed) == wanted, (precision, scale)


SHAPES = [
    *((Column("c", "varchar", length=9, charset=charset), F.VARCHAR, 36) for charset in CHARSETS),
    *((Column("c", "char", length=9, charset=charset), F.STRING, 0xFE24) for charset in CHARSETS),
    *((Column("c", "text", charset=charset), F.BLOB, 2) for charset in CHARSETS),
    *((Column("c", "text", charset=charset), F.BLOB_COMPRESSED, 2) for charset in CHARSETS),
    *((Column("c", "binary", length=length), F.STRING, 0xFE00 | length) for length in (1, 16)),
    *((Column("c", "varbinary", length=length), F.VARCHAR, length) for length in (9, 300)),
    *((Column("c", name), F.BLOB, 2) for name in ("tinyblob", "blob", "longblob")),
    *((Column("c", "bit", length=bits), F.BIT, bits % 8 << 8 | bits // 8) for bits in (1, 8, 9, 24, 64)),
    *((Column("c", name, unsigned=sign), code, 0) for name, code in INTEGERS.items() for sign in (False, True)),
    *((Column("c", "decimal", precision=p, scale=s), F.NEWDECIMAL, p << 8 | s) for p, s in ((11, 1), (1, 1), (11, 11))),
    *((Column("c", name, fsp=fsp), code, fsp) for name, code in MOMENTS.items() for fsp in range(7)),
    *((Column("c", name, fsp=fsp), code, 0) for name, code in MOMENTS_BEFORE_56.items() for fsp in range(7)),
    *((Column("c", "enum", labels=labels), F.ENUM, 1) for labels in (("a",), ("b", "c"))),
    *((Column("c", "set", labels=labels), F.SET, 1) for labels in (("a",), ("b", "c"))),
    *((Column(name, "json"), F.JSON, 4) for name in "ab"),
    *((Column(name, "geometry"), F.GEOMETRY, 4) for name in "ab"),
]


def test_columns_beside_each_other_share_a_name_only_for_the_same_thing() -> None:
    """The generated code of a table knows tables and functions by name, whichever column brought them."""
    types = bytes(field_type for _, field_type, _ in SHAPES)
    sizes = tuple(metadata for _, _, metadata in SHAPES)
    table_map = TableMapEvent(1, 0, "db", "t", types, sizes, (True,) * len(SHAPES))
    found: dict[str, object] = {}
    for code in column_codes(table_of(*(column for column, _, _ in SHAPES)), table_map):
        for name, thing in code.objects.items():
            assert found.setdefault(name, thing) is thing, name
