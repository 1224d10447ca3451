"""Changes by call: transactions, places, times, values of every type and what is refused of them."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binwire.testing import AsyncEmbeddedBroker, Channel, EmbeddedBroker, EmbeddedBrokerError, Table, values
from broker.fixture import values as server_values

HANGZHOU = timezone(timedelta(hours=8))
ORDERS = "CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(40))"


@pytest.fixture
def channel(broker: EmbeddedBroker) -> Iterator[Channel]:
    with broker.channel(ORDERS) as channel:
        yield channel


def operations(channel: Channel) -> list[str]:
    """Of all records but the two statements that every channel here begins with."""
    return [str(record.operation) for record in channel.records()][2:]


# ---- transactions ----


def test_a_transaction_is_one_whatever_makes_its_changes(broker):
    channel = broker.channel()
    orders = channel.table(ORDERS)
    items = channel.table("CREATE TABLE items (id INT)")
    with channel.transaction(timestamp_s=1_700_000_000):
        orders.insert(id=1, note="first")
        channel.insert("items", {"id": 5}, {"id": 6}, timestamp_s=1_700_000_001)
        orders.update(({"id": 1, "note": "first"}, {"note": "second"}))
        items.delete(id=5)
        assert operations(channel) == ["DDL"]
    records = channel.records()[3:]
    assert [(record.operation, record.after) for record in records] == [
        ("BEGIN", None),
        ("INSERT", {"id": 1, "note": "first"}),
        ("INSERT", {"id": 5}),
        ("INSERT", {"id": 6}),
        ("UPDATE", {"id": 1, "note": "second"}),
        ("DELETE", None),
        ("COMMIT", None),
    ]
    assert [record.timestamp_s - 1_700_000_000 for record in records] == [0, 0, 1, 1, 0, 0, 0]


def test_an_exception_drops_a_transaction(channel):
    def insert(*rows: dict[str, Any], divisor: int = 1) -> None:
        with channel.transaction():
            for row in rows:
                channel.insert("orders", row)
            assert 1 // divisor

    with pytest.raises(ZeroDivisionError):
        insert({"id": 1}, divisor=0)
    with pytest.raises(EmbeddedBrokerError, match=r"test\.orders has no column pirce"):
        insert({"id": 1}, {"id": 2, "pirce": 3})
    with channel.transaction():
        pass
    assert operations(channel) == []
    channel.insert("orders", {"id": 1})
    assert operations(channel) == ["BEGIN", "INSERT", "COMMIT"]


def test_what_stands_between_transactions_is_refused_inside_one(channel):
    calls = (
        lambda: channel.ddl("DROP TABLE orders"),
        lambda: channel.table("CREATE TABLE t (id INT)"),
        channel.heartbeat,
        channel.rotate,
        lambda: channel.at(5, 4),
        lambda: channel.play("INSERT INTO orders VALUES (2)"),
        lambda: channel.replay("a recording"),
        channel.heartbeats,
    )
    with channel.transaction():
        channel.insert("orders", {"id": 1})
        for call in calls:
            with pytest.raises(EmbeddedBrokerError, match=r"stands between transactions; call it outside transaction"):
                call()
        with pytest.raises(EmbeddedBrokerError, match="cannot be nested"), channel.transaction():
            pass
    assert operations(channel) == ["BEGIN", "INSERT", "COMMIT"]


def test_a_transaction_holds_what_was_given_then(channel):
    row: dict[str, Any] = {"id": 1, "note": "then"}
    with channel.transaction():
        channel.insert("orders", row)
        row["note"] = "later"
    assert channel.records()[3].after == {"id": 1, "note": "then"}


def test_a_transaction_is_its_threads_own(broker, channel):
    other = broker.channel(ORDERS)
    with channel.transaction():
        channel.insert("orders", {"id": 1})
        other.insert("orders", {"id": 2})
        thread = threading.Thread(target=channel.insert, args=("orders", {"id": 3}))
        thread.start()
        thread.join()
        assert operations(other) == ["BEGIN", "INSERT", "COMMIT"]
        assert [record.after for record in channel.records()[2:]] == [None, {"id": 3, "note": None}, None]
    assert operations(channel) == ["BEGIN", "INSERT", "COMMIT"] * 2


async def test_the_same_for_asynchronous_code() -> None:
    async with AsyncEmbeddedBroker() as broker:
        channel = await broker.channel()
        orders = await channel.table(ORDERS)

        async def inside(first: int) -> None:
            async with channel.transaction():
                await orders.insert(id=first)
                await asyncio.sleep(0)
                await channel.insert("orders", {"id": first + 1})

        await asyncio.gather(inside(10), inside(20), orders.insert(id=30))
        with pytest.raises(EmbeddedBrokerError, match="call it outside"):
            async with channel.transaction():
                await channel.rotate()
        await channel.at(5, 500)
        await channel.heartbeat()
        records = (await channel.records())[2:]
    assert [record.position for record in records[-1:]] == ["500@5"]
    ids = [record.after["id"] if record.after else record.operation for record in records]
    alone = ids.index(30)
    assert ids[alone - 1 : alone + 2] == ["BEGIN", 30, "COMMIT"]
    for first in (10, 20):
        place = ids.index(first)
        assert ids[place - 1 : place + 3] == ["BEGIN", first, first + 1, "COMMIT"]


# ---- places and times ----


def test_places_are_chosen(channel):
    channel.at(78, 102_420)
    channel.heartbeat()
    channel.insert("orders", {"id": 1})
    channel.at(78, 5_000_000_000)
    channel.insert("orders", {"id": 2})
    channel.rotate()
    channel.heartbeat()
    records = channel.records()[2:]
    assert records[0].position == "102420@78"
    assert [record.position.partition("@")[2] for record in records] == ["78"] * 7 + ["79"]
    places = [int(record.position.partition("@")[0]) for record in records[:-1]]
    assert places == sorted(places)
    assert (102_420 < places[1] < 103_000, 5_000_000_000 < places[4] < 5_000_001_000) == (True, True)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((1, 5), r"^5@1 lies before \d+@1, where the channel is; a binlog goes only ahead"),
        ((0, 500), r"^500@0 is no place in a binlog; its files have the numbers 1 to 2147483647"),
        ((2**31, 500), "is no place in a binlog"),
        ((2, 3), "is no place in a binlog"),
        ((2, 2**63), "is no place in a binlog"),
        (("binlog.000002", 4), r"Expected `int`, got `str` \(file\)"),
    ],
)
def test_a_place_that_is_none_is_refused(channel, place, words):
    with pytest.raises(EmbeddedBrokerError, match=words):
        channel.at(*place)
    channel.insert("orders", {"id": 1})
    assert operations(channel) == ["BEGIN", "INSERT", "COMMIT"]


@pytest.mark.parametrize("timestamp_s", [1, 1_000_000_000, 2**31, 2**32 - 1])
def test_times_are_chosen(channel, timestamp_s):
    channel.ddl("ALTER TABLE orders ADD at TIMESTAMP NULL", timestamp_s=timestamp_s)
    channel.insert("orders", {"id": 1}, timestamp_s=timestamp_s)
    channel.rotate(timestamp_s=timestamp_s)
    channel.heartbeat(timestamp_s=timestamp_s)
    assert {record.timestamp_s for record in channel.records()[2:]} == {timestamp_s}


@pytest.mark.parametrize("timestamp_s", [0, -1, 2**32])
def test_a_time_that_no_binlog_has_is_refused(channel, timestamp_s):
    calls = (
        lambda: channel.insert("orders", {"id": 1}, timestamp_s=timestamp_s),
        lambda: channel.ddl("DROP TABLE orders", timestamp_s=timestamp_s),
        lambda: channel.heartbeat(timestamp_s=timestamp_s),
        lambda: channel.rotate(timestamp_s=timestamp_s),
    )
    for call in calls:
        with pytest.raises(EmbeddedBrokerError, match=f"^the time {timestamp_s} is none that a binlog can hold"):
            call()
    assert operations(channel) == []


def test_a_table_is_read_in_the_dialect_of_its_server(broker):
    channel = broker.channel(server_version="10.11.6-MariaDB")
    key = uuid.uuid4()
    channel.table("CREATE TABLE t (id UUID PRIMARY KEY, a INET4)").insert(id=key, a=ipaddress.ip_address("1.2.3.4"))
    inserted = channel.records()[-2]
    assert (inserted.after, inserted.source_version) == ({"id": key.bytes, "a": b"\1\2\3\4"}, "10.11.6-MariaDB")
    with pytest.raises(EmbeddedBrokerError, match="is not one CREATE TABLE statement"):
        broker.channel().table("CREATE TABLE t (id UUID PRIMARY KEY)")


# ---- values ----

REFUSED = (
    ("TINYINT", 128, "128 does not fit test.t.c TINYINT: TINYINT holds -128 to 127."),
    ("INT", "7", "'7' does not fit test.t.c INT: an integer is needed."),
    ("INT NOT NULL", None, "test.t.c is NOT NULL and needs a value."),
    ("DECIMAL(4,2)", Decimal("NaN"), "Decimal('NaN') does not fit test.t.c DECIMAL(4,2): a finite number is needed."),
    ("DECIMAL(4,2)", 100, "100 does not fit test.t.c DECIMAL(4,2): DECIMAL(4,2) has 2 digits before the point."),
    ("DOUBLE", float("nan"), "nan does not fit test.t.c DOUBLE: a finite number is needed."),
    ("FLOAT UNSIGNED", -1.5, "-1.5 does not fit test.t.c FLOAT UNSIGNED: the column is UNSIGNED."),
    ("BIT(2)", 4, "4 does not fit test.t.c BIT(2): BIT(2) holds 0 to 3."),
    ("VARCHAR(2)", "abc", "'abc' does not fit test.t.c VARCHAR(2): VARCHAR(2) holds 2 characters."),
    ("VARCHAR(9) CHARACTER SET latin1", "茶", "'茶' does not fit test.t.c VARCHAR(9): latin1 has no '茶'."),
    ("VARCHAR(9)", 5, "5 does not fit test.t.c VARCHAR(9): a str is needed, or bytes in the column's character set."),
    ("TEXT", "\ud800", "'\\ud800' does not fit test.t.c TEXT: utf8mb4 has no '\\ud800'."),
    ("BLOB", "x", "'x' does not fit test.t.c BLOB: bytes are needed."),
    ("ENUM('a')", "b", "'b' does not fit test.t.c ENUM: one of its labels is needed: 'a'."),
    ("SET('a')", {"b"}, "['b'] does not fit test.t.c SET: it has no label 'b', only 'a'."),
    ("DATE", "2023-02-29", "'2023-02-29' does not fit test.t.c DATE: there is no such date."),
    ("DATETIME", datetime(2024, 1, 1, tzinfo=UTC), "a DATETIME has no time zone, give one without."),
    (
        "TIMESTAMP",
        datetime(2038, 1, 20, tzinfo=UTC),
        "a TIMESTAMP holds 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC.",
    ),
    ("TIME", timedelta(hours=839), "a TIME holds -838:59:59 to 838:59:59."),
    ("TIME", time(8, tzinfo=UTC), "a timedelta, a time without time zone or a text of the form 'hhh:mm:ss' is needed."),
    ("YEAR", 1900, "1900 does not fit test.t.c YEAR: a YEAR holds 0 and 1901 to 2155."),
    ("JSON", {"a": float("inf")}, "does not fit test.t.c JSON: "),
    ("JSON", {"a": b"x"}, "does not fit test.t.c JSON: JSON has no bytes."),
    ("JSON", "hello", "'hello' does not fit test.t.c JSON: it is no JSON text"),
    ("POINT", b"x", "b'x' does not fit test.t.c POINT: WKB is needed"),
    ("GEOMETRY", "POINT(1 2)", "'POINT(1 2)' does not fit test.t.c GEOMETRY: WKB is needed, as bytes."),
    (
        "CHAR(36) DEFAULT (uuid())",
        ...,
        "test.t.c has the default (uuid()), which is not computed here; give its value.",
    ),
    ("INT AS (1)", ..., "test.t.c is GENERATED, which is not computed here; give its value."),
    ("INT NOT NULL", ..., "test.t.c is NOT NULL and needs a value."),
)


def test_what_a_column_cannot_hold_is_refused_and_leaves_nothing(broker):
    channel = broker.channel("CREATE TABLE kept (id INT)")
    for definition, value, sentence in REFUSED:
        channel.table(f"CREATE TABLE t (id INT, c {definition})")
        before = len(channel.records())
        with pytest.raises(EmbeddedBrokerError) as refusal:
            _insert_both(channel, {"id": 1} if value is ... else {"id": 1, "c": value})
        assert sentence in str(refusal.value)
        assert len(channel.records()) == before
        channel.ddl("DROP TABLE t")
    channel.insert("kept", {"id": 2})
    assert [record.after for record in channel.records() if record.operation == "INSERT"] == [{"id": 2}]


def _insert_both(channel: Channel, row: dict[str, Any]) -> None:
    with channel.transaction():
        channel.insert("kept", {"id": 1})
        channel.insert("t", row)


@pytest.mark.parametrize("value", [object(), 1j, {1: "a"}, {"a": {None: 1}}, [object()]])
def test_what_no_column_can_hold_is_not_sent(channel, value):
    with pytest.raises(TypeError):
        channel.insert("orders", {"id": 1, "note": value})
    assert operations(channel) == []


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda table: table.insert([1, "x"]), r"^a row is a mapping of column names to values, not \[1, 'x'\]$"),
        (lambda table: table.insert({1: "x"}), r"^the column name 1 is no text$"),
        (lambda table: table.delete("x" * 100), r"^a row is a mapping of column names to values, not 'x{58}…$"),
        (
            lambda table: table.update({"id": 1}),
            r"^an update takes pairs of a row as it was and as it is, not \{'id': 1\}$",
        ),
        (lambda table: table.update(({"id": 1},)), "an update takes pairs"),
        (lambda table: table.update(({"id": 1}, 5)), "a row is a mapping"),
    ],
)
def test_what_is_no_row_is_not_sent(channel, call, words):
    with pytest.raises(TypeError, match=words):
        call(Table(channel, "orders"))
    assert operations(channel) == []


def test_values_given_in_python(broker):
    columns = {
        "j JSON": ({"$bytes": "AA=="}, {"$bytes": "AA=="}),
        "k JSON": ([{"$date": "x"}, {"$object": []}], [{"$date": "x"}, {"$object": []}]),
        "b BIT(9)": (b"\1\1", 257),
        "d DATETIME(2)": ("2024-02-29", datetime.fromisoformat("2024-02-29T00:00:00")),
        "z TIMESTAMP": (
            datetime(2024, 2, 29, 8, tzinfo=HANGZHOU),
            datetime(2024, 2, 29, tzinfo=UTC),
        ),
        "n TIMESTAMP": (datetime.fromisoformat("2024-02-29"), datetime(2024, 2, 29, tzinfo=UTC)),
        "day DATE": (date(2024, 2, 29), date(2024, 2, 29)),
        "m DECIMAL(65,30)": (Decimal("9" * 35 + "." + "1" * 30), Decimal("9" * 35 + "." + "1" * 30)),
        "u CHAR(36)": (uuid.UUID(int=5), str(uuid.UUID(int=5))),
        "v VARBINARY(9)": (memoryview(b"ab"), b"ab"),
        "t TIME(6)": ("-838:59:58.999999", -timedelta(hours=838, minutes=59, seconds=58, microseconds=999999)),
        "e INT DEFAULT 7": (..., 7),
    }
    channel = broker.channel(f"CREATE TABLE t ({', '.join(columns)})")
    names = [definition.split()[0] for definition in columns]
    row = {name: value for name, (value, _) in zip(names, columns.values(), strict=True) if value is not ...}
    channel.insert("t", row)
    inserted = channel.records()[-2].after
    assert inserted is not None
    assert [inserted[name] for name in names] == [wanted for _, wanted in columns.values()]


special = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
)
names = st.one_of(st.text(), st.sampled_from(["$bytes", "$date", "$object", "$decimal", "$x"]))
anything = st.recursive(
    special, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2), max_leaves=8
)


@given(anything)
def test_any_value_arrives_as_it_was_given(value):
    arrived = server_values.loads(values.dumps(values.plain(value)))
    assert arrived == value
    assert type(arrived) is type(value)
    assert values.loads(server_values.dumps(values.plain(value)).encode()) == value
