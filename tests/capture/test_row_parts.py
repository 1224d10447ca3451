"""Rows events taken apart: the bytes are those of the row that was asked for, and no byte is without a part."""

from __future__ import annotations

from itertools import pairwise

import pytest

from capture.row_parts import RowParts
from capture.rows_event import RowsKind
from capture.table import Column
from tests.capture.row_cases import table_of, text_column
from tests.capture.test_transcoder import events_of

TABLE = table_of(Column("id", "int", nullable=False), text_column("name"), Column("year", "year"))
Row = tuple[int, str | None, int | None]
ROWS: list[Row] = [(258, "one", 2001), (259, None, 2002), (260, "three", None), (261, None, None)]


@pytest.mark.parametrize("kind", RowsKind)
@pytest.mark.parametrize("number", [0, 1])
def test_the_bytes_of_a_row_are_its_own(kind: RowsKind, number: int) -> None:
    rows_each = 2 if kind is RowsKind.UPDATE else 1
    table_map, rows = events_of(TABLE, kind, [list(row) for row in ROWS[: 2 * rows_each]])
    parts = RowParts(TABLE, table_map).row(rows, number)
    assert (parts[0].start, parts[-1].end) == (rows.rows_start, rows.rows_end)
    assert all(one.end == other.start for one, other in pairwise(parts))
    named = {RowsKind.WRITE: ["after"], RowsKind.UPDATE: ["before", "after"], RowsKind.DELETE: ["before"]}[kind]
    for image, wanted in zip(named, ROWS[number * rows_each :], strict=False):
        found = [rows.data[part.start : part.end] for part in parts if part.image == image and part.column is not None]
        assert found == written(wanted)
    assert [part.name for part in parts if part.name.startswith("rows ")] == ["rows behind", "rows before"][number:][:1]


def written(row: Row) -> list[bytes]:
    """The bytes of a row's values, none of a NULL; a VARCHAR of 256 bytes has two of length."""
    number, name, year = row
    text = b"" if name is None else len(name).to_bytes(2, "little") + name.encode()
    return [number.to_bytes(4, "little"), text, b"" if year is None else bytes([year - 1900])]
