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
    "float": 4,
    "double": 5,
    "timestamp": 7,
    "bigint": 8,
    "mediumint": 9,
    "date": 10,
    "time": 11,
    "datetime": 12,
    "year": 13,
    "tinytext": 15,
    "text": 15,
    "mediumtext": 15,
    "longtext": 15,
    "bit": 16,
    "decimal": 246,
    "enum": 247,
    "set": 248,
    "tinyblob": 249,
    "mediumblob": 250,
    "longblob": 251,
    "blob": 252,
    "binary": 252,
    "varbinary": 252,
    "varchar": 253,
    "char": 254,
}
DATETIME_PARTS = ("year", "month", "day", "hour", "minute", "second", "millis")
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
    if column.data_type in {"date", "time", "datetime", "year"}:
        return {"class": "DateTime", **dict(zip(DATETIME_PARTS, _parts(column.data_type, value), strict=True))}
    if column.data_type == "timestamp":
        seconds = (value - EPOCH) // dt.timedelta(seconds=1)
        return {"class": "Timestamp", "timestamp": seconds, "millis": value.microsecond}
    if column.data_type in {"float", "double"}:
        return {"class": "Float", "value": float(value), "precision": 8, "scale": 15}
    if column.data_type == "bit":
        return {"class": "Integer", "precision": ((column.length or 1) + 7) // 8, "value": str(value)}
    if column.data_type in {"enum", "set"}:
        text = value if isinstance(value, str) else ",".join(one for one in column.labels if one in value)
        return {"class": "TextObject", "type": column.data_type.upper(), "value": text}
    if column.data_type.endswith("blob"):
        return {"class": "BinaryObject", "type": "BLOB", "value": value}
    if column.data_type.endswith("binary"):
        size = (column.length or 1) if column.data_type == "binary" else 0
        return {"class": "BinaryObject", "type": "BINARY", "value": value.ljust(size, b"\0")}
    charset = column.charset or "binary"
    text = value.rstrip(" ") if column.data_type == "char" else value
    return {"class": "Character", "charset": charset, "value": text.encode(CODECS[charset])}


def _parts(data_type: str, value: Any) -> list[int | None]:
    """The seven parts of a DateTime."""
    if data_type == "date":
        return [value.year, value.month, value.day, None, None, None, None]
    if data_type == "year":
        return [value, *[None] * 6]
    if data_type == "datetime":
        return [*value.timetuple()[:6], value.microsecond]
    microseconds, sign = abs(value) // dt.timedelta(microseconds=1), -1 if value < dt.timedelta() else 1
    seconds, fraction = divmod(microseconds, 10**6)
    parts = (seconds // 3600, seconds // 60 % 60, seconds % 60, fraction)
    return [None, None, None, *(sign * part for part in parts)]


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
    elif column.data_type in _OTHERS:
        some = _OTHERS[column.data_type](column)
    else:
        some = _texts(column)
        if column.data_type == "tinytext":
            some = some.filter(lambda text: len(text.encode(CODECS[column.charset or ""])) <= 255)
    return some | st.none() if column.nullable else some


def _floats(column: Column) -> st.SearchStrategy[float]:
    """Doubles; for a FLOAT those with so few digits that they survive in it."""
    if column.data_type == "double":
        return st.floats(0.0 if column.unsigned else None, allow_nan=False, allow_infinity=False)
    exponents = st.integers(-43, 32)  # six digits times ten to the power: FLT_MIN_10_EXP is -37
    return st.builds(
        lambda digits, exponent: float(f"{digits}e{max(exponent, -37)}"),
        st.integers(0 if column.unsigned else -999999, 999999),
        exponents,
    )


def _times(column: Column) -> st.SearchStrategy[dt.timedelta]:
    unit = 10 ** (6 - column.fsp)
    limit = 839 * 3600 * 10**6 // unit - 1
    return st.integers(-limit, limit).map(lambda count: dt.timedelta(microseconds=count * unit))


def _sets(column: Column) -> st.SearchStrategy[Any]:
    return st.sets(st.sampled_from(column.labels)) | st.just("") | st.just(column.labels)


_OTHERS: dict[str, Any] = {
    "float": _floats,
    "double": _floats,
    "bit": lambda column: st.integers(0, 2**column.length - 1),
    "date": lambda column: st.dates(dt.date(1000, 1, 1)),
    "time": _times,
    "year": lambda column: st.just(0) | st.integers(1901, 2155),
    "enum": lambda column: st.sampled_from(column.labels),
    "set": _sets,
    **dict.fromkeys(
        ("tinyblob", "blob", "mediumblob", "longblob"),
        lambda column: st.binary(max_size=255 if column.data_type == "tinyblob" else 400),
    ),
    **dict.fromkeys(("binary", "varbinary"), lambda column: st.binary(max_size=min(column.length, 400))),
}


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
    if data_type in {"float", "double"}:
        return Column(name, data_type, unsigned=draw(st.booleans()), nullable=nullable)
    if data_type in {"datetime", "timestamp", "time"}:
        return Column(name, data_type, fsp=draw(st.integers(0, 6)), nullable=nullable)
    if data_type in {"date", "year"} or data_type.endswith("blob"):
        return Column(name, data_type, nullable=nullable)
    if data_type == "bit":
        return Column(name, data_type, length=draw(st.integers(1, 64)), nullable=nullable)
    if data_type.endswith("binary"):
        sizes = [1, 2, 254, 255] if data_type == "binary" else [0, 1, 255, 256, 5000]
        return Column(name, data_type, length=draw(st.sampled_from(sizes)), nullable=nullable)
    charset = draw(st.sampled_from(sorted(CODECS)))
    if data_type in {"enum", "set"}:
        labels = draw(st.sampled_from([["a"], ["x", "订单"], [f"l{index}" for index in range(60)]]))
        if charset == "latin1":
            labels = [label.replace("订单", "é") for label in labels]
        return text_column(name, data_type, charset, labels=tuple(labels), nullable=nullable)
    lengths = {"varchar": [0, 1, 63, 64, 127, 128, 255, 256, 5000], "char": [1, 63, 64, 85, 86, 255]}
    length = draw(st.sampled_from(lengths[data_type])) if data_type in lengths else None
    return text_column(name, data_type, charset, length=length, nullable=nullable)


@st.composite
def tables_with_rows(draw: st.DrawFn, columns_max: int = 20, rows_max: int = 6) -> Case:
    count = draw(st.integers(1, columns_max))
    drawn = tuple(draw(columns(index)) for index in range(count))
    keys = draw(st.sampled_from([(), (Key("PRIMARY", ("c0",), True),), (Key("u", ("c0",), True), Key("k", ("c0",)))]))
    table = table_of(*drawn, name=draw(st.sampled_from(["t", "a.b", "订单", "x`y"])), keys=keys)
    rows = draw(st.lists(st.tuples(*map(values_of, drawn)).map(list), min_size=1, max_size=rows_max))
    return Case(table, rows)
