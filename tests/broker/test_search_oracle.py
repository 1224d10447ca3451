"""Every filter against a brute-force reading of all records, decoded by fastavro.

The oracle knows no bytes: it compares decoded values, in its own words.
"""

from __future__ import annotations

import itertools
import tempfile
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.operations.records import Condition
from broker.search.filters import FilterMaker
from broker.search.protocol import Log, Question
from broker.search.records import KINDS
from broker.search.searching import ALL_KINDS, Searcher
from tests.broker import search_logs
from tests.broker.search_logs import Row

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "contains", "starts with", "is null", "is not null")
KIND_BITS = {kind: 1 << number for number, kind in enumerate(KINDS)}

texts = st.sampled_from(
    ["", "a", "A", "ab", "12", "12.50", "茶", "茶杯", "ö", "~", "№", "x" * 300, "2024-03-01", "0x41", "é"]
)
cells: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.just(search_logs.ABSENT),
    st.sampled_from([-1, 0, 7, 12, 2**63]).map(search_logs.integer),
    st.sampled_from(["0.00", "-0.50", "12.50", "12.00", "-12.5", "0.10"]).map(search_logs.decimal),
    st.sampled_from([0.0, -0.0, 1.5, 12.0, 1e20, 0.1]).map(search_logs.double),
    texts.map(search_logs.text),
    st.sampled_from([("茶".encode("gbk"), "gbk"), ("é".encode("cp1252"), "latin1"), ("a".encode("utf-16-be"), "utf16"),
                     (b"\xff\xfe", "utf8mb4"), ("№".encode("cp932"), "cp932"), (b"\xfa\x59", "cp932"), (b"~", "ujis"),
                     (b"a", "no_such")]).map(lambda pair: search_logs.text(*pair)),
    st.sampled_from([b"", b"A", b"\0\1", b"\xff", b"ab", "茶".encode()]).map(search_logs.binary),
    st.sampled_from(["a", "茶", "12", "x,y"]).map(search_logs.label),
    st.sampled_from([(0, 0), (1709251200, 0), (1709251200, 500000), (1, 0)]).map(lambda at: search_logs.timestamp(*at)),
    st.sampled_from([
        (2024, 3, 1, 0, 0, 0, 0), (2024, 3, 1, 9, 15, 0, 0), (2024, 3, 1, 9, 15, 0, 1), (0, 0, 0, 0, 0, 0, 0),
        (2024, 3, 1, None, None, None, None), (2024, None, None, None, None, None, None),
        (None, None, None, 9, 15, 0, 0), (None, None, None, -9, -15, 0, -500000), (None, None, None, 0, 0, 0, 0),
    ]).map(lambda values: search_logs.parts(*values)),
)  # fmt: skip
values = st.one_of(
    texts,
    st.sampled_from([
        "12", "12.5", "012.500", "-0", "0", "0.1", "1e20", "-12.5", "1.5", "7", "9223372036854775808", "0xff", "0x0001",
        "2024-03-01", "2024-03-01 09:15:00", "2024-03-01T00:00:00Z", "2024-03-01 08:00:00+08:00",
        "2024-03-01 00:00:00.5", "0000-00-00 00:00:00", "0000-00-00", "2024", "09:15:00", "-09:15:00.5", "00:00", "abc",
        "1970-01-01 00:00:01 UTC", "-", "inf", "nan", "2024-02", ":", "UTC", "e",
    ]),
)  # fmt: skip
conditions = st.builds(
    lambda column, operator, value: Condition(column, operator, None if "null" in operator else value),
    st.sampled_from(["c0", "c1", "missing"]),
    st.sampled_from(OPERATORS),
    values,
)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    number = draw(st.integers(0, 99))
    seconds = search_logs.FIRST_S + draw(st.integers(0, 5))
    operation = draw(st.sampled_from(["INSERT", "UPDATE", "DELETE", "DDL", "BEGIN", "COMMIT", "HEARTBEAT"]))
    if operation == "DDL":
        name = draw(st.sampled_from(["shop", None]))
        return search_logs.record(number, operation, name, ddl="CREATE TABLE t (a INT)", seconds=seconds)
    if operation not in {"INSERT", "UPDATE", "DELETE"}:
        return search_logs.record(number, operation, seconds=seconds)
    columns = draw(st.sampled_from([("c0",), ("c0", "c1"), ("c1", "茶", "c0")]))
    images = [{column: draw(cells) for column in columns} for _ in range(2)]
    return search_logs.record(
        number,
        operation,
        draw(st.sampled_from(["shop.orders", "shop.a\\u002Eb", "crm.orders"])),
        before=None if operation == "INSERT" else images[0],
        after=None if operation == "DELETE" else images[1],
        seconds=seconds,
        keys={"PRIMARY": ["c0"]},
    )


questions = st.builds(
    Question,
    st.sets(st.sampled_from(sorted(KIND_BITS)), min_size=1).map(lambda kinds: sum(KIND_BITS[kind] for kind in kinds))
    | st.just(ALL_KINDS),
    st.sampled_from([None, None, "shop", "crm", "nobody"]),
    st.sampled_from([None, None, "orders", "a.b"]),
    st.lists(conditions, max_size=2).map(tuple),
    st.none() | st.integers(0, 5).map(lambda second: (search_logs.FIRST_S + second) * 1000),
    st.none() | st.integers(0, 5).map(lambda second: (search_logs.FIRST_S + second) * 1000),
)


def everything(searcher: Searcher, log: Log, question: Question, limit: int, slice_s: float) -> list[int]:
    """All that is found, page after page."""
    found: list[int] = []
    before: int | None = log.high_watermark
    for _ in range(1000):
        assert before is not None
        answer = searcher.search(log, question, before, limit, slice_s)
        assert len(answer.records) <= limit
        assert 0 <= answer.searched_bytes <= answer.total_bytes
        assert not answer.damages
        found += search_logs.offsets(answer.records)
        before = answer.before
        if before is None:
            assert answer.searched_bytes == answer.total_bytes
            return found
    raise AssertionError("the search does not come to an end")


def make_filters(searcher: Searcher, log: Log) -> int:
    """Filters of all closed segments, and of the last as far as there are groups; how many are closed."""
    assert FilterMaker(searcher).run(log, 60.0)
    closed = [segment for segment in searcher.segments(log, log.high_watermark) if segment.found is not None]
    for segment in closed:
        covered = searcher.filter_of(segment)
        assert covered is not None
        assert covered.covered_end == segment.size_bytes
    return len(closed)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(records(), min_size=1, max_size=25),
    st.lists(questions, min_size=1, max_size=6),
    st.sampled_from(["none", "gzip", "snappy", "lz4"]),
    st.integers(1, 7),
    st.sampled_from([1, 3, 1000]),
    st.booleans(),
)
def test_what_is_found_is_what_an_oracle_finds(
    log_records: list[dict[str, Any]],
    asked: list[Question],
    codec: str,
    batch_records: int,
    limit: int,
    with_filters: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log, rows = search_logs.write_log(
            Path(folder) / "t-0", log_records, codec=codec, batch_records=batch_records, segment_bytes=1500
        )
        searcher = Searcher()
        if with_filters:
            make_filters(searcher, log)
        for question, slice_s in itertools.product(asked, (0.0, 60.0)):
            expected = [row.offset for row in reversed(rows) if fits(question, row)]
            assert everything(searcher, log, question, limit, slice_s) == expected


# ---- the oracle ----


def fits(question: Question, row: Row) -> bool:
    record = row.record
    if not KIND_BITS[record["operation"]] & question.kinds:
        return False
    if not (question.from_ms or 0) <= row.timestamp_ms <= (question.to_ms or 1 << 60):
        return False
    names = [part.replace("\\u002E", ".") for part in (record["objectName"] or "").split(".")]
    if question.database is not None and (not record["objectName"] or names[0] != question.database):
        return False
    if question.table is not None and names[1:] != [question.table]:
        return False
    if not question.conditions:
        return True
    columns = [field["name"] for field in record["fields"] or []]
    present = [record[name] for name in ("beforeImages", "afterImages") if columns and record[name]]
    images = [dict(zip(columns, image, strict=True)) for image in present]
    return any(
        all(each.column in image and cell_fits(each, image[each.column]) for each in question.conditions)
        for image in images
    )


def cell_fits(condition: Condition, cell: dict[str, Any] | None) -> bool:
    operator, value = condition.operator, condition.value or ""
    if cell is None:
        return operator == "is null"
    if cell["class"] == "EmptyObject" or operator == "is null":
        return False
    if operator == "is not null":
        return True
    if operator in {"contains", "starts with"}:
        whole, part = shown(cell), value if isinstance(shown(cell), str) else as_bytes(value)
        return bool(whole.startswith(part) if operator == "starts with" else part in whole)
    left, right = comparable(cell, value)
    if right is None:
        return operator == "!="
    return bool(
        {"=": left == right, "!=": left != right, "<": left < right, "<=": left <= right, ">": left > right,
         ">=": left >= right}[operator]
    )  # fmt: skip


def as_bytes(value: str) -> bytes:
    if value[:2] == "0x":
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            pass
    return value.encode()


CODECS = {
    "utf8mb4": "utf-8",
    "gbk": "gbk",
    "latin1": "cp1252",
    "utf16": "utf-16-be",
    "cp932": "cp932",
    "ujis": "euc_jp",
}


def as_text(cell: dict[str, Any]) -> str | bytes:
    if cell["class"] == "TextObject":
        return str(cell["value"])
    content: bytes = cell["value"]
    if cell["class"] == "Character" and cell["charset"] in CODECS:
        try:
            return content.decode(CODECS[cell["charset"]])
        except UnicodeDecodeError:
            pass
    return content


def shown(cell: dict[str, Any]) -> Any:
    kind = cell["class"]
    if kind in {"Integer", "Decimal"}:
        return cell["value"]
    if kind == "Float":
        return str(cell["value"])
    if kind == "Timestamp":
        from datetime import UTC, datetime

        if cell["timestamp"] == cell["millis"] == 0:
            return "0000-00-00 00:00:00 UTC"
        fraction = f".{cell['millis']:06d}" if cell["millis"] else ""
        return datetime.fromtimestamp(cell["timestamp"], UTC).strftime("%Y-%m-%d %H:%M:%S") + fraction + " UTC"
    if kind == "DateTime":
        year, month, day, hour, minute, second, fraction = (cell[name] for name in PARTS)
        texts = []
        if year is not None:
            texts.append(f"{year:04d}" + ("" if month is None else f"-{month:02d}-{day:02d}"))
        if hour is not None:
            sign = "-" if min(hour, minute, second, fraction) < 0 else ""
            after_point = f".{abs(fraction):06d}" if fraction else ""
            texts.append(f"{sign}{abs(hour):02d}:{abs(minute):02d}:{abs(second):02d}{after_point}")
        return " ".join(texts)
    return as_text(cell)


PARTS = ("year", "month", "day", "hour", "minute", "second", "millis")


def number(value: str) -> Decimal | None:
    try:
        found = Decimal(value)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def comparable(cell: dict[str, Any], value: str) -> tuple[Any, Any]:
    """The cell and the value as the same kind of thing; None for a value that is none of it."""
    kind = cell["class"]
    if kind in {"Integer", "Decimal"}:
        return Decimal(cell["value"]), number(value)
    if kind == "Float":
        return cell["value"], None if number(value) is None else float(value)
    if kind == "Timestamp":
        instants = {
            "2024-03-01": 1709251200, "2024-03-01 09:15:00": 1709284500, "2024-03-01T00:00:00Z": 1709251200,
            "2024-03-01 08:00:00+08:00": 1709251200, "2024-03-01 00:00:00.5": 1709251200.5,
            "0000-00-00 00:00:00": 0, "0000-00-00": 0, "1970-01-01 00:00:01 UTC": 1,
        }  # fmt: skip
        return cell["timestamp"] + cell["millis"] / 1e6, instants.get(value)
    if kind == "DateTime":
        return times(cell, value)
    text = as_text(cell)
    return text, value if isinstance(text, str) else as_bytes(value)


def times(cell: dict[str, Any], value: str) -> tuple[Any, Any]:
    year, month, *_ = values = [cell[name] for name in PARTS]
    if year is None:
        known = {"09:15:00": (9, 15, 0, 0), "-09:15:00.5": (-9, -15, 0, -500000), "00:00": (0, 0, 0, 0)}
        return tuple(values[3:]), known.get(value)
    if month is None:
        return year, number(value)
    moments = {
        "2024-03-01": (2024, 3, 1, 0, 0, 0, 0), "2024-03-01 09:15:00": (2024, 3, 1, 9, 15, 0, 0),
        "2024-03-01T00:00:00Z": (2024, 3, 1, 0, 0, 0, 0), "2024-03-01 08:00:00+08:00": (2024, 3, 1, 8, 0, 0, 0),
        "2024-03-01 00:00:00.5": (2024, 3, 1, 0, 0, 0, 500000), "0000-00-00 00:00:00": (0,) * 7,
        "0000-00-00": (0,) * 7, "1970-01-01 00:00:01 UTC": (1970, 1, 1, 0, 0, 1, 0),
    }  # fmt: skip
    return tuple(part or 0 for part in values), moments.get(value)
