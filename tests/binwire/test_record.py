"""The public decoder of records: against bytes written out by hand, fastavro, the service's captures and a server."""

from __future__ import annotations

import ast
import contextlib
import datetime as dt
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binwire import record as record_module
from binwire import record_values
from binwire.record import OPERATIONS, SOURCE_TYPES, Column, RecordError, decode
from capture import avro, charsets
from storage.clock import SystemClock
from tests.capture.recorded import SHARED
from tests.capture.test_live_capture import caught_up, live
from tests.capture.world import World, running

SAMPLES = SHARED / "reference" / "dts-samples.jsonl"
UPDATE = bytes.fromhex(
    "00"  # version 0
    "96 01"  # id 75
    "80 c8 ce b4 0d"  # sourceTimestamp 1_800_000_000
    "08 39 39 40 37"  # sourcePosition 99@7
    "08 34 34 40 37"  # safeSourcePosition 44@7
    "02 30"  # sourceTxid
    "00 0c 38 2e 30 2e 33 36"  # MySQL, 8.0.36
    "02"  # UPDATE
    "02 10 73 68 6f 70 2e 61 2e 62"  # objectName, shop.a.b — a dot too many for this test's own sake
    "00"  # processTimestamps
    "02 14 70 6b 5f 75 6b 5f 69 6e 66 6f 24 7b 22 50 52 49 4d 41 52 59 22 3a 5b 22 69 64 22 5d 7d 00"
    "04 04 04 69 64 10 02 6e fa 03 00"  # fields: id 8, n 253
    "04 04 02 10 02 37 04 0e 75 74 66 38 6d 62 34 06 e8 8c b6 00"  # before: Integer 7, Character utf8mb4 茶
    "04 04 02 10 02 37 00 00"  # after: Integer 7, NULL
    "80 c8 ce b4 0d"  # bornTimestamp
)

AFTER = bytes.fromhex("04 04 02 10 02 37 00 00")


def written(**fields: Any) -> bytes:
    """A record by fastavro, an INSERT of one column unless told otherwise."""
    return avro.encode(
        {
            "version": 0,
            "id": 1,
            "sourceTimestamp": 2,
            "sourcePosition": "4@1",
            "safeSourcePosition": "4@1",
            "sourceTxid": "0",
            "source": {"sourceType": "MySQL", "version": "8.0.36"},
            "operation": "INSERT",
            "objectName": "d.t",
            "processTimestamps": None,
            "tags": {},
            "fields": [{"name": "c", "dataTypeNumber": 8}],
            "beforeImages": None,
            "afterImages": [None],
            "bornTimestamp": 2,
            **fields,
        }
    )


def value_of(cell: dict[str, Any]) -> Any:
    row = decode(written(afterImages=[cell])).after
    assert row is not None
    return row["c"]


def test_bytes_written_by_hand():
    found = decode(UPDATE, offset=3)
    assert (found.id, found.operation, found.timestamp_s, found.offset) == (75, "UPDATE", 1_800_000_000, 3)
    assert (found.position, found.safe_position, found.source_version) == ("99@7", "44@7", "8.0.36")
    assert (found.database, found.table) == ("shop", "a.b")
    assert found.columns == (Column("id", 8), Column("n", 253))
    assert [column.type_name for column in found.columns] == ["BIGINT", "VARCHAR"]
    assert (found.before, found.after) == ({"id": 7, "n": "茶"}, {"id": 7, "n": None})
    assert (found.primary_key, found.ddl) == (("id",), None)
    assert str(found) == "3 UPDATE shop.a.b 99@7 {'id': 7, 'n': '茶'} -> {'id': 7, 'n': None}"


def test_every_prefix_is_no_record_but_the_one_that_ended_records_before_2023():
    without_born = len(UPDATE) - 5
    for size in range(len(UPDATE)):
        if size == without_born:
            assert decode(UPDATE[:size]) == decode(UPDATE)
        else:
            with pytest.raises(RecordError, match=f"^{size} bytes are no "):
                decode(UPDATE[:size])
    with pytest.raises(RecordError, match="others follow"):
        decode(UPDATE + b"\x00")


def test_any_bytes_like_thing_is_taken():
    assert decode(bytearray(UPDATE)) == decode(memoryview(UPDATE)) == decode(UPDATE)


@given(st.data())
def test_damaged_bytes_are_refused_or_read_and_nothing_else(data: st.DataObject):
    damaged = bytearray(UPDATE)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RecordError):
        decode(damaged)


@pytest.mark.parametrize(
    ("damaged", "sentence"),
    [
        (b"\xff" * 12, "is too long"),
        (UPDATE.replace(b"\x0c8.0.36", b"\xfe\xff\xff\xff\x0f8.0.36"), "cannot follow"),
        (UPDATE.replace(b"\x02\x30\x00\x0c", b"\x02\x30\x80\x01\x0c"), "stands for none of MySQL"),
        (
            UPDATE.replace(b"\x04\x04\x02\x10\x02\x37\x00\x00", b"\x04\x04\x1a\x10\x02\x37\x00\x00"),
            "no class of values",
        ),
        (UPDATE.replace(AFTER, b"\x04\x02\x02\x10\x02\x37\x00"), "1 cells for 2 columns"),
        (UPDATE.replace(b"\xe8\x8c\xb6", b"\xe8\x8c\x36"), None),
    ],
)
def test_what_is_wrong_is_said(damaged, sentence):
    if sentence is None:
        row = decode(damaged).before
        assert row is not None
        assert row["n"] == b"\xe8\x8c6", "a text that is not valid in its character set stays bytes"
        return
    assert damaged != UPDATE
    with pytest.raises(RecordError, match=sentence):
        decode(damaged)


def test_blocks_with_their_sizes_are_read():
    fields = bytes.fromhex("04 04 04 69 64 10 02 6e fa 03 00")
    sized = bytes.fromhex("04 03 10 04 69 64 10 02 6e fa 03 00")
    assert decode(UPDATE.replace(fields, sized)) == decode(UPDATE)


def test_columns_that_change_are_not_taken_from_memory():
    names = [decode(written(fields=[{"name": name, "dataTypeNumber": 8}])).columns[0].name for name in "aba"]
    assert names == ["a", "b", "a"]


# ---- cells ----

PARTS = ("year", "month", "day", "hour", "minute", "second", "millis")


def moment(*parts: int | None) -> dict[str, Any]:
    return {"class": "DateTime", **dict(zip(PARTS, parts, strict=True))}


def plain(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell as `avro.encode` takes it: within another record there is no class."""
    if cell["class"] != "TimestampWithTimeZone":
        return cell
    return {**cell, "value": {name: cell["value"][name] for name in PARTS}}


NONE3, NONE4 = (None,) * 3, (None,) * 4
CELLS: list[tuple[dict[str, Any], Any]] = [
    ({"class": "Integer", "precision": 8, "value": "18446744073709551615"}, 2**64 - 1),
    ({"class": "Decimal", "value": "-0.050", "precision": 2, "scale": 3}, Decimal("-0.050")),
    ({"class": "Float", "value": 0.1, "precision": 8, "scale": 15}, 0.1),
    ({"class": "Character", "charset": "gbk", "value": b"\xb6\xa9"}, "订"),
    ({"class": "Character", "charset": "latin1", "value": b"\x80\x81\xff"}, "€\x81ÿ"),
    ({"class": "Character", "charset": "utf16", "value": b"\x6c\x34"}, "水"),
    ({"class": "Character", "charset": "utf8mb4", "value": b"\xff"}, b"\xff"),
    ({"class": "Character", "charset": "swe7", "value": b"a"}, b"a"),
    ({"class": "Timestamp", "timestamp": 1, "millis": 2}, dt.datetime(1970, 1, 1, 0, 0, 1, 2, tzinfo=dt.UTC)),
    ({"class": "Timestamp", "timestamp": 0, "millis": 0}, "0000-00-00 00:00:00"),
    (moment(2024, 2, 29, *NONE4), dt.date(2024, 2, 29)),
    (moment(0, 0, 0, *NONE4), "0000-00-00"),
    (moment(2024, 2, 0, *NONE4), "2024-02-00"),
    (moment(2024, 2, 29, 23, 59, 59, 999999), dt.datetime(2024, 2, 29, 23, 59, 59, 999999)),  # noqa: DTZ001
    (moment(0, 0, 0, 0, 0, 0, 0), "0000-00-00 00:00:00"),
    (moment(2023, 2, 31, 1, 2, 3, 4), "2023-02-31 01:02:03.000004"),
    (moment(*NONE3, -838, -59, -59, 0), -dt.timedelta(hours=838, minutes=59, seconds=59)),
    (moment(*NONE3, 0, 0, 0, 1), dt.timedelta(microseconds=1)),
    (moment(2155, *NONE3, *NONE3), 2155),
    (moment(0, *NONE3, *NONE3), 0),
    (
        {"class": "TimestampWithTimeZone", "value": moment(2024, 1, 2, 3, 4, 5, 0), "timezone": "UTC"},
        "2024-01-02 03:04:05 UTC",
    ),
    ({"class": "BinaryGeometry", "type": "WKB", "value": b"\x01"}, b"\x01"),
    ({"class": "TextGeometry", "type": "WKT", "value": "POINT(1 1)"}, "POINT(1 1)"),
    ({"class": "BinaryObject", "type": "BLOB", "value": b"\x00\xff"}, b"\x00\xff"),
    ({"class": "TextObject", "type": "ENUM", "value": "a,b"}, "a,b"),
    ({"class": "TextObject", "type": "SET", "value": "a,b"}, frozenset({"a", "b"})),
    ({"class": "TextObject", "type": "SET", "value": ""}, frozenset()),
    ({"class": "TextObject", "type": "JSON", "value": '{"a": [1, 0.1, null, "x"]}'}, {"a": [1, 0.1, None, "x"]}),
    ({"class": "TextObject", "type": "json", "value": "0.12345678901234567890"}, Decimal("0.12345678901234567890")),
    ({"class": "EmptyObject", "symbol": "NULL"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "value"), CELLS, ids=[f"{cell['class']}-{value!r:.20}" for cell, value in CELLS])
def test_a_cell_is_the_python_value(cell, value):
    found = value_of(plain(cell))
    assert found == value
    assert type(found) is type(value)


def test_a_column_that_the_image_lacks_is_left_out():
    fields = [{"name": name, "dataTypeNumber": 8} for name in "ab"]
    lacking = [{"class": "EmptyObject", "symbol": "NONE"}, {"class": "Integer", "precision": 8, "value": "1"}]
    assert decode(written(fields=fields, afterImages=lacking)).after == {"b": 1}


@pytest.mark.parametrize(
    "cell",
    [
        moment(2024, None, 1, *NONE4),
        moment(*NONE3, *NONE4),
        moment(*NONE3, 1, None, 1, 1),
        {"class": "Integer", "precision": 8, "value": "x"},
        {"class": "Decimal", "value": "1.2.3", "precision": 1, "scale": 1},
        {"class": "Timestamp", "timestamp": 1 << 60, "millis": 0},
        {"class": "TextObject", "type": "JSON", "value": "NaN"},
        {"class": "TextObject", "type": "JSON", "value": "[" * 100_000},
    ],
    ids=lambda cell: cell["class"],
)
def test_a_cell_that_no_column_has_is_refused(cell):
    with pytest.raises(RecordError):
        value_of(cell)


@pytest.mark.parametrize("branch", [b"\x04", b"\x03", b"\x12"])
def test_a_part_of_a_time_is_there_or_null(branch):
    record = written(afterImages=[moment(2024, 1, 2, *NONE4)])
    day = b"\x02\xd0\x1f\x02\x02\x02\x04"
    assert day in record
    with pytest.raises(RecordError, match="stands for none of null, a part of a time"):
        decode(record.replace(day, branch + day[1:]))


def test_every_character_set_of_a_server_is_decoded_as_it_was_encoded():
    """Those without a codec in Python stay bytes; of the others the letters that the server's own codec has."""
    names = {"armscii8", "binary", "dec8", "geostd8", "keybcs2", "swe7"}
    known = {charset.name for charset in charsets._ROWS}
    for name in sorted(known):
        content = "Az09".encode("utf-16-be" if name in ("ucs2", "utf16") else record_values.CODECS.get(name, "ascii"))
        found = value_of({"class": "Character", "charset": name, "value": content})
        assert found == (content if name in names else "Az09"), name


# ---- other opinions ----


def test_the_enums_are_those_of_the_schema():
    fields = {field["name"]: field["type"] for field in json.loads(avro.SCHEMA_FILE.read_text("utf-8"))["fields"]}
    assert list(OPERATIONS) == fields["operation"]["symbols"]
    assert list(SOURCE_TYPES) == fields["source"]["fields"][0]["type"]["symbols"]
    assert list(fields) == [
        *("version", "id", "sourceTimestamp", "sourcePosition", "safeSourcePosition", "sourceTxid", "source"),
        *("operation", "objectName", "processTimestamps", "tags", "fields", "beforeImages", "afterImages"),
        "bornTimestamp",
    ]
    union = fields["beforeImages"][2]["items"]
    assert len(record_values.READERS) == len(union)


RECORDS = st.fixed_dictionaries(
    {
        "version": st.integers(-(2**31), 2**31 - 1),
        "id": st.integers(-(2**63), 2**63 - 1),
        "sourceTimestamp": st.integers(0, 2**40),
        "sourcePosition": st.text(max_size=20),
        "source": st.fixed_dictionaries({"sourceType": st.sampled_from(SOURCE_TYPES), "version": st.text(max_size=9)}),
        "operation": st.sampled_from(OPERATIONS),
        "objectName": st.none() | st.just("a.b") | st.just("x\\u002Ey.z"),
        "processTimestamps": st.none() | st.lists(st.integers(0, 9), max_size=3),
        "tags": st.dictionaries(st.text(max_size=9), st.text(max_size=200), max_size=5),
        "bornTimestamp": st.integers(0, 2**40),
    }
)


@given(RECORDS, st.lists(st.sampled_from(CELLS), max_size=12), st.sampled_from(["none", "before", "after", "both"]))
def test_what_fastavro_writes_is_read(fields, cells, images):
    image = [plain(cell) for cell, _ in cells]
    columns = [{"name": f"c{index}", "dataTypeNumber": index} for index in range(len(cells))]
    before, after = (image if images in (side, "both") else None for side in ("before", "after"))
    found = decode(written(**fields, fields=columns, beforeImages=before, afterImages=after))
    row = {f"c{index}": value for index, (_, value) in enumerate(cells)}
    assert (found.before, found.after) == (None if before is None else row, None if after is None else row)
    assert (found.id, found.timestamp_s, found.position) == tuple(
        fields[name] for name in ("id", "sourceTimestamp", "sourcePosition")
    )
    assert (found.operation, found.tags) == (fields["operation"], fields["tags"])
    assert (found.source_type, found.source_version) == (fields["source"]["sourceType"], fields["source"]["version"])
    name = {None: (None, None), "a.b": ("a", "b"), "x\\u002Ey.z": ("x.y", "z")}[fields["objectName"]]
    assert (found.database, found.table) == name


def test_the_captures_of_the_service_are_read():
    if not SAMPLES.exists():
        pytest.skip(f"{SAMPLES} is absent")
    found = []
    for line in SAMPLES.read_text("utf-8").splitlines():
        sample = json.loads(line)
        if not sample.get("complete") or "beforeImages" not in sample["record"]:
            continue
        captured = sample["record"]
        for side in ("beforeImages", "afterImages"):
            for cell in captured[side] if isinstance(captured[side], list) else ():
                if cell is not None and cell["class"] == "Character":
                    cell["value"] = cell["value"].encode()
        found.append(decode(avro.encode({"bornTimestamp": 0, **captured})))
    assert {"DDL", "INSERT", "UPDATE", "DELETE"} <= {record.operation for record in found}
    assert all(record.table is not None and record.columns for record in found if record.operation != "DDL")


COLUMNS = {
    "a": ("TINYINT", "-128"),
    "b": ("BIGINT UNSIGNED", "18446744073709551615"),
    "c": ("DECIMAL(65,30)", "12345678901234567890123456789012345.000000000000000000000000000001"),
    "d": ("DOUBLE", "2.2250738585072014e-308"),
    "e": ("DATE", "'1000-01-01'"),
    "f": ("DATETIME(6)", "'9999-12-31 23:59:59.999999'"),
    "g": ("TIMESTAMP(3) NULL", "'2038-01-19 03:14:07.499'"),
    "h": ("TIME(6)", "'-838:59:59.000000'"),
    "i": ("YEAR", "2155"),
    "j": ("VARCHAR(20) CHARACTER SET latin1", "_utf8mb4'Grüße €'"),
    "k": ("VARCHAR(20) CHARACTER SET gbk", "_utf8mb4'龙井茶'"),
    "l": ("VARCHAR(20) CHARACTER SET sjis", "_utf8mb4'表示ソ'"),
    "m": ("VARCHAR(20) CHARACTER SET utf16", "_utf8mb4'😀水'"),
    "n": ("VARCHAR(20) CHARACTER SET euckr", "_utf8mb4'똠방각하'"),
    "o": ("TEXT", "'😀'"),
    "p": ("VARBINARY(20)", "x'00ff'"),
    "q": ("BLOB", "x'ff'"),
    "r": ("ENUM('x','y')", "'y'"),
    "s": ("SET('x','y','z')", "'x,z'"),
    "t": ("JSON", """'{"k": [1, 2.5, 12345678901234567890, true, null, "ü"]}'"""),
    "u": ("INT", "NULL"),
    "v": ("CHAR(9) CHARACTER SET koi8r", "_utf8mb4'Привет'"),
    "w": ("CHAR(9) CHARACTER SET cp1251", "_utf8mb4'Привет№'"),
    "x": ("CHAR(9) CHARACTER SET tis620", "_utf8mb4'สวัสดี'"),
    "y": ("CHAR(9) CHARACTER SET big5", "_utf8mb4'中文'"),
    "z": ("CHAR(9) CHARACTER SET ujis", "_utf8mb4'日本'"),
}


@pytest.mark.server("mysql97")
async def test_rows_of_a_server_are_the_values_that_its_driver_gives(mysql97, tmp_path):
    database = mysql97.fresh_database()
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    mysql97.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY, {columns})")
    world = World(tmp_path, SystemClock())
    try:
        async with running(live(world, mysql97, database)) as channel:
            values = ", ".join(text for _, text in COLUMNS.values())
            utc = mysql97.connect(database=database, init_command="SET time_zone = '+00:00'")
            with utc as connection, connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO t VALUES (1, {values})")
                cursor.execute("SELECT * FROM t")
                [selected] = cursor.fetchall()
            await caught_up(world, mysql97, channel)
        [inserted] = [decode(stored.value) for stored in world.records() if stored.operation == "INSERT"]
    finally:
        await world.close()
    assert inserted.after is not None
    found = dict(inserted.after)
    assert (inserted.database, inserted.table, inserted.primary_key) == (database, "t", ("id",))
    assert found["g"].tzinfo is dt.UTC
    found["g"] = found["g"].replace(tzinfo=None)
    found["s"] = ",".join(sorted(found["s"]))
    expected = dict(zip(("id", *COLUMNS), selected, strict=True))
    expected["t"] = json.loads(expected["t"])
    assert found == expected


# ---- what it needs ----


def test_only_the_standard_library_is_imported():
    for module in (record_module, record_values):
        assert module.__file__ is not None
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        tops = {name.partition(".")[0] for name in names}
        assert tops - {"binwire"} <= sys.stdlib_module_names
