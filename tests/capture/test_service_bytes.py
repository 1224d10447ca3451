"""The service's captures, made again byte for byte from the same statements on a live server.

Each statement runs on a real server and comes out of the real channel. What no two servers have in common is named in
`VOLATILE` and `VOLATILE_TAGS` and replaced by what the capture says; then the bytes are those of the captured record,
both written by an encoder that is not ours (fastavro, with the service's own schema). Of maps the service fixes no
order, nor of the keys in `pk_uk_info`: both are written sorted.
"""

from __future__ import annotations

import asyncio
import functools
import io
import json
import re
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture.recorded import SHARED
from tests.capture.test_service_captures import ITEM_NULLS, SAMPLES, capture
from tests.capture.world import World, running, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.live_server import LiveServer

CLOCK = SystemClock()
SCHEMA = SHARED / "data" / "record.avsc"
POSITION = r"\d+@\d+"

VOLATILE: dict[str, tuple[str, str]] = {
    "id": (r"\d+", "counts the records of a stream"),
    "sourceTimestamp": (r"\d{10}", "when the statement ran"),
    "bornTimestamp": (r"\d{10}", "when the statement ran"),
    "sourcePosition": (POSITION, "where in the server's binlog"),
    "safeSourcePosition": (POSITION, "where in the server's binlog"),
    "source": (r"\{'sourceType': 'MySQL', 'version': '[\d.]+(-\w+)*'\}", "the server's version"),
}
"""Fields that differ: what they look like, and why they differ."""

VOLATILE_TAGS: dict[str, tuple[str, str]] = {
    "GTID": (r"[\da-f-]{36}:\d+", "the server's, and how many transactions it had"),
    "GTID_SET": (r"[\da-f-]{36}:1-\d+", "the server's, and how many transactions it had"),
    "commitTimestamp": (r"\d{10}", "when the statement ran"),
    "readerThroughoutTime": (r"\d{13}", "when it was read"),
    "server_id": (r"\d+", "the server's"),
    "thread_id": (r"\d+", "the connection's"),
    "metaVersion": (r"\d{1,10}", "a hash of the definition, which the service computes in a way of its own"),
}
NOT_OURS = {
    "l_db_name": "only on sources sharded by the service's own middleware",
    "l_tb_name": "only on sources sharded by the service's own middleware",
}
"""Tags of the captures that no record of ours can have."""
SINCE_2023 = {
    "version": "a build number until 2023, 0 since",
    "bornTimestamp": "absent until 2023",
    "metaVersion": "absent until 2023",
}
"""What the capture of 2021 has otherwise: in it these are taken over from our record."""

pytestmark = pytest.mark.skipif(not SAMPLES.exists() or not SCHEMA.exists(), reason=f"{SHARED} is absent")

DDL_STATEMENTS = (
    "USE mydb",
    "SET NAMES utf8",
    "SET sql_mode = 1168113696",
    "create table t1(a bigint primary key, b varchar(100))",
)
ITEM_TYPES = {8: "BIGINT", 12: "DATETIME", 253: "VARCHAR(255)", 246: "DECIMAL(10,2)", 3: "INT", 1: "TINYINT"}
ITEM_VALUES = {8: "7", 12: "'2021-09-29 21:22:25'", 253: "'牙'", 3: "7", 1: "0"}
ITEM_DECIMALS = {"sold_price": "348.00", "mark_price": "1050.00", "pay_ratio": "1.00"}


# ---- the captured records ----


@functools.cache
def schema() -> Any:
    return fastavro.parse_schema(json.loads(SCHEMA.read_text("utf-8")))


def encoded(record: dict[str, Any]) -> bytes:
    """The bytes of a record in fastavro's own form."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema(), record)
    return stream.getvalue()


def decoded(value: bytes) -> dict[str, Any]:
    stream = io.BytesIO(value)
    record: Any = fastavro.schemaless_reader(stream, schema(), None, return_record_name=True)
    assert stream.tell() == len(value)
    return dict(record)


def union(cell: dict[str, Any] | None) -> Any:
    """A captured cell as fastavro takes it."""
    if cell is None:
        return None
    content = {name: value for name, value in cell.items() if name != "class"}
    if cell["class"] == "Character":
        content["value"] = content["value"].encode()
    return "com.alibaba.dts.formats.avro." + cell["class"], content


def captured(index: int) -> dict[str, Any]:
    """A captured record, complete, in fastavro's form."""
    record = capture(index)
    record = {name: value for name, value in record.items() if name != "imageFacts"}
    for name in ("beforeImages", "afterImages"):
        if isinstance(record.get(name), list):
            record[name] = [union(cell) for cell in record[name]]
    record.setdefault("processTimestamps", None)
    record.setdefault("bornTimestamp", record["sourceTimestamp"])
    return record


def item() -> dict[str, Any]:
    """The captured UPDATE with 28 columns: its texts are not public, its cells' facts are; the texts are ours."""
    facts, record = capture(5)["imageFacts"], captured(5)
    cells: list[dict[str, Any] | None] = []
    for entry in record["fields"]:
        name, number = entry["name"], entry["dataTypeNumber"]
        if name in ITEM_NULLS:
            cells.append(None)
        elif number == 246:
            cells.append(next(cell for cell in facts["decimal"] if cell["value"] == ITEM_DECIMALS[name]))
        elif number == 12:
            moment = {"year": 2021, "month": 9, "day": 29, "hour": 21, "minute": 22, "second": 25}
            cells.append({"class": "DateTime", **moment, "millis": facts["datetime"]["millis"]})
        elif number == 253:
            cells.append({**facts["varchar"], "value": "牙"})
        else:
            kind = {8: "bigint", 3: "int", 1: "tinyint"}[number]
            cells.append({"value": ITEM_VALUES[number], **facts[kind]})
    after = [union(cell) for cell in cells]
    before = list(after)
    before[[entry["name"] for entry in record["fields"]].index("prop")] = union({**facts["varchar"], "value": "x"})
    return {**record, "beforeImages": before, "afterImages": after}


# ---- the statements ----


def item_statements() -> list[str]:
    """Which of its texts the captured UPDATE changed is not public; ours changes `prop`."""
    fields = [(entry["name"], entry["dataTypeNumber"]) for entry in capture(5)["fields"]]
    columns = ", ".join(
        f"{name} {ITEM_TYPES[number]}{' NOT NULL' * (name in ('id', 'item_code'))}" for name, number in fields
    )
    given = {**dict.fromkeys(ITEM_NULLS, "NULL"), **ITEM_DECIMALS, "prop": "'x'"}
    values = ", ".join(given.get(name) or ITEM_VALUES[number] for name, number in fields)
    keys = "PRIMARY KEY (id), UNIQUE KEY uk_item_code (item_code)"
    return [
        f"CREATE TABLE dental.item ({columns}, {keys}) DEFAULT CHARSET=utf8mb4",
        f"INSERT INTO dental.item VALUES ({values})",
        "UPDATE dental.item SET prop = '牙'",
    ]


def statements() -> list[str]:
    sharded, _, order = capture(4)["objectName"].partition(".")
    return [
        *DDL_STATEMENTS,
        "INSERT INTO t1 VALUES (123456789, 'test insert statement.')",
        "UPDATE t1 SET b = 'test update statement.'",
        "DELETE FROM t1",
        (
            f"CREATE TABLE {sharded}.{order} (id INT PRIMARY KEY, seller_id INT, trade_id INT, buyer_id INT,"
            " buyer_nick VARCHAR(64) CHARACTER SET utf8)"
        ),
        f"INSERT INTO {sharded}.{order} VALUES (10000, 11, 122, 33, 'aaas')",
        *item_statements(),
    ]


def is_ddl(record: dict[str, Any]) -> bool:
    return record["operation"] == "DDL" and str(record["afterImages"]).startswith("create table t1")


async def records_of(server: LiveServer, folder: Path, statements: Sequence[str]) -> list[bytes]:
    """The values of the records that the statements make, through a channel on the server."""
    world = World(folder, CLOCK)
    databases = "mydb", "dental", capture(4)["objectName"].partition(".")[0]
    server.execute_all(*(f"CREATE DATABASE {name} CHARACTER SET utf8mb4" for name in databases))
    address = SourceAddress.parse(server.url())
    channel = world.channel(lambda: open_source(address, 4740, CLOCK), *databases, url=server.url(), start="now")
    async with running(channel):
        with server.connect() as connection, connection.cursor() as cursor:
            for sql in statements:
                await asyncio.to_thread(cursor.execute, sql)
        file, position = await asyncio.to_thread(server.binlog_position)
        end = int(file.rpartition(".")[2]), position

        def reached() -> bool:
            found = world.log.recovered
            return found is not None and (found.file_number, found.position) >= end

        await until(world, reached)
    values = [record.value for record in world.records()]
    await world.close()
    return values


# ---- comparing ----


def fixed(ours: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Our record with the volatile fields of the captured one, each of them having the look it must have."""
    for name, (look, _) in VOLATILE.items():
        assert re.fullmatch(look, str(ours[name])), name
    assert ours["bornTimestamp"] == ours["sourceTimestamp"]
    tags = dict(ours["tags"])
    assert tags.get("commitTimestamp", str(ours["sourceTimestamp"])) == str(ours["sourceTimestamp"])
    for name, (look, _) in VOLATILE_TAGS.items():
        if name in tags:
            assert re.fullmatch(look, tags[name]), name
            tags[name] = wanted["tags"].get(name, tags[name])
    return {**ours, **{name: wanted[name] for name in VOLATILE}, "tags": tags}


def in_order(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its maps sorted."""
    tags = dict(sorted(record["tags"].items()))
    if "pk_uk_info" in tags:
        tags["pk_uk_info"] = json.dumps(json.loads(tags["pk_uk_info"]), sort_keys=True, separators=(",", ":"))
    return {**record, "tags": tags}


def as_since_2023(wanted: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The captured record of 2021 with what came later, which the captures of 2023 have."""
    assert ours["version"] == capture(1)["version"]
    taken = {name: ours[name] for name in SINCE_2023.keys() & ours.keys()}
    tags = {name: ours["tags"][name] for name in SINCE_2023.keys() & ours["tags"].keys()}
    assert taken.keys() | tags.keys() == SINCE_2023.keys()
    return {**wanted, **taken, "tags": {**wanted["tags"], **tags}}


def of_table(operation: str, table: str) -> Callable[[dict[str, Any]], bool]:
    return lambda record: record["operation"] == operation and record["objectName"] == table


def same_bytes(values: Sequence[bytes], pick: Callable[[dict[str, Any]], bool], wanted: dict[str, Any]) -> None:
    (value,) = [value for value in values if pick(decoded(value))]
    ours = decoded(value)
    assert encoded(ours) == value, "our own encoder writes what fastavro writes"
    wanted = {**wanted, "tags": {name: text for name, text in wanted["tags"].items() if name not in NOT_OURS}}
    assert encoded(in_order(fixed(ours, wanted))) == encoded(in_order(wanted))


async def test_the_five_captured_rows_byte_for_byte(server_factory: Callable[..., LiveServer], tmp_path: Path) -> None:
    server = await asyncio.to_thread(server_factory, "mysql97")
    values = await records_of(server, tmp_path, statements())
    for index, operation in ((1, "INSERT"), (2, "UPDATE"), (3, "DELETE")):
        same_bytes(values, of_table(operation, "mydb.t1"), captured(index))
    sharded = captured(4)
    same_bytes(values, of_table("INSERT", sharded["objectName"]), sharded)
    picked = of_table("UPDATE", "dental.item")
    (ours,) = [record for record in map(decoded, values) if picked(record)]
    same_bytes(values, picked, as_since_2023(item(), ours))


async def test_the_ddl_byte_for_byte(server_factory: Callable[..., LiveServer], tmp_path: Path) -> None:
    """On a server with lower_case_table_names = 1, as the captured one had it; MySQL 8.0+ takes that at birth only."""
    options = ("--lower-case-table-names=1", "--gtid-mode=ON", "--enforce-gtid-consistency", "--log-slave-updates")
    server = await asyncio.to_thread(server_factory, "mysql56", *options)
    same_bytes(await records_of(server, tmp_path, DDL_STATEMENTS), is_ddl, captured(0))
