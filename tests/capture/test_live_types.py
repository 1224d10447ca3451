"""Boundary values of every column type on real servers: what the record says against a SELECT of the same rows."""

from __future__ import annotations

import asyncio
import struct
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from storage.clock import SystemClock
from tests.capture.test_live_capture import caught_up, live, needs_action, run
from tests.capture.test_live_rows import records_of
from tests.capture.world import World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    from tests.live_server import LiveServer

Cell = dict[str, Any]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, SystemClock())
    yield made
    await made.close()


# ---- cells as a server shows the values ----


def number(cell: Cell) -> str:
    return str(cell["value"])


def datetime_text(fsp: int = 0) -> Callable[[Cell], str]:
    """DATE, TIME, DATETIME and YEAR, by the parts that are there."""

    def show(cell: Cell) -> str:
        parts = [cell[part] for part in ("year", "month", "day", "hour", "minute", "second", "millis")]
        year, month, day, hour, minute, second, micros = (None if part is None else abs(part) for part in parts)
        sign = "-" * any(part is not None and part < 0 for part in parts)
        assert not sign or all(part is None or part <= 0 for part in parts), "every part of a negative TIME is negative"
        if month is None and hour is None:
            return f"{year:04d}"
        date = "" if month is None else f"{year:04d}-{month:02d}-{day:02d}"
        if hour is None:
            return date
        time = f"{sign}{hour:02d}:{minute:02d}:{second:02d}" + f".{micros:06d}"[: fsp + 1] * bool(fsp)
        return f"{date} {time}".strip()

    return show


def epoch(cell: Cell) -> str:
    return f"{cell['timestamp']}.{cell['millis']:06d}"


def as_float(cell: Cell) -> float:
    (value,) = struct.unpack("<f", struct.pack("<f", cell["value"]))
    return float(value)


def as_double(cell: Cell) -> float:
    return float(cell["value"])


def hexadecimal(cell: Cell) -> str:
    value = cell["value"]
    return (value.encode() if isinstance(value, str) else value).hex().upper()


# ---- cases ----

NUMBERS = ("0", "1", "-1")
IN_UTF8 = "HEX(CONVERT(c USING utf8))"


@dataclass(frozen=True)
class Case:
    """A column type, literals for it, and how the server shows what became of them."""

    definition: str
    literals: Sequence[str]
    shown: Callable[[Cell], Any] = number
    select: str = "c"
    converted: Callable[[str], Any] = str
    missing_before: str = ""
    """The column needs a server of this age: `5.6` for fractional seconds."""


def _integers() -> Iterable[Case]:
    for name, bits in (("TINYINT", 8), ("SMALLINT", 16), ("MEDIUMINT", 24), ("INT", 32), ("BIGINT", 64)):
        yield Case(name, [*NUMBERS, str(-(2 ** (bits - 1))), str(2 ** (bits - 1) - 1)])
        yield Case(f"{name} UNSIGNED", ["0", str(2 ** (bits - 1)), str(2**bits - 1)])
        yield Case(f"{name}(3) ZEROFILL", ["0", "7", str(2**bits - 1)], select="c + 0")
    yield Case("BOOLEAN", ["TRUE", "FALSE"])


def _fractions() -> Iterable[Case]:
    nines = "9" * 35 + "." + "9" * 30
    yield Case("DECIMAL(65,30)", [*NUMBERS, nines, f"-{nines}", "0." + "0" * 29 + "1"])
    yield Case("DECIMAL(65,0) UNSIGNED", ["0", "9" * 65])
    yield Case("DECIMAL(1,1)", ["0.9", "-0.9", "0.0"])
    yield Case("DECIMAL(10,2)", ["-0.00", "-0.01", "12345678.90"])
    smallest = ("1.1754943508222875e-38", "1.401298464324817e-45", "5.877471754111438e-39")
    floats = [*NUMBERS, "0.1", "-0.1", "3.4028234663852886e38", "16777216", "16777217", "1e10", "9.5367431640625e-7"]
    yield Case("FLOAT", [*floats, *smallest], as_float, "c + 0e0", float)
    yield Case("FLOAT UNSIGNED", ["0", "0.3"], as_float, "c + 0e0", float)
    yield Case("FLOAT(7,3)", ["1234.567", "-0.0005"], as_float, "c + 0e0", float)
    doubles = ["1.7976931348623157e308", "-2.2250738585072014e-308", "5e-324", "0.1", "9007199254740993"]
    yield Case("DOUBLE", [*NUMBERS, *doubles], as_double, "c", float)
    yield Case("DOUBLE(10,2)", ["0.125", "99999999.99"], as_double, "c", float)
    for bits in (1, 7, 8, 9, 16, 17, 24, 25, 32, 33, 40, 41, 48, 49, 56, 57, 63, 64):
        yield Case(f"BIT({bits})", ["0", "1", str(2**bits - 1), str(2 ** (bits - 1))], select="c + 0")


def _moments() -> Iterable[Case]:
    days = ("0000-00-00", "0000-01-00", "2021-00-00", "2021-02-00", "2021-02-31", "0001-01-01", "1000-01-01")
    dates = [f"'{day}'" for day in (*days, "2024-02-29", "9999-12-31")]
    yield Case("DATE", dates, datetime_text())
    yield Case("YEAR", ["0", "'0000'", "1901", "2000", "2155"], datetime_text())
    times = ["'00:00:00'", "'-00:00:01'", "'838:59:59'", "'-838:59:59'", "'-01:00:00'", "'23:59:59'", "'100:00:00'"]
    moments = ["'0000-00-00 00:00:00'", "'2021-00-00 01:02:03'", "'1000-01-01'", "'9999-12-31 23:59:59'"]
    stamps = ["'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2000-02-29 12:00:00'"]
    seconds = "UNIX_TIMESTAMP(c)"
    yield Case("TIME", times, datetime_text())
    yield Case("DATETIME", moments, datetime_text())
    yield Case("TIMESTAMP NULL", stamps, epoch, seconds, lambda text: f"{text}.000000")
    for fsp in range(1, 7):
        nines, ones = "9" * fsp, "0" * (fsp - 1) + "1"
        fractions = [f"'-00:00:00.{ones}'", f"'-838:59:58.{nines}'", f"'838:59:58.{nines}'", f"'-01:00:00.{nines}'"]
        yield Case(f"TIME({fsp})", [*times, *fractions], datetime_text(fsp), missing_before="5.6")
        fine = [*moments, f"'9999-12-31 23:59:59.{nines}'", f"'2021-02-31 00:00:00.{ones}'"]
        yield Case(f"DATETIME({fsp})", fine, datetime_text(fsp), missing_before="5.6")
        fine = [*stamps, f"'2038-01-19 03:14:07.{nines}'", f"'1970-01-01 00:00:01.{ones}'"]
        yield Case(
            f"TIMESTAMP({fsp}) NULL",
            fine,
            epoch,
            seconds,
            lambda text: f"{text}.000000" if "." not in text else f"{text:0<{text.index('.') + 7}}",
            "5.6",
        )


def _texts() -> Iterable[Case]:
    spaces = ["''", "' '", "'a'", "'a   '", "'  a'"]
    for length in (0, 1, 63, 64, 255):
        fits = spaces[:1] if length == 0 else spaces[:3] if length == 1 else [*spaces, f"REPEAT('订', {length})"]
        yield Case(f"CHAR({length}) CHARACTER SET utf8mb4", fits, hexadecimal, "HEX(c)")
    yield Case("CHAR(255) CHARACTER SET latin1", [*spaces, "REPEAT('é', 255)"], hexadecimal, "HEX(c)")
    for length in (0, 63, 64, 255, 256, 5000):
        fits = ["''"] if length == 0 else ["''", "'a  '", f"REPEAT('订', {length})"]
        yield Case(f"VARCHAR({length}) CHARACTER SET utf8mb4", fits, hexadecimal, "HEX(c)")
    for name, longest in (("TINY", 255), ("", 65535), ("MEDIUM", 70000), ("LONG", 70000)):
        texts = ["''", "'订单  '", f"REPEAT('a', {longest})"]
        yield Case(f"{name}TEXT CHARACTER SET utf8mb4", texts, hexadecimal, "HEX(c)")
        blobs = ["''", "0x00", "0x61200000", "0xFF00FE", f"REPEAT(0x00, {longest})"]
        yield Case(f"{name}BLOB", blobs, hexadecimal, "HEX(c)")
    for length in (0, 1, 2, 255):
        fits = ["''"] if length == 0 else ["''", "0x00", "0x20"]
        if length > 1:
            fits += ["0x0061", "0x6100", f"REPEAT(0xFF, {length})"]
        yield Case(f"BINARY({length})", fits, hexadecimal, "HEX(c)")
    for length in (1, 255, 256):
        yield Case(f"VARBINARY({length})", ["''", "0x00", f"REPEAT(0x00, {length})"], hexadecimal, "HEX(c)")


def _labels() -> Iterable[Case]:
    odd = ("a", "B ", "x,y", "it''s", '"q"', "back\\\\slash", "订单", "é", "")
    listed = ", ".join(f"'{label}'" for label in odd)
    values = [f"'{label}'" for label in odd] + ["'no such label'", "1", "8"]
    for charset in ("utf8mb4", "ucs2", "utf16", "utf32"):
        yield Case(f"ENUM({listed}) CHARACTER SET {charset}", values, hexadecimal, IN_UTF8)
    yield Case("ENUM('ä', '订') CHARACTER SET gbk", ["'订'"], hexadecimal, IN_UTF8)
    yield Case("ENUM('ä', 'ÿ', '€') CHARACTER SET latin1", ["'ä'", "'ÿ'", "'€'"], hexadecimal, IN_UTF8)
    for count in (1, 255, 256, 300):
        members = ", ".join(f"'l{index}'" for index in range(count))
        yield Case(f"ENUM({members})", ["'l0'", f"'l{count - 1}'"], hexadecimal, IN_UTF8)
    for count in (1, 8, 9, 16, 17, 24, 25, 32, 33, 64):
        members = ", ".join(f"'l{index}'" for index in range(count))
        every = ",".join(f"l{index}" for index in range(count))
        yield Case(f"SET({members})", ["''", "'l0'", f"'l{count - 1}'", f"'{every}'"], hexadecimal, IN_UTF8)
    yield Case("SET('é', '订 ', 'x') CHARACTER SET utf8mb4", ["'x,é'", "'订,x'"], hexadecimal, IN_UTF8)


CASES = {
    "integers": _integers,
    "fractions": _fractions,
    "moments": _moments,
    "texts": _texts,
    "labels": _labels,
}


def _has_fractional_seconds(server: LiveServer) -> bool:
    return not server.version.startswith("5.5")


def assert_what_a_select_shows(server: LiveServer, cases: Iterable[Case], *statements: str) -> None:
    """One table after the other with the values of a case; a value that the server changes counts as changed."""
    database = server.fresh_database()
    with closing(server.connect(database=database, charset="utf8mb4", conv={}, autocommit=True)) as connection:
        cursor = connection.cursor()
        for sql in ("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'", "SET SESSION time_zone = '+00:00'", *statements):
            cursor.execute(sql)
        for case in cases:
            cursor.execute("DROP TABLE IF EXISTS t")
            cursor.execute(f"CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, c {case.definition}, n INT)")
            cursor.execute("FLUSH BINARY LOGS")
            file, _ = server.binlog_position()
            for literal in (*case.literals, "NULL"):
                cursor.execute(f"INSERT INTO t (c, n) VALUES ({literal}, 4711)")
            cursor.execute("SHOW CREATE TABLE t")
            ((_, create_sql),) = cursor.fetchall()
            cursor.execute(f"SELECT {case.select} FROM t ORDER BY id")
            wanted = [None if value is None else case.converted(value) for (value,) in cursor.fetchall()]
            images = [record["afterImages"] for record in records_of(server, file, create_sql, database)]
            shown = [None if cell is None else case.shown(cell) for _, cell, _ in images]
            assert shown == wanted, case.definition
            assert [after["value"] for _, _, after in images] == ["4711"] * len(wanted), case.definition


@pytest.mark.parametrize("group", CASES)
def test_records_say_what_a_select_shows(every_server: LiveServer, group: str) -> None:
    cases = [case for case in CASES[group]() if not case.missing_before or _has_fractional_seconds(every_server)]
    assert_what_a_select_shows(every_server, cases)


def test_mariadbs_own_format_of_times_says_the_same(mariadb1011: LiveServer) -> None:
    with mariadb1011.global_variable("mysql56_temporal_format", "OFF"):
        assert_what_a_select_shows(mariadb1011, CASES["moments"]())


# ---- character sets ----

SAMPLES = ("abc ~", "é", "Ω", "ж", "订单", "日本", "한글", "ก", "א", "ş", "€", "\\\\~¥", "😀")


def test_every_character_set_by_its_name_and_its_bytes(every_server: LiveServer) -> None:
    server, database = every_server, every_server.fresh_database()
    with closing(server.connect(database=database, charset="utf8mb4", autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute("SHOW CHARACTER SET")
        names = [row[0] for row in cursor.fetchall() if row[0] != "filename"]
        assert len(names) > 30
        for name in names:
            cursor.execute("DROP TABLE IF EXISTS t")
            types = "v VARCHAR(20) CHARACTER SET {0}, c CHAR(20) CHARACTER SET {0}, x TEXT CHARACTER SET {0}"
            cursor.execute(f"CREATE TABLE t ({types.format(name)}, e ENUM('a', 'b') CHARACTER SET {name})")
            cursor.execute("FLUSH BINARY LOGS")
            file, _ = server.binlog_position()
            for sample in SAMPLES:
                cursor.execute("INSERT INTO t VALUES (%s, %s, %s, 'b')", (sample, sample, sample))
            cursor.execute("SELECT HEX(v), HEX(c), HEX(x), CONVERT(e USING utf8mb4) FROM t")
            wanted = cursor.fetchall()
            columns = "SELECT character_set_name FROM information_schema.columns WHERE column_name = 'v'"
            cursor.execute(f"{columns} AND table_schema = %s", (database,))
            ((reported,),) = cursor.fetchall()
            cursor.execute("SHOW CREATE TABLE t")
            ((_, create_sql),) = cursor.fetchall()
            images = [record["afterImages"] for record in records_of(server, file, create_sql, database)]
            binary = name == "binary"
            shown = [(*map(hexadecimal, image[:3]), image[3]["value"]) for image in images]
            assert shown == list(wanted), name
            for image in images:
                assert [cell.get("charset") for cell in image[:3]] == [reported] * 3, name
                assert [cell["class"] for cell in image[:3]] == ["BinaryObject" if binary else "Character"] * 3, name


LABELS = ("é", "€", "Ω", "ж", "订", "日", "한", "ก", "א", "ş", "～", "—", "¥", "Ա", "ა", "ł", "\\\\", "ﾊ", "①", "№")


@pytest.mark.parametrize("kind", ["mysql97", "mariadb1011"])
def test_labels_of_every_character_set_fit_those_in_full_row_metadata(server_factory: Any, kind: str) -> None:
    server = server_factory(kind, "--binlog-row-metadata=FULL")
    database = server.fresh_database()
    with closing(server.connect(database=database, charset="utf8mb4", autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW CHARACTER SET")
        for name in [row[0] for row in cursor.fetchall()]:
            labels = []
            for label in LABELS:
                cursor.execute(f"SELECT CONVERT(CONVERT('{label}' USING {name}) USING utf8mb4) = BINARY '{label}'")
                labels += [label] if cursor.fetchone() == (1,) else []
            listed = ", ".join(f"'{label}'" for label in ("a", *labels))
            cursor.execute("DROP TABLE IF EXISTS t")
            cursor.execute(
                f"CREATE TABLE t (e ENUM({listed}) CHARACTER SET {name}, s SET({listed}) CHARACTER SET {name})"
            )
            cursor.execute("FLUSH BINARY LOGS")
            file, _ = server.binlog_position()
            cursor.execute(f"INSERT INTO t VALUES ({len(labels) + 1}, 1), (1, {2 ** len(labels) + 1})")
            cursor.execute("SELECT CONVERT(e USING utf8mb4), CONVERT(s USING utf8mb4) FROM t")
            wanted = cursor.fetchall()
            cursor.execute("SHOW CREATE TABLE t")
            ((_, create_sql),) = cursor.fetchall()
            images = [record["afterImages"] for record in records_of(server, file, create_sql, database)]
            assert tuple(tuple(cell["value"] for cell in image) for image in images) == wanted, name


# ---- row images that lack columns ----

ABSENT = {"class": "EmptyObject", "symbol": "NONE"}


def shown_cells(images: list[Any] | None) -> list[Any] | None:
    """Values, None for NULL and … for what is absent."""
    if images is None:
        return None
    return [None if cell is None else ... if cell == ABSENT else cell["value"] for cell in images]


@pytest.mark.parametrize("row_image", ["MINIMAL", "NOBLOB"])
async def test_absent_columns_are_never_invented(world: World, server: LiveServer, row_image: str) -> None:
    """With row_image = "any" a record has what the image has; whole images of other sessions are as always."""
    database = server.fresh_database()
    types = "id INT PRIMARY KEY AUTO_INCREMENT, a INT DEFAULT 7, b VARCHAR(9), x TEXT, n INT NOT NULL DEFAULT 5"
    await run(
        server,
        f"CREATE TABLE {database}.t ({types}) CHARACTER SET utf8mb4",
        f"CREATE TABLE {database}.keyless (a INT, b INT)",
    )
    channel = live(world, server, database, row_image="any")
    async with running(channel):
        connection = await asyncio.to_thread(server.connect, database=database, autocommit=True)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(f"SET SESSION binlog_row_image = {row_image}")
            cursor.execute("INSERT INTO t (b) VALUES ('one'), (NULL)")
            cursor.execute("UPDATE t SET a = a + 1 WHERE id = 1")
            cursor.execute("UPDATE t SET x = 'text', n = 6 WHERE id = 2")
            cursor.execute("DELETE FROM t WHERE id = 1")
            cursor.execute("INSERT INTO keyless VALUES (1, NULL)")
            cursor.execute("UPDATE keyless SET b = 2")
            cursor.execute("DELETE FROM keyless")
            cursor.execute("SET SESSION binlog_row_image = FULL")
            cursor.execute("UPDATE t SET a = 9")
        await caught_up(world, server, channel)
    rows = [record.fields for record in world.records() if isinstance(record.fields["fields"], list)]
    assert all(len(row["fields"]) == (5 if row["objectName"].endswith(".t") else 2) for row in rows)
    shown = [(row["operation"], shown_cells(row["beforeImages"]), shown_cells(row["afterImages"])) for row in rows]
    one, text = b"one", b"text"
    first, second = ["1", "7", one, None, "5"], ["2", "7", None, None, "5"]
    true: list[tuple[str, list[Any] | None, list[Any] | None]] = [
        ("INSERT", None, first),
        ("INSERT", None, second),
        ("UPDATE", first, ["1", "8", one, None, "5"]),
        ("UPDATE", second, ["2", "7", None, text, "6"]),
        ("DELETE", ["1", "8", one, None, "5"], None),
        ("INSERT", None, ["1", None]),
        ("UPDATE", ["1", None], ["1", "2"]),
        ("DELETE", ["1", "2"], None),
        ("UPDATE", ["2", "7", None, text, "6"], ["2", "9", None, text, "6"]),
    ]
    for (operation, *found), (wanted, *images) in zip(shown, true, strict=True):
        assert operation == wanted
        for image, whole in zip(found, images, strict=True):
            assert (image is None) == (whole is None)
            assert all(cell in (..., value) for cell, value in zip(image or [], whole or [], strict=True))
    assert shown[-1] == true[-1], "a session with FULL images among the others"
    before, after = shown[3][1:]
    assert before is not None
    assert after is not None
    assert before[0] == "2"
    assert after[3:] == [text, "6"]
    assert before.count(...) == (4 if row_image == "MINIMAL" else 1)
    assert shown[4] == ("DELETE", ["1", *[...] * 4] if row_image == "MINIMAL" else ["1", "8", one, ..., "5"], None)


async def test_images_that_lack_columns_stop_a_channel_and_any_continues_it(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY, a INT, b INT)")
    channel = live(world, server, database)
    async with running(channel):
        connection = await asyncio.to_thread(server.connect, database=database, autocommit=True)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (1, 1, 1)")
            cursor.execute("SET SESSION binlog_row_image = MINIMAL")
            cursor.execute("UPDATE t SET a = 2")
        status = await needs_action(channel)
    assert status.reason is not None
    assert (
        f"A row image of {database}.t lacks the columns a, b, as its session had a binlog_row_image other than FULL; "
        'set it to FULL on the source, and give the channel row_image = "any" to go on'
    ) in status.reason
    assert world.operations() == ["BEGIN", "INSERT", "COMMIT"]
    channel = live(world, server, database, row_image="any")
    async with running(channel):
        await caught_up(world, server, channel)
    assert world.operations() == ["BEGIN", "INSERT", "COMMIT", "BEGIN", "UPDATE", "COMMIT"]
    changed = world.records()[4].fields
    assert shown_cells(changed["beforeImages"]) == ["1", ..., ...]
    assert shown_cells(changed["afterImages"]) == [..., "2", ...]


# ---- columns that statements do not name ----


@dataclass(frozen=True)
class Unnamed:
    """A table with columns that no INSERT names: where it can be, its definition, and all columns of a record."""

    kinds: tuple[str, ...]
    definition: str
    columns: tuple[str, ...]
    setting: str = ""


MYSQL8 = ("mysql97",)
GENERATED = ("mysql97", "mariadb1011", "mariadb105", "mariadb118")
UNNAMED = {
    "virtual and stored": Unnamed(
        GENERATED,
        "(a INT PRIMARY KEY, b VARCHAR(9), v VARCHAR(20) AS (CONCAT(b, '!')) VIRTUAL, s INT AS (a * 2) STORED, z INT)",
        ("a", "b", "v", "s", "z"),
    ),
    "virtual and indexed": Unnamed(
        GENERATED,
        "(a INT PRIMARY KEY, b VARCHAR(9), v VARCHAR(20) AS (UPPER(b)) VIRTUAL, z INT, KEY (v))",
        ("a", "b", "v", "z"),
    ),
    "virtual of every size": Unnamed(
        GENERATED,
        "(a INT PRIMARY KEY, b VARCHAR(9), t TEXT AS (REPEAT(b, 300)) VIRTUAL, "
        "d DECIMAL(9,2) AS (a / 3) VIRTUAL, z INT)",
        ("a", "b", "t", "d", "z"),
    ),
    "invisible": Unnamed(
        ("mysql97", "mariadb1011", "mariadb105", "mariadb118"),
        "(a INT PRIMARY KEY, b VARCHAR(9), i INT INVISIBLE DEFAULT 8, z INT)",
        ("a", "b", "i", "z"),
    ),
    "functional index": Unnamed(
        MYSQL8,
        "(a INT PRIMARY KEY, b VARCHAR(9), z INT, KEY f ((UPPER(b))), UNIQUE KEY g (a, (z + 1)))",
        ("a", "b", "z"),
    ),
    "multi-valued index": Unnamed(
        MYSQL8,
        "(a INT PRIMARY KEY, b VARCHAR(9), z INT, j VARCHAR(30) DEFAULT '[1, 2]', "
        "KEY f ((CAST(CAST(j AS JSON) AS UNSIGNED ARRAY))))",
        ("a", "b", "z", "j"),
    ),
    "generated primary key": Unnamed(
        MYSQL8,
        "(a INT, b VARCHAR(9), z INT)",
        ("my_row_id", "a", "b", "z"),
        "SET SESSION sql_generate_invisible_primary_key = ON",
    ),
    "row hash of a long unique key": Unnamed(
        ("mariadb1011", "mariadb105", "mariadb118"),
        "(a INT PRIMARY KEY, b VARCHAR(9), x TEXT DEFAULT 'x', z INT, UNIQUE KEY (x, b))",
        ("a", "b", "x", "z"),
    ),
}


def hidden_columns_left_out(record: dict[str, Any], columns: Sequence[str]) -> list[Any]:
    """The cells of these columns; what is beyond them is MariaDB's own."""
    names = [found["name"] for found in record["fields"]]
    assert [name for name in names if not name.startswith("DB_ROW_HASH_")] == list(columns)
    return [cell for name, cell in zip(names, record["afterImages"], strict=True) if name in columns]


@pytest.mark.parametrize("case", UNNAMED)
def test_columns_that_statements_do_not_name_are_in_the_records(every_server: LiveServer, case: str) -> None:
    server, unnamed = every_server, UNNAMED[case]
    if server.kind not in unnamed.kinds:
        pytest.skip(f"{server.version} has no such columns")
    database = server.fresh_database()
    with closing(server.connect(database=database, charset="utf8mb4", conv={}, autocommit=True)) as connection:
        cursor = connection.cursor()
        if unnamed.setting:
            cursor.execute(unnamed.setting)
        cursor.execute(f"CREATE TABLE t {unnamed.definition}")
        cursor.execute("SHOW CREATE TABLE t")
        ((_, create_sql),) = cursor.fetchall()
        cursor.execute("FLUSH BINARY LOGS")
        file, _ = server.binlog_position()
        cursor.execute("INSERT INTO t (a, b, z) VALUES (1, 'one', 3), (2, NULL, NULL)")
        cursor.execute("UPDATE t SET b = 'two', z = 2 WHERE a = 2")
        cursor.execute(f"SELECT {', '.join(unnamed.columns)} FROM t ORDER BY a")
        wanted = [tuple(None if value is None else str(value) for value in row) for row in cursor.fetchall()]
    records = records_of(server, file, create_sql, database)
    shown = []
    for record in records:
        cells = hidden_columns_left_out(record, unnamed.columns)
        values = [None if cell is None else cell["value"] for cell in cells]
        shown.append(tuple(value.decode() if isinstance(value, bytes) else value for value in values))
    assert [record["operation"] for record in records] == ["INSERT", "INSERT", "UPDATE"]
    assert [shown[0], shown[2]] == wanted
