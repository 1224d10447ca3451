"""JSON, partial updates, geometries and MariaDB's own types on real servers, against a SELECT of the same rows."""

from __future__ import annotations

import json
import random
import struct
from typing import TYPE_CHECKING, Any

import pytest
from pymysql.err import OperationalError

from capture.encode import EventEncoder, RowMetadata
from capture.errors import UnsupportedEvent
from capture.events import BINLOG_MAGIC, EventType, iter_events
from capture.json_text import json_text
from capture.json_writer import document_of, document_of_text
from capture.table import Column
from tests.capture.recorded import dumped_events
from tests.capture.row_cases import table_of
from tests.capture.test_json_text import exactly, second_opinion
from tests.capture.test_live_rows import dump, records_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pymysql.cursors import Cursor

    from tests.live_server import LiveServer

DOCUMENTS = 600
UPDATES = 150
ROWS = 30

_LETTERS = [*'ab"\\/ \n\t\b\x01\x1f\x7f', "ä", "杭", "😀", "\u2028"]
_INTEGERS = [
    0,
    1,
    -1,
    *(sign * (1 << bits) + step for sign in (1, -1) for bits in (15, 16, 31, 32) for step in (-1, 0)),
]
_INTEGERS += [2**63 - 1, -(2**63), 2**63, 2**64 - 1]
_DOUBLES = [0.0, -0.0, 1e14, 1e15, 1e16, 999999999999999.9, 1e-14, 1e-15, 1e-16, 5e-324, 1.7976931348623157e308, 0.1]
_DOUBLES += [123456789012345.6, 1920806496009562.5, 1e22, 1e23, 2.5e-5]


class Generator:
    """Documents of every shape, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def document(self, depth: int = 0) -> Any:
        choose = self.random
        kind = choose.randrange(10 if depth < 5 else 6)
        if kind < 6:
            return (self.literal, self.integer, self.double, self.double, self.text, self.text)[kind]()
        count = choose.choice([0, 1, 3, 8, 20])
        if kind < 8:
            return [self.document(depth + 1) for _ in range(count)]
        return {self.text(): self.document(depth + 1) for _ in range(count)}

    def literal(self) -> Any:
        return self.random.choice([None, True, False])

    def integer(self) -> int:
        return self.random.choice([*_INTEGERS, self.random.randrange(-(10**9), 10**9)])

    def double(self) -> float:
        choose = self.random
        bits: float = struct.unpack("<d", choose.randbytes(8))[0]
        if bits != bits or abs(bits) == float("inf"):
            bits = 1.5
        mixed = choose.randrange(1, 10**17) * 10.0 ** choose.randrange(-25, 10)
        return choose.choice([choose.choice(_DOUBLES), bits, mixed, float(choose.randrange(-(10**16), 10**16)), -mixed])

    def text(self) -> str:
        return "".join(self.random.choices(_LETTERS, k=self.random.choice([0, 1, 3, 10, 60, 200])))

    def path(self, document: Any) -> str:
        """The path of something in a document, or of something beside it."""
        path, choose = "$", self.random
        while path == "$" or (isinstance(document, dict | list) and document and choose.random() < 0.7):
            if isinstance(document, dict):
                key = choose.choice([*document, "new", "a b", '"q"'])
                path += f".{json.dumps(key, ensure_ascii=choose.random() < 0.5)}"
                document = document.get(key)
            elif isinstance(document, list):
                index = choose.randrange(len(document) + 2)
                from_end = len(document) - 1 - index
                path += f"[last-{from_end}]" if from_end >= 0 and choose.random() < 0.3 else f"[{index}]"
                document = document[index] if from_end >= 0 else None
            else:
                return "$.beside"
        return path


LARGE: dict[str, Any] = {
    "large array": list(range(70_000)),
    "large array of a long text": ["x" * 70_000, 1, 100_000, -100_000, {"k": [1]}],
    "large object": {str(number): number for number in range(20_000)},
    "longest key": {"a" * 65_535: 1},
    "deepest": json.loads("[" * 100 + "]" * 100),
}

OPAQUE = (
    "JSON_ARRAY(CAST('12.340' AS DECIMAL(10,3)), CAST('-0.50' AS DECIMAL(4,2)), 0.50, CAST(0 AS DECIMAL(30,20)))",
    "JSON_ARRAY(99999999999999999999999999999999999.5, -1.5)",
    "JSON_ARRAY(DATE'2020-01-02', CAST('-838:59:59' AS TIME), CAST('01:02:03.456' AS TIME(3)))",
    "JSON_ARRAY(CAST('2020-01-02 03:04:05.678901' AS DATETIME(6)), TIMESTAMP'1999-12-31 23:59:59', CAST(2024 AS YEAR))",
    "CAST(CAST('2020-01-02 03:04:05' AS DATETIME) AS JSON)",
    "JSON_ARRAY(x'0102', b'101', CAST(REPEAT('b', 57) AS BINARY), CAST(REPEAT('b', 58) AS BINARY))",
    "CAST(x'616263' AS JSON)",
    "JSON_OBJECT('g', ST_GeomFromText('POINT(1 2.5)'))",
    "JSON_ARRAY(0.1e0, 1e15, -0e0, 1/3, CAST(0.1 AS FLOAT), CAST(18446744073709551615 AS UNSIGNED))",
)


def texts_of(records: list[dict[str, Any]], name: str, image: str = "afterImages") -> list[str | None]:
    """The values of a column, null for NULL."""
    found: list[str | None] = []
    for record in records:
        index = [one["name"] for one in record["fields"]].index(name)
        cells = record[image]
        if cells is not None:
            found.append(None if cells[index] is None else cells[index]["value"])
    return found


def new_table(server: LiveServer, columns: str) -> tuple[str, str]:
    """A database with an empty table `t`, and the binlog file that begins now."""
    database = server.fresh_database()
    server.execute(f"CREATE TABLE t (id INT PRIMARY KEY, {columns})", database=database)
    server.execute("FLUSH BINARY LOGS")
    return database, server.binlog_position()[0]


def captured(server: LiveServer, file: str, database: str, **options: Any) -> list[dict[str, Any]]:
    """The records of the table."""
    (created,) = server.execute("SHOW CREATE TABLE t", database=database)
    return records_of(server, file, created[1], database, **options)


# ---- JSON ----


def test_json_is_what_a_select_prints(mysql97: LiveServer) -> None:
    database, file = new_table(mysql97, "j JSON")
    generator = Generator(5)
    documents = [generator.document() for _ in range(DOCUMENTS)] + list(LARGE.values())
    for number, document in enumerate(documents):
        text = json.dumps(document, ensure_ascii=number % 2 == 0)
        mysql97.execute("INSERT INTO t VALUES (%s, %s)", (number, text), database=database)
    for number, sql in enumerate(OPAQUE, len(documents)):
        mysql97.execute(f"INSERT INTO t VALUES ({number}, {sql})", database=database)
    printed = [row[0] for row in mysql97.execute("SELECT CAST(j AS CHAR) FROM t ORDER BY id", database=database)]
    texts = texts_of(captured(mysql97, file, database), "j")
    assert len(texts) == len(documents) + len(OPAQUE)
    different = [(ours, theirs) for ours, theirs in zip(texts, printed, strict=True) if ours != theirs]
    assert not different, different[0]


def test_json_is_written_as_the_server_stores_it(mysql97: LiveServer) -> None:
    """Byte for byte, as a SELECT of the stored size and a second decoder see it."""
    generator = Generator(7)
    for document in [*(generator.document() for _ in range(200)), *LARGE.values()]:
        text = json.dumps(document)
        written = document_of_text(text)
        printed, size_bytes = mysql97.execute(
            "SELECT CAST(CAST(%s AS JSON) AS CHAR), JSON_STORAGE_SIZE(%s)", (text, text)
        )[0]
        assert json_text(written).encode("latin-1").decode() == printed
        assert len(written) == size_bytes
        if len(written) < 60_000:
            assert exactly(second_opinion(written)) == exactly(json.loads(text))


def test_mysqls_own_tool_prints_our_files_the_same(mysql97: LiveServer, tmp_path: Path) -> None:
    """Documents and vectors that were never in a server: mysqlbinlog shows what our text of them is."""
    table = table_of(Column("j", "json"), Column("v", "vector", length=2), Column("k", "json"))
    generator, encoder = Generator(9), EventEncoder(row_metadata=RowMetadata.FULL)
    rows: list[Sequence[Any]] = [[[generator.document()], [1.5, -2], {"k": generator.document()}] for _ in range(200)]
    raws = [
        *(encoder.format_description(1), encoder.anonymous_gtid(1), encoder.query(1, "BEGIN", thread_id=7)),
        *(encoder.table_map(1, table, 9), encoder.write_rows(1, table, 9, rows), encoder.xid(1, 5)),
    ]
    path = tmp_path / "binlog.000001"
    path.write_bytes(BINLOG_MAGIC + b"".join(raws))
    shown = [image for event in dumped_events(dump(mysql97, path)) for _, _, image in event.rows]
    assert len(shown) == len(rows)
    for (first, _, second), image in zip(rows, shown, strict=True):
        texts = [json_text(document_of(value)).encode("latin-1").decode() for value in (first, second)]
        assert [image[0], image[2]] == [printed_text(text) for text in texts]
        assert image[1] == "[1.50000e+00,-2.00000e+00]"


def printed_text(text: str) -> str:
    """A text as mysqlbinlog quotes it."""
    escapes = {"\\": "\\\\", "'": "\\'"}
    return "'" + "".join(escapes.get(one, one) for one in text) + "'"


# ---- partial updates ----


def partial_session(server: LiveServer, database: str, row_image: str) -> Cursor:
    """A session that logs JSON updates in part."""
    cursor = server.connect(database=database).cursor()
    cursor.execute("SET SESSION binlog_row_value_options = 'PARTIAL_JSON'")
    cursor.execute(f"SET SESSION binlog_row_image = {row_image}")
    return cursor


def documents_of(server: LiveServer, database: str, row: int) -> tuple[Any, ...]:
    """What a SELECT prints of the JSON columns of a row."""
    columns = "CAST(j AS CHAR), CAST(k AS CHAR), CAST(b AS CHAR)"
    return server.execute(f"SELECT {columns} FROM t WHERE id = {row}", database=database)[0]


def filled(generator: Generator, cursor: Cursor) -> None:
    """Rows with documents large enough that the server logs changes of them in part."""
    for number in range(ROWS):
        padding = "x" * generator.random.choice([300, 500, 70_000 if number % 10 == 0 else 400])
        first = json.dumps({"p": padding, "v": generator.document()})
        second = json.dumps([*(generator.document() for _ in range(3)), padding])
        third = json.dumps(generator.document())
        cursor.execute("INSERT INTO t VALUES (%s, 's', %s, %s, %s, %s)", (number, first, number, second, third))


def change(generator: Generator, cursor: Cursor, row: int, before: tuple[Any, ...]) -> bool:
    """One UPDATE of a row, of JSON and other columns; whether it changed anything: some the server refuses."""
    choose, settings, values = generator.random, list[str](), list[Any]()
    for column in {choose.choice("jkb"), choose.choice("jjk")}:
        function = choose.choice(["JSON_SET", "JSON_SET", "JSON_REPLACE", "JSON_REMOVE"])
        document = json.loads(before["jkb".index(column)])
        paths = [generator.path(document) for _ in range(choose.choice([1, 1, 2, 3]))]
        if function == "JSON_REMOVE":
            settings.append(f"{column} = JSON_REMOVE({column}{', %s' * len(paths)})")
            values += paths
        else:
            settings.append(f"{column} = {function}({column}{', %s, CAST(%s AS JSON)' * len(paths)})")
            values += [value for path in paths for value in (path, json.dumps(generator.document(4)))]
    settings += ["n = n + 1"] * (choose.random() < 0.3) + ["a = CONCAT('t', n)"] * (choose.random() < 0.1)
    try:
        return bool(cursor.execute(f"UPDATE t SET {', '.join(settings)} WHERE id = {row}", values))
    except OperationalError:
        return False


COLUMNS = "a VARCHAR(20), j JSON, n INT, k JSON, b JSON"


@pytest.mark.parametrize("seed", [1, 2])
def test_partial_updates_give_the_rows_a_select_gives(mysql97: LiveServer, seed: int) -> None:
    database, file = new_table(mysql97, COLUMNS)
    cursor, generator = partial_session(mysql97, database, "FULL"), Generator(seed)
    filled(generator, cursor)
    rows = [documents_of(mysql97, database, row) for row in range(ROWS)]
    wanted: list[tuple[Any, Any]] = [(None, row) for row in rows]
    for _ in range(UPDATES):
        row = generator.random.randrange(ROWS)
        if change(generator, cursor, row, rows[row]):
            before, rows[row] = rows[row], documents_of(mysql97, database, row)
            wanted.append((before, rows[row]))
    assert cursor.execute("UPDATE t SET j = JSON_SET(j, '$.v', id), n = n + 1") == ROWS
    wanted += [(rows[row], documents_of(mysql97, database, row)) for row in range(ROWS)]
    records = captured(mysql97, file, database)
    assert [documents(record) for record in records] == wanted
    kinds = [raw[4] for raw in iter_events(mysql97.binlog_path(file).read_bytes())]
    assert kinds.count(EventType.PARTIAL_UPDATE_ROWS) > UPDATES // 2


def documents(record: dict[str, Any]) -> tuple[Any, Any]:
    """The JSON columns of a record, before and after."""
    images = []
    for image in ("beforeImages", "afterImages"):
        cells = record[image]
        images.append(cells and tuple(cells[index] and cells[index]["value"] for index in (2, 4, 5)))
    return images[0], images[1]


def test_partial_updates_without_the_values_before_stop(mysql97: LiveServer) -> None:
    database, file = new_table(mysql97, COLUMNS)
    cursor, generator = partial_session(mysql97, database, "MINIMAL"), Generator(3)
    filled(generator, cursor)
    cursor.execute("UPDATE t SET j = JSON_SET(j, '$.v', 1) WHERE id = 1")
    with pytest.raises(
        UnsupportedEvent, match=r"^Column 3 of .* was changed in part, and the event lacks its value before"
    ):
        captured(mysql97, file, database, partial_images=True)


def test_under_noblob_the_values_before_are_there(mysql97: LiveServer) -> None:
    """MySQL 9.7 keeps JSON columns in the images that NOBLOB makes."""
    database, file = new_table(mysql97, COLUMNS)
    cursor, generator = partial_session(mysql97, database, "NOBLOB"), Generator(4)
    filled(generator, cursor)
    before = documents_of(mysql97, database, 1)
    cursor.execute("UPDATE t SET j = JSON_SET(j, '$.v', 1), k = JSON_REMOVE(k, '$[0]') WHERE id = 1")
    *_, record = captured(mysql97, file, database, partial_images=True)
    assert documents(record) == (before, documents_of(mysql97, database, 1))


# ---- geometries ----

GEOMETRIES = (
    *("POINT(1 2)", "POINT(1e300 -1e-300)", "POINT(-180 89.999999999999)", "LINESTRING(0 0, 1 1, 2 0)"),
    *("POLYGON((0 0, 10 0, 10 10, 0 10, 0 0), (2 2, 4 2, 4 4, 2 4, 2 2))", "MULTIPOINT(0 0, 1 1)"),
    *("MULTILINESTRING((0 0, 1 1), (2 2, 3 3))", "MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))"),
    "GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(0 0, 1 1), POINT(3 4))",
)
NESTED = "GEOMETRYCOLLECTION(POINT(1 2), GEOMETRYCOLLECTION(LINESTRING(0 0, 1 1), GEOMETRYCOLLECTION EMPTY))"
MORE_GEOMETRIES = {"mysql97": [NESTED, "GEOMETRYCOLLECTION EMPTY"], "mariadb1011": ["GEOMETRYCOLLECTION EMPTY"]}
"""What not every server has."""


def test_geometries_are_their_wkb(server: LiveServer) -> None:
    database, file = new_table(server, "g GEOMETRY")
    for number, text in enumerate([*GEOMETRIES, *MORE_GEOMETRIES.get(server.kind, [])]):
        server.execute("INSERT INTO t VALUES (%s, ST_GeomFromText(%s))", (number, text), database=database)
    server.execute("INSERT INTO t VALUES (98, ST_GeomFromText('POINT(9 8)', 4326)), (99, NULL)", database=database)
    printed = [row[0] for row in server.execute("SELECT HEX(g) FROM t ORDER BY id", database=database)]
    cells = [record["afterImages"][1] for record in captured(server, file, database)]
    wanted = [hexadecimal and bytes.fromhex(hexadecimal)[4:] for hexadecimal in printed]
    assert [cell and cell["value"] for cell in cells] == wanted
    assert {cell["type"] for cell in cells if cell is not None} == {"WKB"}
    by_server = server.execute("SELECT HEX(ST_AsBinary(g)) FROM t WHERE id < 98 ORDER BY id", database=database)
    assert wanted[:-2] == [bytes.fromhex(row[0]) for row in by_server]


def test_every_subtype_is_carried(server: LiveServer) -> None:
    kinds = ("POINT", "LINESTRING", "POLYGON", "MULTIPOINT", "MULTILINESTRING", "MULTIPOLYGON", "GEOMETRYCOLLECTION")
    database, file = new_table(server, ", ".join(f"c{number} {kind}" for number, kind in enumerate(kinds)))
    chosen = (0, 3, 4, 5, 6, 7, 8)
    values = ", ".join(f"ST_GeomFromText('{GEOMETRIES[index]}')" for index in chosen)
    server.execute(f"INSERT INTO t VALUES (1, {values})", database=database)
    printed = server.execute(
        f"SELECT {', '.join(f'HEX(ST_AsBinary(c{i}))' for i in range(7))} FROM t", database=database
    )
    (record,) = captured(server, file, database)
    assert [cell["value"] for cell in record["afterImages"][1:]] == [bytes.fromhex(one) for one in printed[0]]
    assert {one["dataTypeNumber"] for one in record["fields"][1:]} == {255}


# ---- vectors ----


def test_vectors_are_their_bytes(mysql97: LiveServer) -> None:
    database, file = new_table(mysql97, "v VECTOR(4), w VECTOR NOT NULL")
    mysql97.execute("INSERT INTO t VALUES (1, TO_VECTOR('[1,2,3.5,-4e10]'), TO_VECTOR('[0]'))", database=database)
    mysql97.execute("INSERT INTO t VALUES (2, NULL, TO_VECTOR('[1,2]'))", database=database)
    printed = mysql97.execute("SELECT HEX(v), HEX(w) FROM t ORDER BY id", database=database)
    records = captured(mysql97, file, database)
    cells = [[cell and cell["value"] for cell in record["afterImages"][1:]] for record in records]
    assert cells == [[one and bytes.fromhex(one) for one in row] for row in printed]


# ---- MariaDB ----


def test_mariadbs_vectors_are_their_bytes(mariadb118: LiveServer) -> None:
    """In its binlog a VECTOR is a VARBINARY, with two bytes of length from 64 numbers on."""
    database, file = new_table(mariadb118, "v VECTOR(3), w VECTOR(64) NOT NULL")
    long = f"[{','.join(map(str, range(64)))}]"
    mariadb118.execute(
        "INSERT INTO t VALUES (1, VEC_FromText('[1,-2.5,3]'), VEC_FromText(%s))", (long,), database=database
    )
    mariadb118.execute("INSERT INTO t VALUES (2, NULL, VEC_FromText(%s))", (long,), database=database)
    printed = mariadb118.execute("SELECT HEX(v), HEX(w) FROM t ORDER BY id", database=database)
    records = captured(mariadb118, file, database)
    cells = [record["afterImages"][1:] for record in records]
    assert [[cell and cell["value"] for cell in row] for row in cells] == [
        [one and bytes.fromhex(one) for one in row] for row in printed
    ]
    assert {(cell["class"], cell["type"]) for row in cells for cell in row if cell} == {("BinaryObject", "BLOB")}


UUIDS = (
    *("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    *("d9f1f0a0-5b1b-11ee-8c99-0242ac120002", "d9f1f0a0-5b1b-11ee-8c99-0242ac120000"),
    *("01890dd5-ea3f-7000-8000-000000000000", "7d444840-9dc0-41d1-b245-5ffdce74fad2"),
)
INET4 = ("0.0.0.0", "1.2.3.0", "255.255.255.255", "127.0.0.1", "10.0.0.0", "0.0.0.1")
INET6 = ("::", "2001:db8::", "::ffff:1.2.3.4", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1", "fe80::100")


def test_mariadbs_uuids_and_addresses_are_in_their_logical_order(mariadb1011: LiveServer) -> None:
    database, file = new_table(mariadb1011, "u UUID, a INET4, b INET6, n UUID NOT NULL")
    for number, row in enumerate(zip(UUIDS, INET4, INET6, UUIDS[::-1], strict=True)):
        mariadb1011.execute("INSERT INTO t VALUES (%s, %s, %s, %s, %s)", (number, *row), database=database)
    mariadb1011.execute("INSERT INTO t SELECT 7, NULL, NULL, NULL, UUID()", database=database)
    mariadb1011.execute("DELETE FROM t WHERE id = 7", database=database)
    casts = ", ".join(
        f"HEX(CAST({name} AS BINARY({size})))" for name, size in (("u", 16), ("a", 4), ("b", 16), ("n", 16))
    )
    printed = mariadb1011.execute(f"SELECT {casts} FROM t ORDER BY id", database=database)
    records = captured(mariadb1011, file, database)
    cells = [[cell["value"] for cell in record["afterImages"][1:]] for record in records[: len(UUIDS)]]
    assert cells == [[bytes.fromhex(one) for one in row] for row in printed]
    assert [cells[number][0].hex() for number in range(6)] == [text.replace("-", "") for text in UUIDS]
    assert [cell and len(cell["value"]) for cell in records[-1]["beforeImages"][1:]] == [None, None, None, 16]


def test_mariadbs_compressed_columns_are_inflated(mariadb1011: LiveServer) -> None:
    columns = (
        *("vc VARCHAR(300) COMPRESSED", "vs VARCHAR(40) COMPRESSED CHARACTER SET latin1", "tt TINYTEXT COMPRESSED"),
        *("tx TEXT COMPRESSED", "lt LONGTEXT COMPRESSED CHARACTER SET gbk", "vb VARBINARY(400) COMPRESSED"),
        *("tb TINYBLOB COMPRESSED", "bl BLOB COMPRESSED", "lb LONGBLOB COMPRESSED"),
    )
    database, file = new_table(mariadb1011, ", ".join(columns))
    names = [column.split()[0] for column in columns]
    for number, wrap in enumerate(("ON", "OFF")):
        mariadb1011.execute(f"SET SESSION column_compression_zlib_wrap = {wrap}")
        for size, text in enumerate(["", "x", "short", "y" * 40, *("ab" * 20,) * 2]):
            long = ["''" if not text else f"REPEAT('{text}', {1 if name == 'vs' else 6})" for name in names]
            statement = f"INSERT INTO t VALUES ({10 * number + size}, {', '.join(long)})"
            mariadb1011.execute(statement, database=database)
    mariadb1011.execute("INSERT INTO t (id) VALUES (99)", database=database)
    printed = mariadb1011.execute(
        f"SELECT {', '.join(f'HEX({name})' for name in names)} FROM t ORDER BY id", database=database
    )
    records = captured(mariadb1011, file, database)
    cells = [[cell and cell["value"] for cell in record["afterImages"][1:]] for record in records]
    assert cells == [[None if one is None else bytes.fromhex(one) for one in row] for row in printed]
    classes = [cell["class"] for cell in records[0]["afterImages"][1:]]
    assert classes == ["Character"] * 5 + ["BinaryObject"] * 4


def test_mariadbs_json_stays_text(mariadb1011: LiveServer) -> None:
    database, file = new_table(mariadb1011, "j JSON")
    mariadb1011.execute("""INSERT INTO t VALUES (1, '{"b":  1,"a":[1.0]}')""", database=database)
    (record,) = captured(mariadb1011, file, database)
    assert record["fields"][1] == {"name": "j", "dataTypeNumber": 15}
    assert record["afterImages"][1] == {"class": "Character", "charset": "utf8mb4", "value": b'{"b":  1,"a":[1.0]}'}
