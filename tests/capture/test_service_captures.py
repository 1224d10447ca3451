"""Records captured from the service, made again from binlog events of the same statements.

Positions come out by themselves: each file is written so that the statement's TABLE_MAP starts where the capture says,
and the end of its rows event must then be where the capture says. What cannot be equal is named in `VOLATILE`.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from capture import avro
from capture.encode import EventEncoder
from capture.envelope import ControlRecords, RecordHead
from capture.events import Checksum, EventDecoder, QueryEvent, QueryStatus, RowsEvent, TableMapEvent
from capture.table import Column, Key, TableVersion
from capture.transcoder import Transcoder
from tests.capture.recorded import SHARED
from tests.capture.row_cases import table_of, text_column

SAMPLES = SHARED / "reference" / "dts-samples.jsonl"
VOLATILE = {
    "metaVersion": "a hash of the definition, which the service computes in a way of its own",
    "l_db_name": "only on sources sharded by the service's own middleware",
    "l_tb_name": "only on sources sharded by the service's own middleware",
}
"""Tags that differ, and why. Everything else of a captured record must be equal."""
BEFORE_2023 = {"version": "a build number until 2023, 0 since", "bornTimestamp": "absent until 2023"}


def capture(index: int) -> dict[str, Any]:
    if not SAMPLES.exists():
        pytest.skip(f"{SAMPLES} is absent")
    record: dict[str, Any] = json.loads(SAMPLES.read_text("utf-8").splitlines()[index])["record"]
    return record


def position_of(text: str) -> int:
    return int(text.partition("@")[0])


def made_again(wanted: dict[str, Any], table: TableVersion, before: list[Any] | None, after: list[Any] | None) -> Any:
    """The record our way from the row images, through encoder, decoder and transcoder."""
    encoder = EventEncoder(
        server_id=int(wanted["tags"]["server_id"]),
        server_version=wanted["source"]["version"],
        rows_version=1,
        position=position_of(wanted["safeSourcePosition"]),
    )
    decoder = EventDecoder(Checksum.CRC32)
    timestamp = wanted["sourceTimestamp"]
    _, table_map = decoder.decode(encoder.table_map(timestamp, table, 1))
    assert isinstance(table_map, TableMapEvent)
    if before is None:
        raw = encoder.write_rows(timestamp, table, 1, [after or []])
    elif after is None:
        raw = encoder.delete_rows(timestamp, table, 1, [before])
    else:
        raw = encoder.update_rows(timestamp, table, 1, [(before, after)])
    header, rows = decoder.decode(raw)
    assert isinstance(rows, RowsEvent)
    file_number = wanted["sourcePosition"].partition("@")[2]
    head = RecordHead(
        header.timestamp,
        f"{header.end_position}@{file_number}",
        wanted["safeSourcePosition"],
        int(wanted["tags"]["thread_id"]),
        header.server_id,
        int(wanted["tags"]["readerThroughoutTime"]),
    )
    (record,) = Transcoder(table, table_map, wanted["source"]["version"]).transcode(rows, head, wanted["id"])
    return avro.decode(record)


def readable(images: Any) -> Any:
    """Images with the bytes of Character as text, as the captures print them."""
    if not isinstance(images, list):
        return images
    return [cell and {name: _text(value) for name, value in cell.items()} for cell in images]


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def assert_same(ours: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Field by field, tags as a set, but for VOLATILE; of `wanted` only what the capture shows."""
    for name in wanted.keys() - {"tags"}:
        assert readable(ours[name]) == wanted[name], name
    assert tags(ours) == tags(wanted)
    assert ours["tags"].keys() >= wanted["tags"].keys() - {"l_db_name", "l_tb_name"}


def tags(record: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in record["tags"].items() if name not in VOLATILE}
    return {name: json.loads(value) if name == "pk_uk_info" else value for name, value in kept.items()}


T1 = table_of(
    Column("a", "bigint", nullable=False),
    text_column("b", length=100),
    name="t1",
    database="mydb",
    keys=(Key("PRIMARY", ("a",), True),),
)
BEFORE, AFTER = [123456789, "test insert statement."], [123456789, "test update statement."]


@pytest.mark.parametrize(("index", "before", "after"), [(1, None, BEFORE), (2, BEFORE, AFTER), (3, AFTER, None)])
def test_insert_update_and_delete_of_the_python_demo(index: int, before: Any, after: Any) -> None:
    wanted = capture(index)
    assert_same(made_again(wanted, T1, before, after), wanted)


def test_the_ddl_of_the_python_demo() -> None:
    wanted = capture(0)
    given = wanted["tags"]
    status = QueryStatus(
        flags2=int(given["Q_FLAGS2_CODE"]),
        sql_mode=int(given["Q_SQL_MODE_CODE"]),
        charset_client=int(given["Q_CHARSET_CODE"]),
        collation_connection=33,
        collation_server=255,
    )
    encoder = EventEncoder(server_id=int(given["server_id"]), server_version=wanted["source"]["version"])
    raw = encoder.query(
        wanted["sourceTimestamp"],
        "create table t1(a bigint primary key, b varchar(100))",
        database="mydb",
        thread_id=int(given["thread_id"]),
        status=status,
    )
    header, event = EventDecoder(Checksum.CRC32).decode(raw)
    assert isinstance(event, QueryEvent)
    read_ms = int(given["readerThroughoutTime"])
    position = wanted["sourcePosition"]
    head = RecordHead(header.timestamp, position, position, event.thread_id, header.server_id, read_ms)
    record = ControlRecords(wanted["source"]["version"]).ddl(
        wanted["id"],
        head,
        database=event.database,
        sql=event.sql.decode(),
        gtid=given["GTID"],
        gtid_set=given["GTID_SET"],
        status=event.status,
        commit_timestamp=None,
        lower_case_table_names=True,
    )
    ours = avro.decode(record)
    assert_same(ours, wanted)
    assert ours["tags"].keys() == given.keys()


def test_the_insert_of_a_sharded_source() -> None:
    wanted = capture(4)
    numbers = [Column(name, "int", nullable=name != "id") for name in ("id", "seller_id", "trade_id", "buyer_id")]
    nick = Column("buyer_nick", "varchar", charset="utf8mb3", collation="utf8mb3_general_ci", length=64)
    database, _, name = wanted["objectName"].partition(".")
    table = table_of(*numbers, nick, name=name, database=database, keys=(Key("PRIMARY", ("id",), True),))
    assert_same(made_again(wanted, table, None, [10000, 11, 122, 33, "aaas"]), wanted)


ITEM_NULLS = {"origin_sku_id", "origin_type", "origin_sku_info", "origin_sku_pro_name", "origin_sku_price"}
ITEM_DECIMALS = {"sold_price": "348.00", "mark_price": "1050.00", "pay_ratio": "1.00"}


def item_column(name: str, number: int) -> Column:
    nullable = name not in {"id", "item_code"}
    data_type = {8: "bigint", 12: "datetime", 253: "varchar", 246: "decimal", 3: "int", 1: "tinyint"}[number]
    if data_type == "varchar":
        return text_column(name, length=255, nullable=nullable)
    precision = (10, 2) if data_type == "decimal" else (None, None)
    return Column(name, data_type, precision=precision[0], scale=precision[1], nullable=nullable)


def item_value(column: Column) -> Any:
    if column.name in ITEM_NULLS:
        return None
    if column.data_type == "decimal":
        return Decimal(ITEM_DECIMALS[column.name])
    return {"bigint": 7, "int": 7, "tinyint": 0, "varchar": "牙", "datetime": "2021-09-29 21:22:25"}[column.data_type]


def test_the_update_with_28_columns_has_the_captures_structure() -> None:
    wanted = capture(5)
    columns = [item_column(field["name"], field["dataTypeNumber"]) for field in wanted["fields"]]
    keys = Key("PRIMARY", ("id",), True), Key("uk_item_code", ("item_code",), True)
    table = table_of(*columns, name="item", database="dental", keys=keys)
    row = [item_value(column) for column in columns]
    ours = made_again(wanted, table, row, row)
    shown = {"imageFacts", "sourcePosition", *BEFORE_2023}
    assert_same(ours, {name: value for name, value in wanted.items() if name not in shown})
    facts = wanted["imageFacts"]
    decimals = iter(facts["decimal"])
    for image in (ours["beforeImages"], ours["afterImages"]):
        assert len(image) == 28
        for column, cell in zip(columns, image, strict=True):
            assert_fact(column, cell, facts)
    sent = [cell for cell in ours["afterImages"] if cell and cell["class"] == "Decimal"]
    assert sent == list(decimals)


def assert_fact(column: Column, cell: dict[str, Any] | None, facts: dict[str, Any]) -> None:
    """What the capture tells of cells of this type."""
    if column.name in ITEM_NULLS:
        assert cell is None
        assert column.name in facts["null"]
        return
    assert cell is not None
    if column.data_type == "datetime":
        assert cell["class"] == facts["datetime"]["class"]
        assert None not in cell.values()
        assert cell["millis"] == facts["datetime"]["millis"]
    elif column.data_type != "decimal":
        assert cell.items() >= facts[column.data_type].items()
