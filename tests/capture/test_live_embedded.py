"""Changes by call give the records that the same changes give on a real server: values of every type, and defaults."""

from __future__ import annotations

import struct
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from capture.embedded_source import EmbeddedSource
from capture.source import SourceAddress, open_source
from tests.capture.world import World, running, until
from tests.fakes import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from capture.source import Source
    from tests.live_server import LiveServer

NEW = frozenset({"mysql97"})
MYSQL = frozenset({"mysql97", "mysql56"})
MARIADB = frozenset({"mariadb1011"})
ALL = MYSQL | MARIADB
TIME_S = 1_700_000_000
POINT = struct.pack("<BIdd", 1, 1, 1.5, -2.0)
LINE = struct.pack("<BIIdddd", 1, 2, 2, 0, 0, 1, 1)
COLLECTION = struct.pack("<BII", 1, 7, 1) + POINT


class Given(NamedTuple):
    """A column, a value as SQL takes it, the same in Python, and on which servers there is such a one."""

    definition: str
    sql: str
    value: Any
    kinds: frozenset[str] = ALL


VALUES = (
    Given("TINYINT", "-128", -128),
    Given("TINYINT UNSIGNED", "255", 255),
    Given("BOOLEAN", "TRUE", True),
    Given("SMALLINT", "-32768", -32768),
    Given("MEDIUMINT UNSIGNED", "16777215", 2**24 - 1),
    Given("MEDIUMINT", "-8388608", -(2**23)),
    Given("INT", "-2147483648", -(2**31)),
    Given("INT UNSIGNED ZEROFILL", "7", 7),
    Given("BIGINT", "-9223372036854775808", -(2**63)),
    Given("BIGINT UNSIGNED", "18446744073709551615", 2**64 - 1),
    Given("DECIMAL(65,30)", f"'-{'9' * 35}.{'9' * 30}'", Decimal(f"-{'9' * 35}.{'9' * 30}")),
    Given("DECIMAL(10,2)", "'1.005'", Decimal("1.005")),
    Given("DECIMAL(10,2)", "'-1.005'", "-1.005"),
    Given("DECIMAL(4,0)", "0.5", 0.5),
    Given("FLOAT", "0.1", 0.1),
    Given("FLOAT", "3.4028234663852886e38", 3.4028234663852886e38),
    Given("DOUBLE", "-1e-300", -1e-300),
    Given("DOUBLE", "5", 5),
    Given("DOUBLE(7,2)", "1.005", 1.005),
    Given("BIT(1)", "1", True),
    Given("BIT(9)", "257", 257),
    Given("BIT(64)", "18446744073709551615", b"\xff" * 8),
    Given("YEAR", "2155", 2155),
    Given("YEAR", "0", 0),
    Given("DATE", "'9999-12-31'", date(9999, 12, 31)),
    Given("DATE", "'0000-00-00'", "0000-00-00"),
    Given("DATE", "'2024-00-31'", "2024-00-31"),
    Given("DATETIME", "'2024-02-29 23:59:59'", datetime.fromisoformat("2024-02-29T23:59:59")),
    Given("DATETIME", "'2024-02-29'", date(2024, 2, 29)),
    Given("DATETIME", "'2024-02-29'", "2024-02-29"),
    Given("DATETIME(6)", "'1000-01-01 00:00:00.000001'", datetime.fromisoformat("1000-01-01T00:00:00.000001")),
    Given("DATETIME(1)", "'2024-12-31 23:59:59.95'", datetime.fromisoformat("2024-12-31T23:59:59.95")),
    Given("DATETIME", "'0000-00-00 00:00:00'", "0000-00-00 00:00:00"),
    Given("TIMESTAMP(3) NULL", "'2024-02-29 12:00:00.123'", datetime(2024, 2, 29, 12, 0, 0, 123000, UTC)),
    Given("TIMESTAMP NULL", "'2024-02-29 12:00:00'", datetime(2024, 2, 29, 20, tzinfo=timezone(timedelta(hours=8)))),
    Given("TIMESTAMP NULL", "'2024-02-29 12:00:00'", datetime.fromisoformat("2024-02-29T12:00:00")),
    Given("TIMESTAMP NULL", "'2038-01-19 03:14:07'", 2**31 - 1),
    Given("TIMESTAMP NULL", "'0000-00-00 00:00:00'", "0000-00-00 00:00:00"),
    Given("TIME", "'-838:59:59'", timedelta(hours=-838, minutes=-59, seconds=-59)),
    Given("TIME(6)", "'838:59:58.999999'", "838:59:58.999999"),
    Given("TIME(3)", "'-00:00:00.0015'", timedelta(microseconds=-1500)),
    Given("TIME(2)", "'08:30:00.129'", time(8, 30, 0, 129000)),
    Given("CHAR(9)", "'a  '", "a  "),
    Given("CHAR(2) CHARACTER SET utf8mb4", "'🚚茶'", "🚚茶"),
    Given("VARCHAR(40) CHARACTER SET utf8mb4", "'龙井茶 250g '", "龙井茶 250g "),
    Given("VARCHAR(300) CHARACTER SET latin1", "'€é'", "€é"),
    Given("VARCHAR(9) CHARACTER SET gbk", "'订单'", "订单"),
    Given("VARCHAR(9) CHARACTER SET sjis", "x'8261'", b"\x82\x61"),
    Given("VARCHAR(9) CHARACTER SET ucs2", "'茶'", "茶"),
    Given("TINYTEXT CHARACTER SET utf8mb4", "''", ""),
    Given("TEXT CHARACTER SET utf8", "'订'", "订"),
    Given("MEDIUMTEXT CHARACTER SET utf16", "'a🚚'", "a🚚"),
    Given("LONGTEXT CHARACTER SET utf8mb4", "repeat('x', 70000)", "x" * 70000),
    Given("BINARY(4)", "x'ff00'", b"\xff\0"),
    Given("VARBINARY(300)", "x'00'", b"\0"),
    Given("VARBINARY(9)", "x'6162'", bytearray(b"ab")),
    Given("TINYBLOB", "x''", b""),
    Given("BLOB", "x'fe'", b"\xfe"),
    Given("MEDIUMBLOB", "repeat('a', 300)", b"a" * 300),
    Given("LONGBLOB", "x'01'", b"\1"),
    Given("ENUM('a', '订', 'c') CHARACTER SET utf8mb4", "'订'", "订"),
    Given("SET('a', 'b', 'c')", "'c,a'", {"c", "a"}),
    Given("SET('a', 'b', 'c')", "''", []),
    Given("SET('a', 'b', 'c')", "'b'", "b"),
    Given(
        "JSON",
        '\'{"b": [1, 2.5, true, null, "x"], "aa": {"$date": 1}}\'',
        {"b": [1, 2.5, True, None, "x"], "aa": {"$date": 1}},
        NEW,
    ),
    Given("JSON", "'[18446744073709551615, -1]'", (2**64 - 1, -1), NEW),
    Given("JSON", "'\"text\"'", '"text"', NEW),
    Given(
        "JSON",
        "JSON_ARRAY(CAST('1.50' AS DECIMAL(5,2)), CAST('2024-02-29' AS DATE), CAST('-1:00:00' AS TIME),"
        " CAST('2024-02-29 01:02:03' AS DATETIME))",
        [Decimal("1.50"), date(2024, 2, 29), timedelta(hours=-1), datetime.fromisoformat("2024-02-29T01:02:03")],
        NEW,
    ),
    Given("POINT", f"ST_GeomFromWKB(x'{POINT.hex()}')", POINT),
    Given("POINT", f"ST_GeomFromWKB(x'{POINT.hex()}')", struct.pack(">BIdd", 0, 1, 1.5, -2.0)),
    Given("LINESTRING", f"ST_GeomFromWKB(x'{LINE.hex()}')", LINE),
    Given("GEOMETRYCOLLECTION", f"ST_GeomFromWKB(x'{COLLECTION.hex()}')", COLLECTION),
    Given("GEOMETRY", f"ST_GeomFromWKB(x'{POINT.hex()}')", memoryview(POINT).tobytes()),
    Given("VECTOR(3)", "TO_VECTOR('[1,2.5,-3]')", [1, 2.5, -3], NEW),
    Given("UUID", "'d9f1f0a0-5b1b-11ee-8c99-0242ac120000'", uuid.UUID("d9f1f0a0-5b1b-11ee-8c99-0242ac120000"), MARIADB),
    Given("INET4", "'1.2.3.0'", ip_address("1.2.3.0"), MARIADB),
    Given("INET6", "'2001:db8::'", ip_address("2001:db8::"), MARIADB),
    Given("VARCHAR(300) CHARACTER SET utf8mb4 COMPRESSED", "repeat('c', 300)", "c" * 300, MARIADB),
)

DEFAULTS = (
    ("INT", ALL),
    ("INT DEFAULT 5", ALL),
    ("INT NOT NULL DEFAULT '-7'", ALL),
    ("INT NOT NULL DEFAULT 0x10", ALL),
    ("BOOL NOT NULL DEFAULT TRUE", ALL),
    ("DECIMAL(6,2) NOT NULL DEFAULT -1.5", ALL),
    ("DECIMAL(6,2) DEFAULT '0.10'", ALL),
    ("DOUBLE NOT NULL DEFAULT 2.5", ALL),
    ("FLOAT DEFAULT '0.1'", ALL),
    ("BIT(3) DEFAULT b'101'", ALL),
    ("YEAR DEFAULT '2024'", ALL),
    ("YEAR DEFAULT 24", ALL),
    ("DATE NOT NULL DEFAULT '2024-02-29'", ALL),
    ("DATE DEFAULT '0000-00-00'", ALL),
    ("DATETIME DEFAULT '2024-02-29'", ALL),
    ("DATETIME(3) DEFAULT '2024-02-29 01:02:03.125'", ALL),
    ("DATETIME DEFAULT CURRENT_TIMESTAMP", ALL),
    ("DATETIME(6) DEFAULT NOW(6)", ALL),
    ("TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", ALL),
    ("TIMESTAMP NULL DEFAULT '2024-02-29 01:02:03'", ALL),
    ("TIME DEFAULT '-10:20:30'", ALL),
    ("VARCHAR(20) CHARACTER SET utf8mb4 NOT NULL DEFAULT 'it''s a \\\\ 茶'", ALL),
    ("CHAR(5) DEFAULT ''", ALL),
    ("BINARY(3) DEFAULT 'ab'", ALL),
    ("VARBINARY(9) DEFAULT 0x00ff", ALL),
    ("VARBINARY(9) DEFAULT x'00ff'", ALL),
    ("ENUM('a','B') DEFAULT 'b'", ALL),
    ("ENUM('x','y') NOT NULL", ALL),
    ("SET('a','b','c') NOT NULL DEFAULT 'c,a'", ALL),
    ("SET('a') DEFAULT ''", ALL),
    ("TEXT", ALL),
    ("TEXT DEFAULT ('x')", NEW | MARIADB),
    ("JSON DEFAULT ('{\"a\": 1}')", NEW),
)


def embedded(clock: ManualClock, server: LiveServer, database: str) -> EmbeddedSource:
    source = EmbeddedSource(clock, database=database, server_version=server.version)
    source.statement(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
    return source


async def records(folder: Path, source: Callable[[], Source], database: str, *, url: str, count: int) -> list[Any]:
    """What consumers see of a source's records, apart from places, ids and times of arrival."""
    world = World(folder, ManualClock())
    try:
        async with running(world.channel(source, database, url=url)) as channel:
            await until(world, lambda: len(world.records()) >= count)
            assert channel.status().reason is None
        return [comparable(record.fields) for record in world.records()[:count]]
    finally:
        await world.close()


def comparable(fields: dict[str, Any]) -> dict[str, Any]:
    tags = {name: fields["tags"].get(name) for name in ("metaVersion", "pk_uk_info")}
    names = ("operation", "objectName", "fields", "beforeImages", "afterImages", "source")
    return {name: fields[name] for name in names} | tags


async def assert_the_same(
    tmp_path: Path, server: LiveServer, database: str, file: str, ours: EmbeddedSource, count: int
) -> list[Any]:
    path = server.binlog_path(file)
    url = f"file://{path}?lower_case_table_names=0"
    address = SourceAddress.parse(url)
    clock = ManualClock()
    theirs = await records(
        tmp_path / "theirs", lambda: open_source(address, 4711, clock, identity="test"), database, url=url, count=count
    )
    made = await records(tmp_path / "ours", lambda: ours, database, url="file:///embedded.000001", count=count)
    for mine, wanted in zip(made, theirs, strict=True):
        for images in ("beforeImages", "afterImages"):
            if isinstance(mine[images], list) and isinstance(wanted[images], list):
                pairs = zip(mine[images], wanted[images], strict=True)
                assert [one for one in pairs if one[0] != one[1]] == []
        assert mine == wanted
    return made


def begin(server: LiveServer, database: str, sql_mode: str) -> str:
    """A session of a server that was not configured but for its sql_mode; the binlog file that begins."""
    server.execute_all("FLUSH BINARY LOGS", f"SET SESSION sql_mode = '{sql_mode}'", "SET SESSION time_zone = '+00:00'")
    server.execute(f"SET SESSION timestamp = {TIME_S}")
    file, _ = server.binlog_position()
    server.execute(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
    return file


def end(server: LiveServer, database: str) -> None:
    server.execute_all("SET SESSION timestamp = DEFAULT", "SET SESSION sql_mode = DEFAULT", f"DROP DATABASE {database}")
    server.execute("FLUSH BINARY LOGS")


async def test_values_are_those_of_a_server(tmp_path: Path, server: LiveServer) -> None:
    cases = [given for given in VALUES if server.kind in given.kinds]
    columns = "".join(f", c{index} {given.definition}" for index, given in enumerate(cases))
    table = f"CREATE TABLE t (id INT PRIMARY KEY{columns}) ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
    database = "embedded_values"
    file = begin(server, database, "STRICT_ALL_TABLES")
    server.execute(table, database=database)
    server.execute(f"INSERT INTO t VALUES (1, {', '.join(given.sql for given in cases)})", database=database)
    server.execute("UPDATE t SET id = 2", database=database)
    server.execute("DELETE FROM t", database=database)
    end(server, database)
    ours = embedded(ManualClock(), server, database)
    ours.statement(table, timestamp_s=TIME_S)
    row = {"id": 1} | {f"c{index}": _arrived(given.value) for index, given in enumerate(cases)}
    ours.insert("t", row, timestamp_s=TIME_S)
    ours.update("t", (row, {"id": 2}), timestamp_s=TIME_S)
    ours.delete("t", row | {"id": 2}, timestamp_s=TIME_S)
    found = await assert_the_same(tmp_path, server, database, file, ours, 2 + 9)
    assert [record["operation"] for record in found if record["objectName"] == f"{database}.t"] == [
        *("INSERT", "UPDATE", "DELETE")
    ]


def _arrived(value: Any) -> Any:
    """A value as it comes out of a call: `binwire.testing` writes some types as others."""
    from binwire.testing.values import plain
    from broker.fixture import values

    return values.loads(values.dumps(plain(value)))


async def test_columns_left_out_have_what_a_server_gives_them(tmp_path: Path, server: LiveServer) -> None:
    definitions = [definition for definition, kinds in DEFAULTS if server.kind in kinds]
    columns = "".join(f", c{index} {definition}" for index, definition in enumerate(definitions))
    table = f"CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT{columns})"
    database = "embedded_defaults"
    file = begin(server, database, "STRICT_ALL_TABLES")
    server.execute(table, database=database)
    for sql in ("INSERT INTO t () VALUES ()", "INSERT INTO t (id) VALUES (7), (NULL)", "UPDATE t SET c0 = 9"):
        server.execute(sql, database=database)
    for sql in ("TRUNCATE TABLE t", "INSERT INTO t (c0) VALUES (1), (2)"):
        server.execute(sql, database=database)
    end(server, database)
    ours = embedded(ManualClock(), server, database)
    ours.statement(table, timestamp_s=TIME_S)
    ours.insert("t", {}, timestamp_s=TIME_S)
    ours.insert("t", {"id": 7}, {"id": None}, timestamp_s=TIME_S)
    moments = {f"c{index}": _moment() for index, given in enumerate(definitions) if _is_now(given)}
    ours.update("t", *(({"id": key, **moments}, {"c0": 9}) for key in (1, 7, 8)), timestamp_s=TIME_S)
    ours.statement("TRUNCATE TABLE t", timestamp_s=TIME_S)
    ours.insert("t", {"c0": 1}, {"c0": 2}, timestamp_s=TIME_S)
    await assert_the_same(tmp_path, server, database, file, ours, 2 + 3 + 4 + 5 + 1 + 4)


def _is_now(definition: str) -> bool:
    return "CURRENT_TIMESTAMP" in definition or "NOW(" in definition


def _moment() -> datetime:
    return datetime.fromtimestamp(TIME_S, UTC).replace(tzinfo=None)


STATEMENTS = (
    "CREATE TABLE a (id INT PRIMARY KEY, note VARCHAR(9)) /* with a comment */",
    "CREATE TABLE b LIKE a",
    "CREATE INDEX i ON a (note)",
    "ALTER TABLE a ADD COLUMN price DECIMAL(8,2) NOT NULL DEFAULT 1.5 AFTER id, DROP INDEX i",
    "RENAME TABLE a TO c, b TO a",
    "TRUNCATE TABLE a",
    "DROP TABLE a",
    "DROP TABLE IF EXISTS a, c",
    "ALTER DATABASE {database} CHARACTER SET latin1",
    "CREATE TABLE {database}.d (id INT, note VARCHAR(9))",
    "DROP DATABASE {database}",
)


async def test_statements_are_those_of_a_server(tmp_path: Path, server: LiveServer) -> None:
    database = "embedded_statements"
    statements = [sql.format(database=database) for sql in STATEMENTS]
    file = begin(server, database, "STRICT_ALL_TABLES")
    for sql in statements:
        server.execute(sql, database=database)
    server.execute(f"CREATE DATABASE {database}")
    end(server, database)
    ours = embedded(ManualClock(), server, database)
    for sql in statements:
        ours.statement(sql, timestamp_s=TIME_S)
    found = await assert_the_same(tmp_path, server, database, file, ours, 1 + len(statements))
    assert {record["operation"] for record in found} == {"DDL"}
