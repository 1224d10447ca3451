"""The embedded broker, from the outside: changes by call, what consumers get of them, and its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import kafka
import pytest

from binwire.testing import Channel, EmbeddedBroker, EmbeddedBrokerError
from tests import decoded
from tests.processes import wait_until_gone
from tests.tools.workplace import CHECKOUT

READ_TIMEOUT_MS = 30_000


def consume(channel: Channel, count: int) -> list[bytes]:
    """The first `count` records of a channel, read as a member of its group."""
    consumer = kafka.KafkaConsumer(
        channel.topic, group_id=channel.sid, consumer_timeout_ms=READ_TIMEOUT_MS, **channel.kafka_python()
    )
    try:
        return [message.value for _, message in zip(range(count), consumer, strict=False)]
    finally:
        consumer.close()


def rows(channel: Channel, count: int) -> list[decoded.Row]:
    """The row changes among the first `count` records."""
    records = [decoded.decode_value(value) for value in consume(channel, count)]
    return [decoded.row_of(record) for record in records if record["operation"] in ("INSERT", "UPDATE", "DELETE")]


def test_a_row_inserted_by_call_reaches_a_kafka_consumer(broker):
    channel = broker.channel("CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(40))")
    channel.insert("orders", {"id": 1, "note": "龙井茶"})
    assert rows(channel, 5) == [decoded.Row("INSERT", "test.orders", None, {"id": 1, "note": "龙井茶"})]


def test_a_table_changes_its_rows(broker):
    channel = broker.channel()
    orders = channel.table("CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(40))")
    assert orders.name == "orders"
    orders.insert(id=1, note="first")
    orders.insert({"id": 2}, {"id": 3, "note": "third"})
    orders.update(({"id": 2, "note": None}, {"id": 2, "note": "second"}))
    orders.delete(id=1, note="first")
    assert [(row.operation, row.before, row.after) for row in rows(channel, 2 + 3 + 4 + 3 + 3)] == [
        ("INSERT", None, {"id": 1, "note": "first"}),
        ("INSERT", None, {"id": 2, "note": None}),
        ("INSERT", None, {"id": 3, "note": "third"}),
        ("UPDATE", {"id": 2, "note": None}, {"id": 2, "note": "second"}),
        ("DELETE", {"id": 1, "note": "first"}, None),
    ]


def test_every_database_is_tracked_unless_objects_are_named(broker):
    channel = broker.channel()
    channel.table("CREATE TABLE shop.orders (id BIGINT PRIMARY KEY)").insert(id=1)
    channel.table("CREATE TABLE `other.one`.t (id INT)")
    assert [row.table for row in rows(channel, 2 + 1 + 2)] == ["shop.orders"]
    narrow = broker.channel("CREATE TABLE a.t (id INT)", "CREATE TABLE b.t (id INT)", objects=["b"])
    narrow.insert("a.t", {"id": 1})
    narrow.insert("b.t", {"id": 2})
    records = [decoded.decode_value(value) for value in consume(narrow, 3 + 2 + 2 + 3)]
    assert [record["objectName"] for record in records if record["operation"] == "INSERT"] == ["b.t"]


def test_a_table_is_made_by_one_statement(broker):
    channel = broker.channel()
    for sql in ("DROP TABLE t", "CREATE TABLE a (id INT); CREATE TABLE b (id INT)", "", "nonsense"):
        with pytest.raises(EmbeddedBrokerError, match="is not one CREATE TABLE statement"):
            channel.table(sql)


def test_a_table_that_exists_is_not_made_again(broker):
    channel = broker.channel()
    first = channel.table("CREATE TABLE t (id INT, note TEXT)")
    with pytest.raises(EmbeddedBrokerError, match=r"^table test\.t already exists; "):
        channel.table("CREATE TABLE t (id INT)")
    again = channel.table("CREATE TABLE IF NOT EXISTS t (id INT)")
    first.insert(id=1, note="x")
    again.insert(id=2, note="y")


def test_every_kind_of_change(broker):
    channel = broker.channel("CREATE TABLE shop.t (id INT PRIMARY KEY, price DECIMAL(8,2), at DATETIME, note TEXT)")
    first = {"id": 1, "price": Decimal("12.50"), "at": datetime.fromisoformat("2024-02-29 01:02:03"), "note": None}
    second = first | {"note": "x"}
    channel.insert("shop.t", first, timestamp_s=1_700_000_000)
    channel.update("shop.t", (first, second))
    channel.delete("shop.t", second)
    changes = rows(channel, 2 + 9)
    assert [(row.operation, row.before, row.after) for row in changes] == [
        ("INSERT", None, first),
        ("UPDATE", first, second),
        ("DELETE", second, None),
    ]


def test_values_of_every_kind_of_column(broker):
    columns = {
        "f FLOAT": (0.1, 0.1),
        "b BIT(9)": (257, 257),
        "d DATE": (date(2024, 2, 29), date(2024, 2, 29)),
        "at DATETIME": (date(2024, 2, 29), datetime.fromisoformat("2024-02-29 00:00:00")),
        "zero DATE": ("0000-00-00", (0, 0, 0, None, None, None, None)),
        "t TIME(3)": (timedelta(hours=-100, milliseconds=-500), timedelta(hours=-100, milliseconds=-500)),
        "clock TIME": (time(8, 30), timedelta(hours=8, minutes=30)),
        "y YEAR": (2024, 2024),
        "e ENUM('a', '订')": ("订", "订"),
        "s SET('a', 'b', 'c')": ({"c", "a"}, "a,c"),
        "c CHAR(9)": ("a  ", "a"),
        "n BINARY(4)": (b"\xff", b"\xff\0\0\0"),
        "v VARBINARY(300)": (b"\0", b"\0"),
        "l LONGBLOB": (b"\xfe", b"\xfe"),
    }
    channel = broker.channel(f"CREATE TABLE t ({', '.join(columns)})")
    names = [definition.split()[0] for definition in columns]
    channel.insert("t", dict(zip(names, (given for given, _ in columns.values()), strict=True)))
    (inserted,) = rows(channel, 2 + 3)
    assert inserted.after == dict(zip(names, (wanted for _, wanted in columns.values()), strict=True))


def test_channels_are_apart(broker):
    one, two = broker.channel("CREATE TABLE t (id INT)"), broker.channel("CREATE TABLE t (id INT)")
    assert one.topic != two.topic
    assert one.sid != two.sid
    one.insert("t", {"id": 1})
    two.insert("t", {"id": 2})
    assert [row.after for row in rows(one, 5)] == [{"id": 1}]
    assert [row.after for row in rows(two, 5)] == [{"id": 2}]


def test_a_refused_change_is_an_exception_and_changes_nothing(broker):
    channel = broker.channel("CREATE TABLE t (id INT)")
    with pytest.raises(EmbeddedBrokerError, match="nowhere"):
        channel.insert("nowhere", {"id": 1})
    with pytest.raises(EmbeddedBrokerError, match="nonsense"):
        channel.ddl("nonsense")
    with pytest.raises(TypeError, match="a value of type object cannot be a column's value"):
        channel.insert("t", {"id": object()})
    channel.insert("t", {"id": 2})
    assert [row.after for row in rows(channel, 5)] == [{"id": 2}]


def test_a_form_with_something_else_in_it_is_refused(broker):
    channel = broker.channel("CREATE TABLE t (id INT)")
    row = {"channel": channel.name, "table": "t", "rows": [{"id": {"$decimal": "much"}}]}
    with pytest.raises(EmbeddedBrokerError, match=r"\$decimal cannot be read from 'much'"):
        broker._process.result(broker._process.begin("insert", row))


def test_a_call_that_is_interrupted_while_it_is_written_spoils_no_other(broker, monkeypatch):
    channel, pipe = broker.channel(), broker._process._process.stdin

    class Interrupted:
        def write(self, line):
            pipe.write(line[:20])
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(broker._process._process, "stdin", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            channel.heartbeat()
    assert channel.records() == []
    assert broker._process._waiting == {}


def test_a_statement_that_makes_no_channel_is_refused(broker):
    with pytest.raises(EmbeddedBrokerError, match="CREATE TABEL"):
        broker.channel("CREATE TABEL t (id INT)")


def test_heartbeats_come_when_called(broker):
    channel = broker.channel("CREATE TABLE t (id INT)")
    channel.heartbeat(timestamp_s=1_700_000_000)
    assert decoded.decode_value(consume(channel, 3)[-1])["operation"] == "HEARTBEAT"


def test_a_low_limit_of_descriptors_is_raised():
    program = (
        "import resource; from binwire.testing import EmbeddedBroker;"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard));"
        "broker = EmbeddedBroker(); made = [broker.channel('CREATE TABLE t (id INT)') for _ in range(20)];"
        "print(len(made)); broker.close()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("20\n", "")


def test_closing_ends_the_server_and_removes_its_data():
    broker = EmbeddedBroker()
    folder, process = broker._process.folder, broker._process._process
    assert folder is not None
    assert Path(folder).exists()
    broker.close()
    broker.close()
    assert process.returncode == 0
    assert not Path(folder).exists()
    with pytest.raises(EmbeddedBrokerError, match="the embedded broker is closed"):
        broker.channel()


def test_a_call_that_waits_is_told_that_the_broker_was_closed():
    with EmbeddedBroker() as broker:
        channel = broker.channel("CREATE TABLE t (id INT)")
        waiting = broker._process.begin("wait_consumed", {"channel": channel.name, "timeout_s": 60})
    assert str(waiting.exception()) == "the embedded broker is closed"


def test_the_server_ends_when_its_parent_is_killed():
    program = (
        "import os, signal; from binwire.testing import EmbeddedBroker; broker = EmbeddedBroker();"
        "print(broker._process.pid, broker._process.folder, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    pid, folder = done.stdout.split()
    # The pipe this test read was inherited by nobody: that it ended tells only of the parent. The server itself is
    # waited for by its directory, which it removes last.
    wait_until_gone(int(pid))
    assert not Path(folder).exists()


def test_a_server_that_cannot_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr("binwire.testing.process.__file__", str(tmp_path / "testing" / "process.py"))
    with pytest.raises(EmbeddedBrokerError, match=r"the embedded broker ended with status 2: .*__main__\.py"):
        EmbeddedBroker()


def test_a_server_that_dies_says_so(broker):
    with EmbeddedBroker() as own:
        own._process._process.kill()
        own._process._process.wait()
        with pytest.raises(EmbeddedBrokerError, match="the embedded broker ended with status -9: it said nothing"):
            own.channel()


def test_importing_it_imports_nothing_but_the_standard_library():
    program = (
        "import sys; before = set(sys.modules); import binwire.testing;"
        "names = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(names - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "['binwire']\n"
