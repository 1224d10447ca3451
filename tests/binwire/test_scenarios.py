"""Scenarios played through the embedded broker: as text and file, from plain and asynchronous code, and in the demo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from binwire.testing import AsyncEmbeddedBroker, EmbeddedBroker, EmbeddedBrokerError
from tests.tools.workplace import CHECKOUT

SCENARIO = """\
-- A table and what becomes of its rows.
CREATE TABLE orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(40));
SET timestamp = 1700000000;
BEGIN;
INSERT INTO orders (note) VALUES ('first'), ('second');
UPDATE orders SET note = CONCAT(note, '!') WHERE id = 2;
COMMIT;
DELETE FROM orders WHERE note = 'first';
"""
CHANGES = [
    ("INSERT", None, {"id": 1, "note": "first"}),
    ("INSERT", None, {"id": 2, "note": "second"}),
    ("UPDATE", {"id": 2, "note": "second"}, {"id": 2, "note": "second!"}),
    ("DELETE", {"id": 1, "note": "first"}, None),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orders.sql"
    path.write_text(SCENARIO, "utf-8")
    return path


def test_a_scenario_is_seen_when_its_call_returns(broker: EmbeddedBroker, file: Path) -> None:
    for given in (SCENARIO, file, str(file)):
        channel = broker.channel()
        assert channel.play(given) == 7
        records = channel.records()
        rows = [record for record in records if record.operation in ("INSERT", "UPDATE", "DELETE")]
        assert [(row.operation, row.before, row.after) for row in rows] == CHANGES
        assert {row.timestamp_s for row in rows} == {1_700_000_000}
        assert [record.operation for record in records] == [
            *("DDL", "DDL", "BEGIN", "INSERT", "INSERT", "UPDATE", "COMMIT", "BEGIN", "DELETE", "COMMIT")
        ]


def test_calls_and_scenarios_change_the_same_rows(broker: EmbeddedBroker) -> None:
    channel = broker.channel()
    orders = channel.table("CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(40))")
    orders.insert(note="by call")
    channel.play("UPDATE orders SET note = 'played' WHERE note = 'by call'; INSERT INTO orders (note) VALUES ('two')")
    orders.insert(note="three")
    channel.play("DELETE FROM orders")
    deleted = [record.before for record in channel.records() if record.operation == "DELETE"]
    assert deleted == [{"id": 1, "note": "played"}, {"id": 2, "note": "two"}, {"id": 3, "note": "three"}]


def test_what_is_not_understood_is_told_with_file_and_line(broker: EmbeddedBroker, file: Path) -> None:
    channel = broker.channel()
    file.write_text(SCENARIO + "BEGIN;\nDELETE FROM orders;\nCALL nothing();\nCOMMIT;", "utf-8")
    with pytest.raises(EmbeddedBrokerError, match=r"^orders\.sql, line 11: 'CALL nothing\(\)' is not played$"):
        channel.play(file)
    assert [record.operation for record in channel.records()].count("DELETE") == 1, "what was committed before"
    with pytest.raises(EmbeddedBrokerError, match=r"^line 1: "):
        channel.play("CALL nothing()")
    channel.play("DELETE FROM orders")
    assert channel.records()[-2].before == {"id": 2, "note": "second!"}


def test_a_file_that_is_not_there_is_an_error_of_its_own(broker: EmbeddedBroker) -> None:
    with pytest.raises(FileNotFoundError):
        broker.channel().play("nothing-there.sql")


async def test_asynchronous_code_plays_several_at_once(file: Path) -> None:
    import asyncio

    async with AsyncEmbeddedBroker() as broker:
        channel = await broker.channel("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)")
        many = "BEGIN;" + "INSERT INTO t VALUES ();" * 50 + "COMMIT;"
        assert await asyncio.gather(*(channel.play(many) for _ in range(4))) == [52] * 4
        records = await channel.records()
        assert [record.after["id"] for record in records if record.after is not None] == [*range(1, 201)]
        assert [record.operation for record in records if record.operation != "INSERT"][2:] == ["BEGIN", "COMMIT"] * 4
        assert await (await broker.channel()).play(file) == 7


def test_the_demo_plays_a_scenario(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "binwire", "demo", str(file), "--records", "6"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "second!" in done.stdout
    file.write_text("CALL nothing()", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "binwire", "demo", str(file)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"binwire: {file}, line 1: 'CALL nothing()' is not played\n"
