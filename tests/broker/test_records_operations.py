"""`search_records`, `show_record` and the download of a value, as everything calls them: by `operation.call`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.operations.operation import Caller, OperationError, Refusal, builtins, call
from broker.operations.plane import ControlPlane, LoggedAudit
from broker.operations.records import SearchResult, download_value
from broker.operations.table import BY_NAME
from broker.search.protocol import Log
from broker.search.service import SearchService
from broker.search.shown import DETAIL_BYTES_MAX, ROW_BYTES_MAX, detail_of
from capture import avro
from storage.clock import SystemClock
from tests.broker import search_logs
from tests.broker.search_logs import FIRST_S, record

OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=", "contains", "starts with")
CALLER = Caller("tests", "api", "127.0.0.1")
EMOJI = "🎋 <b>&amp;</b> \u202e\x07"


class Place(NamedTuple):
    plane: ControlPlane
    log: Log


RECORDS = [
    *search_logs.orders(200),
    record(200, "BEGIN", seconds=FIRST_S + 200),
    record(
        201, "UPDATE", "shop.t\\u002Ex",
        before={"id": search_logs.integer(1), "名": search_logs.text(EMOJI), "b": search_logs.binary(b"\xff\0"),
                "n": None},
        after={"id": search_logs.integer(1), "名": search_logs.text("é".encode("cp1252"), "latin1"),
               "b": search_logs.binary(b"\xff\0"), "n": search_logs.ABSENT},
        seconds=FIRST_S + 200, keys={"uk": ["b"], "PRIMARY": ["id", "名"]},
    ),
    record(202, "INSERT", "shop.broken", seconds=FIRST_S + 200,
           after={"u": search_logs.text(b"ok \xff\xfe"), "big": search_logs.text("茶" * 100_000),
                  "g": search_logs.text(b"x", "no_such")}),
    record(203, "DDL", "shop", ddl="CREATE TABLE `🎋` (a INT)", seconds=FIRST_S + 201,
           tags={"commitTimestamp": "1709284701", "Q_SQL_MODE_CODE": "1436549152", "Q_CHARSET_CODE": "45"}),
    record(204, "COMMIT", seconds=FIRST_S + 201),
]  # fmt: skip


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    log, rows = await asyncio.to_thread(search_logs.write_log, tmp_path / "t-0", RECORDS)
    view = SimpleNamespace(
        id="shop", topic="t", start_timestamp_ms=rows[0].timestamp_ms, end_timestamp_ms=rows[-1].timestamp_ms
    )
    reader = SimpleNamespace(log_start_offset=0, high_watermark=log.high_watermark)
    channels = SimpleNamespace(
        # Of this channel alone: to view all of them takes longer than a search may hold the loop.
        view={"shop": view, "new": SimpleNamespace(**{**vars(view), "id": "new", "topic": "none"})}.__getitem__,
        find_log=lambda topic: reader if topic == "t" else None,
    )
    plane = ControlPlane(clock=SystemClock(), channels=cast("Any", channels), audit=LoggedAudit())
    plane.search = SearchService()
    plane.topic_directory = lambda topic: tmp_path / f"{topic}-0"
    yield Place(plane, log)
    await plane.search.close()


async def search(place: Place, **asked: Any) -> SearchResult:
    found = await call(place.plane, BY_NAME["search_records"], {"channel_id": "shop", **asked}, CALLER)
    assert isinstance(found, SearchResult)
    builtins(found)
    return found


async def show(place: Place, offset: int) -> Any:
    return await call(place.plane, BY_NAME["show_record"], {"channel_id": "shop", "offset": offset}, CALLER)


async def test_without_a_question_the_last_records_of_the_last_minute(place: Place) -> None:
    found = await search(place)
    assert [row.kind for row in found.records[:4]] == ["DDL", "INSERT", "UPDATE", "INSERT"]
    assert len(found.records) == 20
    assert (found.range_start_ms, found.range_end_ms) == (FIRST_S * 1000, (FIRST_S + 201) * 1000)
    everything = await search(place, limit=500)
    assert {row.timestamp_ms >= (FIRST_S + 141) * 1000 for row in everything.records} == {True}
    assert everything.cursor is None
    assert everything.is_complete
    assert len((await search(place, from_ms=0, limit=500)).records) == 203


async def test_pages_go_on_by_their_cursor_and_a_cursor_belongs_to_its_question(place: Place) -> None:
    pages, cursor = [], None
    while True:
        found = await search(place, table="orders", limit=30, cursor=cursor)
        pages.append([row.offset for row in found.records])
        cursor = found.cursor
        if cursor is None:
            break
        with pytest.raises(OperationError, match="belongs to another search"):
            await search(place, table="others", limit=30, cursor=cursor)
    assert [offset for page in pages for offset in page] == list(range(199, -1, -1))
    for wrong in ("", "x", "1.2.3", "1.2.3.4.5", "9" * 99, "1.-.-.4", "1...4", "٣.٣.٣.٣"):
        with pytest.raises(OperationError, match="belongs to another search"):
            await search(place, cursor=wrong)


async def test_a_row_of_the_list(place: Place) -> None:
    (row,) = (await search(place, database="shop", table="t.x")).records
    assert (row.offset, row.record_id, row.database, row.table) == (201, 1201, "shop", "t.x")
    assert (row.kind, row.checkpoint, row.timestamp_ms) == ("UPDATE", "201@7", (FIRST_S + 200) * 1000)
    assert [(key.column, key.value.text) for key in row.primary_key] == [("id", "1"), ("名", "é")]


async def test_all_of_an_update(place: Place) -> None:
    shown = await show(place, 201)
    number, name, data, nothing = shown.fields
    assert (number.is_key, number.is_changed, number.type_name, number.charset) == (True, False, "INT32", None)
    assert (name.is_key, name.is_changed, name.charset) == (True, True, "utf8mb4")
    assert (name.before.text, name.after.text) == (EMOJI, "é")
    assert (data.before.kind, data.before.text, data.is_changed, data.type_name) == ("bytes", "ff00", False, "BLOB")
    assert (nothing.before.kind, nothing.after.kind, nothing.is_changed) == ("null", "absent", False)
    assert shown.ddl is None
    assert shown.context is None


async def test_broken_text_is_bytes_and_large_text_is_cut_at_a_character(place: Place) -> None:
    broken, large, unknown = (await show(place, 202)).fields
    assert (broken.after.kind, broken.after.text) == ("bytes", b"ok \xff\xfe".hex())
    assert (unknown.after.kind, unknown.after.text) == ("bytes", "78")
    assert (large.after.kind, large.after.bytes_total, large.after.is_cut) == ("text", 300_000, True)
    assert set(large.after.text) == {"茶"}
    assert 64 * 1024 - 3 < len(large.after.text.encode()) <= 64 * 1024
    assert large.before is None
    pieces = [piece async for piece in download_value(place.plane, "shop", 202, 1, is_after=True)]
    assert b"".join(piece.data or b"" for piece in pieces).decode() == "茶" * 100_000
    assert (pieces[0].is_text, pieces[0].charset, pieces[0].bytes_total) == (True, "utf8mb4", 300_000)


@pytest.mark.parametrize("cell", [search_logs.binary(bytes(40_000)), search_logs.text("x" * 80_000)])
def test_all_values_of_a_record_together_are_shown_up_to_a_limit(cell: dict[str, Any]) -> None:
    columns = {f"c{number}": cell for number in range(ROW_BYTES_MAX // DETAIL_BYTES_MAX + 10)}
    value = avro.encode(record(1, "INSERT", "shop.wide", after=columns))
    found = [field.after for field in detail_of(value, 0, len(value), 0, 0).fields]
    assert sum(len(shown.text or "") for shown in found if shown) == ROW_BYTES_MAX
    assert {shown.is_cut for shown in found if shown} == {True}


async def test_a_value_is_downloaded_as_a_file(place: Place) -> None:
    asked = {"channel_id": "shop", "offset": 201, "index": 1, "side": "after"}
    file = await call(place.plane, BY_NAME["download_value"], asked, CALLER)
    assert (file.name, file.media_type, file.size_bytes) == ("record-201-1-after.txt", "application/octet-stream", 1)
    assert b"".join([piece async for piece in file.pieces]) == "é".encode("cp1252")
    with pytest.raises(OperationError, match="there is no such value"):
        await call(place.plane, BY_NAME["download_value"], {**asked, "index": 3}, CALLER)


async def test_a_ddl_has_its_context(place: Place) -> None:
    shown = await show(place, 203)
    assert shown.ddl == "CREATE TABLE `🎋` (a INT)"
    assert shown.context == "SET TIMESTAMP=1709284701;SET @@session.sql_mode=1436549152;SET names utf8mb4;"
    assert shown.tags["Q_CHARSET_CODE"] == "45"
    assert shown.fields == ()


async def test_what_is_refused(place: Place) -> None:
    refused = [
        ({"conditions": [{"column": "a", "operator": "="}]}, "needs a value"),
        ({"conditions": [{"column": "a", "operator": "is null", "value": "1"}]}, "takes no value"),
        ({"limit": 501}, "<= 500"),
        ({"kinds": ["ROLLBACK"]}, "Invalid enum value"),
        ({"from_ms": 1 << 70}, "out of range|<= "),
        ({"database": "\ud800"}, "half of a character"),
    ]
    for asked, sentence in cast("list[tuple[dict[str, Any], str]]", refused):
        with pytest.raises(OperationError, match=sentence) as error:
            await search(place, **asked)
        assert error.value.refusal is Refusal.INVALID
    with pytest.raises(OperationError, match="there is no channel nobody") as error:
        await call(place.plane, BY_NAME["search_records"], {"channel_id": "nobody"}, CALLER)
    assert error.value.refusal is Refusal.NOT_FOUND
    for offset in (205, 1 << 60):
        with pytest.raises(OperationError, match="there is no record at offset") as error:
            await show(place, offset)
        assert error.value.refusal is Refusal.NOT_FOUND
    with pytest.raises(OperationError, match="there is no such value"):
        [piece async for piece in download_value(place.plane, "shop", 0, 99, is_after=True)]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=8), st.sampled_from(OPERATORS), st.text(max_size=30)), max_size=3),
    st.none() | st.text(max_size=8),
    st.none() | st.integers(-(10**15), 10**15),
    st.none() | st.integers(-(10**15), 10**15),
)
async def test_whatever_is_asked_is_answered_by_the_same_process(
    place: Place, asked: list[tuple[str, str, str]], table: str | None, from_ms: int | None, to_ms: int | None
) -> None:
    await search(place)
    process = place.plane.search.pid
    conditions = [{"column": column, "operator": operator, "value": value} for column, operator, value in asked]
    columns = [{**each, "column": "title"} for each in conditions]
    for question in (conditions, columns):
        found = await search(place, conditions=question, table=table, from_ms=from_ms, to_ms=to_ms)
        assert found.is_complete
    assert place.plane.search.pid == process


async def test_a_channel_without_a_log_has_no_records(place: Place) -> None:
    found = await call(place.plane, BY_NAME["search_records"], {"channel_id": "new"}, CALLER)
    assert (found.records, found.range_start_ms, found.is_complete) == ((), None, True)


async def test_a_search_in_vain_comes_to_an_end(place: Place) -> None:
    found = await search(place, conditions=[{"column": "title", "operator": "contains", "value": "nobody"}])
    assert (found.records, found.cursor, found.is_complete) == ((), None, True)
    assert found.searched_bytes == found.total_bytes > 0
