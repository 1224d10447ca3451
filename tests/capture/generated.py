"""Tables drawn at random over every column type and attribute, with values that like boundaries; and what a record must
say of a value by what the server's own SELECT says of it.

`table` draws a table for one kind of server, `Column.literal` an SQL literal for a value. `Column.select` is the
expression that shows a stored value so that no byte of it is open to reading: numbers as text, all else with HEX;
`Column.cell` makes the expected cell of that, by plain Python. Nothing of capture is used here.
"""

from __future__ import annotations

import ipaddress
import json
import struct
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.capture.generated_columns import (
    Cell,
    Column,
    bit,
    clock_time,
    date,
    exact,
    floating,
    integer,
    literal_or_null,
    moment,
    null,
    timestamp,
    year,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

TEXT_ALPHABETS = {
    "utf8mb4": "aZ09 '\"\\%_\n\t\x00é茶訂🚚𝄞",
    "utf8": "aZ '\"\\\n\x00é茶ж",
    "latin1": "aZ '\"\\\nÄÖßéÿ€",
    "gbk": "aZ '\"\\杭州订单",
    "big5": "aZ '茶功許",
    "sjis": "aZ '茶表ソ",
    "ucs2": "aZ 'é茶",
    "utf16": "aZ 'é茶🚚",
    "ascii": "aZ '\"\\~",
    "cp1251": "aZ жЯ",
}
_CODECS = {"utf8mb4": "utf-8", "utf8": "utf-8", "latin1": "cp1252", "ucs2": "utf-16-be", "utf16": "utf-16-be"}
_CODECS |= {"sjis": "shift_jis"}


@dataclass(frozen=True, slots=True)
class Table:
    """A drawn table: columns `c0`, `c1` … behind the primary key `id`."""

    columns: tuple[Column, ...]
    engine: str

    def create(self, name: str) -> str:
        columns = "".join(f", c{index} {column.definition}" for index, column in enumerate(self.columns))
        return f"CREATE TABLE {name} (id INT PRIMARY KEY{columns}) ENGINE={self.engine} ROW_FORMAT=DYNAMIC"

    def values(self, key: int) -> str:
        return f"({key}, {', '.join('DEFAULT' if one.is_generated else one.literal() for one in self.columns)})"

    def selected(self, name: str) -> str:
        shown = "".join(f", {column.select.replace('{}', f'c{index}')}" for index, column in enumerate(self.columns))
        return f"SELECT id{shown} FROM {name} ORDER BY id"

    def cells(self, row: tuple[Any, ...]) -> list[Cell]:
        """The cells a record must have for a row of `selected`."""
        key: Cell = ("Integer", {"precision": 4, "value": str(row[0])})
        texts = [one.decode("ascii") if isinstance(one, bytes) else one for one in row[1:]]
        cells = (
            None if text is None else column.cell(str(text)) for column, text in zip(self.columns, texts, strict=True)
        )
        return [key, *cells]


def table(random: Random, kind: str) -> Table:
    """Draw a table that a server of this kind can have."""
    makers = [maker for maker, lacking in _MAKERS if kind not in lacking]
    columns = tuple(random.choice(makers)(random, kind) for _ in range(random.randint(1, 9)))
    return Table(columns, random.choice(("InnoDB", "MyISAM")))


# ---- strings ----


def _hexadecimal(value: bytes) -> str:
    return f"x'{value.hex()}'"


def _text(random: Random, kind: str) -> Column:
    charset = random.choice(sorted(TEXT_ALPHABETS))
    codec = _CODECS.get(charset, charset)
    name = random.choice(("CHAR", "VARCHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT"))
    length = random.choice((0, 1, 10, 63, 64, 85, 86, 127, 128, 255)) if name == "CHAR" else 300
    if name == "VARCHAR":
        length = random.choice((0, 1, 63, 64, 85, 86, 255, 256, 500))
    size = f"({length})" if name.endswith("CHAR") else ""
    definition = f"{name}{size} CHARACTER SET {charset}{null(random)}"
    bytes_max = 255 if name == "TINYTEXT" else 1 << 20

    def draw() -> str:
        count = min(length, random.choice((0, 1, 2, 20, length)))
        text = "".join(random.choice(TEXT_ALPHABETS[charset]) for _ in range(count))
        while len(text.encode(codec)) > bytes_max:
            text = text[:-1]
        return f"_{charset} {_hexadecimal(text.encode(codec))}"

    said = "utf8mb3" if charset == "utf8" and kind in ("mysql97", "mariadb1011", "mariadb118") else charset
    return Column(
        definition,
        "HEX({})",
        literal_or_null(random, definition, draw),
        lambda text: ("Character", {"charset": said, "value": bytes.fromhex(text)}),
    )


def _bytes(random: Random, _: str) -> Column:
    name = random.choice(("BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"))
    length = random.choice((1, 2, 16, 254, 255)) if name == "BINARY" else 255
    if name == "VARBINARY":
        length = random.choice((1, 255, 256, 700))
    definition = f"{name}{f'({length})' if name.endswith('BINARY') else ''}{null(random)}"

    def draw() -> str:
        value = random.randbytes(random.choice((0, 1, length // 2, length)))
        return _hexadecimal(value.rstrip(b"\0") + random.choice((b"", b"\0" * (length - len(value)))))

    kind_of_object = "BINARY" if name.endswith("BINARY") else "BLOB"
    return Column(
        definition,
        "HEX({})",
        literal_or_null(random, definition, draw),
        lambda text: ("BinaryObject", {"type": kind_of_object, "value": bytes.fromhex(text)}),
    )


def _labels(random: Random, _: str) -> Column:
    charset = random.choice(("utf8mb4", "latin1", "gbk"))
    extra = {"utf8mb4": "茶", "latin1": "é", "gbk": "订"}[charset]
    is_set = random.random() < 0.5
    count = random.choice((1, 2, 8, 9, 16, 17, 33, 64) if is_set else (1, 2, 255, 256, 300))
    labels = [extra, "it''s", *(f"{extra}{number}" for number in range(count))][:count]
    quoted = ", ".join(f"'{label}'" for label in labels)
    definition = f"{'SET' if is_set else 'ENUM'}({quoted}) CHARACTER SET {charset}{null(random)}"
    top = 2**count - 1 if is_set else count
    lowest = 0 if is_set else 1

    def cell(text: str) -> Cell:
        return "TextObject", {"type": "SET" if is_set else "ENUM", "value": bytes.fromhex(text).decode()}

    return Column(
        definition,
        "HEX(CONVERT({} USING utf8mb4))",
        literal_or_null(random, definition, lambda: str(random.choice((lowest, 1, top, random.randint(lowest, top))))),
        cell,
    )


# ---- objects ----


def _document(random: Random, depth: int = 0) -> Any:
    scalars: list[Any] = [None, True, False, 0, -1, 2**15, -(2**31), 2**31, 2**63 - 1, 2**64 - 1, 0.1, -1e-7, 1e100]
    scalars += ["", 'é"\\\n\u0001/', "🚚" * 3, "x" * random.choice((1, 127, 128, 300)), random.random() * 10**18]
    if depth > 3 or random.random() < 0.4:
        return random.choice(scalars)
    count = random.choice((0, 1, 3, 12))
    if random.random() < 0.5:
        return [_document(random, depth + 1) for _ in range(count)]
    return {
        random.choice(("a", "b", "k", "é", "long key")) + str(number): _document(random, depth + 1)
        for number in range(count)
    }


_SQL_DOCUMENTS = (
    "JSON_ARRAY(CAST('2024-02-29' AS DATE), CAST('-12:34:56.789' AS TIME(3)), CAST('0000-00-00' AS DATETIME))",
    "JSON_OBJECT('d', CAST(-1.50 AS DECIMAL(65,30)), 'b', x'00ff', 't', TIMESTAMP('2024-02-29 01:02:03.000001'))",
    "CAST(CAST(18446744073709551615 AS UNSIGNED) AS JSON)",
)


def _json(random: Random, _: str) -> Column:
    definition = f"JSON{null(random)}"

    def draw() -> str:
        if random.random() < 0.2:
            return random.choice(_SQL_DOCUMENTS)
        return f"CONVERT({_hexadecimal(json.dumps(_document(random)).encode())} USING utf8mb4)"

    return Column(
        definition,
        "HEX(CONVERT({} USING utf8mb4))",
        literal_or_null(random, definition, draw),
        lambda text: ("TextObject", {"type": "JSON", "value": bytes.fromhex(text).decode()}),
        update=random.choice(("JSON_SET({}, '$.a0', 'new', '$.k', 1)", "JSON_REMOVE({}, '$.b1')", "")),
    )


def _geometry(random: Random, _: str) -> Column:
    definition = f"{random.choice(('GEOMETRY', 'POINT'))}{null(random)}"

    def draw() -> str:
        srid = struct.pack("<I", random.choice((0, 0, 3857)))
        point = struct.pack("<BIdd", 1, 1, random.uniform(-180, 180), random.choice((0.0, -0.0, 89.5)))
        return _hexadecimal(srid + point)

    # HEX shows what is stored, the SRID in front.
    return Column(
        definition,
        "SUBSTRING(HEX({}), 9)",
        literal_or_null(random, definition, draw),
        lambda text: ("BinaryGeometry", {"type": "WKB", "value": bytes.fromhex(text)}),
    )


def _address(random: Random, kind: str) -> Column:
    """MariaDB's types of fixed length."""
    name = random.choice(("INET6",) if kind == "mariadb105" else ("INET6", "INET4", "UUID"))
    definition = f"{name}{null(random)}"
    packed: dict[str, Callable[[str], bytes]] = {
        "INET6": lambda text: ipaddress.IPv6Address(text).packed,
        "INET4": lambda text: ipaddress.IPv4Address(text).packed,
        "UUID": lambda text: uuid.UUID(text).bytes,
    }

    def draw() -> str:
        size = 4 if name == "INET4" else 16
        value = random.choice((bytes(size), b"\xff" * size, random.randbytes(size)))
        if name == "UUID":
            return f"'{uuid.UUID(bytes=value)}'"
        return f"'{ipaddress.ip_address(value)}'"

    return Column(
        definition,
        "CAST({} AS CHAR)",
        literal_or_null(random, definition, draw),
        lambda text: ("BinaryObject", {"type": "BINARY", "value": packed[name](text)}),
    )


def _generated(random: Random, _: str) -> Column:
    return Column(
        f"BIGINT GENERATED ALWAYS AS (id * -3) {random.choice(('VIRTUAL', 'STORED'))}",
        "CAST({} AS CHAR)",
        str,
        lambda text: ("Integer", {"precision": 8, "value": text}),
        is_generated=True,
    )


_MARIADB = frozenset({"mariadb105", "mariadb1011", "mariadb118"})
_OLD = frozenset({"mysql55", "mysql56"})
_MAKERS: tuple[tuple[Callable[[Random, str], Column], frozenset[str]], ...] = (
    (integer, frozenset()),
    (bit, frozenset()),
    (exact, frozenset()),
    (floating, frozenset()),
    (date, frozenset()),
    (moment, frozenset()),
    (clock_time, frozenset()),
    (timestamp, frozenset()),
    (year, frozenset()),
    (_text, frozenset()),
    (_text, frozenset()),
    (_bytes, frozenset()),
    (_labels, frozenset()),
    (_json, _MARIADB | _OLD),
    (_geometry, frozenset()),
    (_address, _OLD | {"mysql97"}),
    (_generated, _OLD),
)
"""What draws a column, and the kinds of server that have no such type."""
