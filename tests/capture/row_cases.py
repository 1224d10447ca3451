"""Tables, rows and the cells they must become, said a second time without the code under test.

`expected_cell` follows the record format by plain Python arithmetic; `tables_with_rows` draws tables of every supported
column type with rows that fit them.
"""

from __future__ import annotations

import datetime as dt
import decimal
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from capture.table import Column, Key, TableVersion

INTEGER_BYTES = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8}
NUMBERS = {
    "tinyint": 1,
    "smallint": 2,
    "int": 3,
    "timestamp": 7,
    "bigint": 8,
    "mediumint": 9,
    "datetime": 12,
    "tinytext": 15,
    "text": 15,
    "mediumtext": 15,
    "longtext": 15,
    "decimal": 246,
    "varchar": 253,
}
COLLATIONS = {"utf8mb4": "utf8mb4_0900_ai_ci", "gbk": "gbk_chinese_ci", "latin1": "latin1_swedish_ci"}
CODECS = {"utf8mb4": "utf-8", "gbk": "gbk", "latin1": "cp1252"}
EPOCH = dt.datetime.fromisoformat("1970-01-01")


@dataclass(frozen=True)
class Case:
    """A table and rows for it, in table order."""

    table: TableVersion
    rows: list[list[Any]]


def text_column(name: str, data_type: str = "varchar", charset: str = "utf8mb4", **facts: Any) -> Column:
    if data_type == "varchar":
        facts.setdefault("length", 64)
    return Column(name, data_type, charset=charset, collation=COLLATIONS[charset], **facts)


def table_of(*columns: Column, name: str = "t", database: str = "db", keys: tuple[Key, ...] = ()) -> TableVersion:
    return TableVersion.of(database, name, columns, keys, "utf8mb4", "utf8mb4_0900_ai_ci")


def expected_cell(column: Column, value: Any) -> dict[str, Any] | None:
    """The cell of a value, in the form of `capture.avro`."""
    if value is None:
        return None
    if column.data_type in INTEGER_BYTES:
        return {"class": "Integer", "precision": INTEGER_BYTES[column.data_type], "value": str(value)}
    if column.data_type == "decimal":
        return expected_decimal(decimal.Decimal(value), column.scale or 0)
    if column.data_type == "datetime":
        names = ("year", "month", "day", "hour", "minute", "second")
        parts = dict(zip(names, value.timetuple()[:6], strict=True))
        return {"class": "DateTime", **parts, "millis": value.microsecond}
    if column.data_type == "timestamp":
        seconds = (value - EPOCH) // dt.timedelta(seconds=1)
        return {"class": "Timestamp", "timestamp": seconds, "millis": value.microsecond}
    charset = column.charset or "binary"
    return {"class": "Character", "charset": charset, "value": value.encode(CODECS[charset])}


def expected_decimal(value: decimal.Decimal, scale: int) -> dict[str, Any]:
    unscaled = int(value.scaleb(scale, decimal.Context(prec=100)))
    digits = f"{abs(unscaled):0{scale + 1}d}"
    text = "-" * (unscaled < 0) + digits[: len(digits) - scale] + ("." + digits[len(digits) - scale :]) * bool(scale)
    return {"class": "Decimal", "value": text, "precision": len(str(abs(unscaled))), "scale": scale}


def _integers(column: Column) -> st.SearchStrategy[int]:
    bits = 8 * INTEGER_BYTES[column.data_type]
    if column.unsigned:
        return st.integers(0, 2**bits - 1)
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@st.composite
def _decimals(draw: st.DrawFn, column: Column) -> decimal.Decimal:
    """Of every magnitude alike, not only of the longest."""
    assert column.precision is not None
    digits = draw(st.integers(1, column.precision))
    unscaled = draw(st.integers(0 if column.unsigned else -(10**digits) + 1, 10**digits - 1))
    return decimal.Decimal(unscaled).scaleb(-(column.scale or 0), decimal.Context(prec=100))


def _moments(column: Column, first: str, last: str) -> st.SearchStrategy[dt.datetime]:
    unit = 10 ** (6 - column.fsp)
    return st.datetimes(dt.datetime.fromisoformat(first), dt.datetime.fromisoformat(last)).map(
        lambda at: at.replace(microsecond=at.microsecond // unit * unit)
    )


def _texts(column: Column) -> st.SearchStrategy[str]:
    alphabet = {
        "utf8mb4": st.characters(exclude_categories=["Cs"]),
        "gbk": st.sampled_from("abc {}\"'\\\n杭州订单中文一二三"),
        "latin1": st.sampled_from("abc {}\"'\\\nÄÖÜßéÿ€"),
    }[column.charset or ""]
    return st.text(alphabet, max_size=column.length if column.length is not None and column.length < 300 else 300)


def values_of(column: Column) -> st.SearchStrategy[Any]:
    """Values that fit the column, None if it is nullable."""
    if column.data_type in INTEGER_BYTES:
        some: st.SearchStrategy[Any] = _integers(column)
    elif column.data_type == "decimal":
        some = _decimals(column)
    elif column.data_type == "datetime":
        some = _moments(column, "1000-01-01", "9999-12-31T23:59:59")
    elif column.data_type == "timestamp":
        some = _moments(column, "1970-01-01T00:00:01", "2038-01-19T03:14:07")
    else:
        some = _texts(column)
        if column.data_type == "tinytext":
            some = some.filter(lambda text: len(text.encode(CODECS[column.charset or ""])) <= 255)
    return some | st.none() if column.nullable else some


@st.composite
def columns(draw: st.DrawFn, index: int) -> Column:
    data_type = draw(st.sampled_from(sorted(NUMBERS)))
    name, nullable = f"c{index}", draw(st.booleans())
    if data_type in INTEGER_BYTES:
        return Column(name, data_type, unsigned=draw(st.booleans()), nullable=nullable)
    if data_type == "decimal":
        precision = draw(st.integers(1, 65))
        scale = draw(st.integers(0, min(30, precision)))
        return Column(
            name, data_type, precision=precision, scale=scale, unsigned=draw(st.booleans()), nullable=nullable
        )
    if data_type in {"datetime", "timestamp"}:
        return Column(name, data_type, fsp=draw(st.integers(0, 6)), nullable=nullable)
    charset = draw(st.sampled_from(sorted(CODECS)))
    length = draw(st.sampled_from([0, 1, 63, 64, 127, 128, 255, 256, 5000])) if data_type == "varchar" else None
    return text_column(name, data_type, charset, length=length, nullable=nullable)


@st.composite
def tables_with_rows(draw: st.DrawFn, columns_max: int = 20, rows_max: int = 6) -> Case:
    count = draw(st.integers(1, columns_max))
    drawn = tuple(draw(columns(index)) for index in range(count))
    keys = draw(st.sampled_from([(), (Key("PRIMARY", ("c0",), True),), (Key("u", ("c0",), True), Key("k", ("c0",)))]))
    table = table_of(*drawn, name=draw(st.sampled_from(["t", "a.b", "订单", "x`y"])), keys=keys)
    rows = draw(st.lists(st.tuples(*map(values_of, drawn)).map(list), min_size=1, max_size=rows_max))
    return Case(table, rows)
