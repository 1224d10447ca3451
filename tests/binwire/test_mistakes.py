"""What people see of their mistakes: the sentence, and in pytest the line of their test."""

from __future__ import annotations

from pathlib import Path

import pytest

from binwire.testing import EmbeddedBroker, EmbeddedBrokerError
from tests.binwire.test_plugin import run


@pytest.mark.parametrize("name", ["orders", "test.orders", "`test`.`orders`"])
def test_a_table_that_is_not_there_is_named_with_its_database(broker: EmbeddedBroker, name: str) -> None:
    channel = broker.channel("CREATE TABLE shop.orders (id INT)")
    calls = (
        lambda: channel.insert(name, {"id": 1}),
        lambda: channel.update(name, ({"id": 1}, {"id": 2})),
        lambda: channel.delete(name, {"id": 1}),
        lambda: channel.faults.untracked(name, {"id": 1}),
        lambda: channel.faults.ghost_alter(name, "ADD note INT"),
    )
    for call in calls:
        with pytest.raises(EmbeddedBrokerError, match=r"^there is no table test\.orders; make it by"):
            call()


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("ALTER TABEL t", "TABEL at character 7 is not understood"),
        ("INSERT INTO t VALUES (1)", "INSERT is about rows"),
        ("COMMIT", "COMMIT is about transactions"),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW changes no table"),
    ],
)
def test_what_is_no_ddl_is_refused_with_its_reason(broker: EmbeddedBroker, sql: str, why: str) -> None:
    with pytest.raises(EmbeddedBrokerError) as refused:
        broker.channel().ddl(sql)
    assert str(refused.value) == f"{sql!r} is not understood as DDL of tables or databases: {why}"


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("CREATE TABLE t (id INTT)", ": "),
        ("CREATE TABLE t LIKE u", " with the columns in it"),
        ("CREATE TEMPORARY TABLE t (id INT)", " with the columns in it"),
    ],
)
def test_what_is_no_create_table_is_refused_with_its_reason(broker: EmbeddedBroker, sql: str, why: str) -> None:
    channel = broker.channel()
    with pytest.raises(EmbeddedBrokerError) as refused:
        channel.table(sql)
    said = str(refused.value)
    assert said.startswith(f"{sql!r} is not one CREATE TABLE statement{why}")
    assert ("INTT at character" in said) == ("INTT" in sql)
    assert channel.records() == []


def test_objects_are_a_list(broker: EmbeddedBroker) -> None:
    with pytest.raises(TypeError, match=r"not 'shop'; write \['shop'\]$"):
        broker.channel(objects="shop")


def test_a_scenario_that_is_no_text_is_named(broker: EmbeddedBroker, tmp_path: Path) -> None:
    file = tmp_path / "orders.sql"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(EmbeddedBrokerError, match=r"orders\.sql cannot be played: it is no UTF-8; .* --hex-blob$"):
        broker.channel().play(file)


def test_a_channel_is_shown_by_its_name(broker: EmbeddedBroker) -> None:
    channel = broker.channel(name="shown")
    assert repr(channel) == f"<Channel shown of topic {channel.topic}>"
    assert repr(channel.to_async()) == f"<AsyncChannel shown of topic {channel.topic}>"


def test_counts_and_sizes_of_faults_are_given_as_the_table_of_faults_has_them(broker: EmbeddedBroker) -> None:
    channel = broker.channel()
    channel.faults.noop(2)
    channel.faults.empty_transaction(1)
    assert channel.faults.large_row(10) == "large_rows"
    operations = [record.operation for record in channel.records()]
    assert operations[:4] == ["NOOP", "NOOP", "BEGIN", "COMMIT"]


def test_a_refused_call_is_shown_at_the_line_of_the_test(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        def test_a_typo(binwire_channel):
            binwire_channel.insert("nowhere", {"id": 1})

        def test_a_type(binwire_channel):
            binwire_channel.insert("nowhere", 1)

        def test_nothing_consumed(binwire_channel):
            binwire_channel.table("CREATE TABLE orders (id INT)")
            binwire_channel.wait_consumed(timeout_s=0)
        """,
    )
    assert done.stdout.count("\ntest_theirs.py:") == 3, done.stdout
    assert "there is no table test.nowhere" in done.stdout
    for ours in ("process.py", "broker.py", "changes.py", "waiting.py", "_base.py"):
        assert ours not in done.stdout
