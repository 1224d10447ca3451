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
