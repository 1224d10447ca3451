"""How a row that is too large is named: by its primary key, whatever the type of that."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from capture.errors import RecordTooLarge
from capture.record_limit import check_rows
from capture.rows_event import RowsKind
from capture.table import Column, Key
from capture.transcoder import Transcoder
from tests.capture.row_cases import table_of, text_column
from tests.capture.test_transcoder import HEAD, events_of

pytestmark = pytest.mark.usefixtures("way")


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        (Column("k", "date"), dt.date(2024, 2, 29), "k = 2024, 2, 29"),
        (Column("k", "time"), dt.timedelta(hours=-1), "k = -1, 0, 0, 0"),
        (Column("k", "year"), 2024, "k = 2024"),
        (Column("k", "float"), 0.1, "k = 0.1"),
        (Column("k", "bit", length=3), 5, "k = 5"),
        (Column("k", "binary", length=3), b"a\xff", r"k = 'a\\xff\x00'"),
        (text_column("k", "enum", labels=("a", "订")), "订", "k = 订"),
        (text_column("k", "char", length=4), "it", "k = 'it'"),
    ],
    ids=lambda part: getattr(part, "data_type", None),
)
def test_a_row_that_is_too_large_is_named_by_its_key(column: Column, value: Any, shown: str) -> None:
    table = table_of(column, Column("blob", "blob"), keys=(Key("PRIMARY", ("k",), True),))
    table_map, rows = events_of(table, RowsKind.WRITE, [[value, b"x" * 1000]])
    records = Transcoder(table, table_map, "8").transcode(rows, HEAD, 1)
    with pytest.raises(RecordTooLarge) as error:
        check_rows(records, table, 1000)
    assert f"the row of db.t with primary key {shown} makes a record of" in str(error.value)
