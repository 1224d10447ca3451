"""Tables and values drawn at random: the records of a real channel against SELECT of the same rows.

`BINWIRE_SEED` repeats a run of `make torture`, `BINWIRE_TABLES` says how many tables it draws.
"""

from __future__ import annotations

import asyncio
import decimal
import os
import random
import time
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from capture.position import BinlogPosition
from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture import generated, generated_columns
from tests.capture.world import WAIT_S, World, running
from tests.decoded import decode_value
from tests.tools.server_builds import CORE_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from random import Random

    from capture.channel import Channel
    from tests.capture.generated import Table
    from tests.capture.generated_columns import Cell
    from tests.live_server import LiveServer

SERVER_ID = 4711
SMOKE_SEED, SMOKE_TABLES = 20240229, 12
ROWS_MAX = 6
Image = list[Any]


def _cells(image: Any) -> Image | None:
    if image is None:
        return None
    return [cell and (cell[0].rpartition(".")[2], cell[1]) for cell in image]


class Drawn:
    """One table on a server: rows put in, changed and removed, and what SELECT said of them each time."""

    def __init__(
        self, server: LiveServer, database: str, number: int, source: Random, *, is_partial: bool = True
    ) -> None:
        self.name = f"t{number}"
        self._table: Table = generated.table(source, server.kind)
        self._random = source
        self._connection = server.connect(database=database)
        self._may_be_partial = is_partial and server.kind == "mysql97"
        self.images: list[tuple[str, Image | None, Image | None]] = []
        """(operation, before, after) of each record there must be."""

    def run(self) -> None:
        with closing(self._connection), self._connection.cursor() as cursor:
            cursor.execute("SET SESSION time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'")
            if self._may_be_partial and self._random.random() < 0.5:
                cursor.execute("SET SESSION binlog_row_value_options = 'PARTIAL_JSON'")
            cursor.execute(self._table.create(self.name))
            keys = range(1, self._random.randint(2, ROWS_MAX))
            cursor.execute(f"INSERT INTO {self.name} VALUES {', '.join(map(self._table.values, keys))}")
            rows = self._selected(cursor)
            self.images += [("INSERT", None, row) for row in rows.values()]
            for key in keys:
                rows = self._update(cursor, key, rows)
            cursor.execute(f"DELETE FROM {self.name}")
            self.images += [("DELETE", row, None) for row in rows.values()]

    def check(self, found: list[tuple[str, Image | None, Image | None]], where: str) -> None:
        """The records of the table are those there must be; the first cell that differs is named with its column."""
        assert [record[0] for record in found] == [record[0] for record in self.images], where
        definitions = ["id", *(column.definition for column in self._table.columns)]
        for record, expected in zip(found, self.images, strict=True):
            for image, expected_image in zip(record[1:], expected[1:], strict=True):
                assert (image is None) == (expected_image is None), where
                for definition, cell, wanted in zip(definitions, image or [], expected_image or [], strict=False):
                    assert cell == wanted, f"{where}: {definition}"
                assert image == expected_image, where

    def _update(self, cursor: Any, key: int, rows: dict[int, Image]) -> dict[int, Image]:
        """Change some columns of a row; what stays as it was gives no record."""
        settable = [(index, one) for index, one in enumerate(self._table.columns) if not one.is_generated]
        chosen = self._random.sample(settable, self._random.randint(1, len(settable))) if settable else []
        if not chosen:
            return rows
        assignments = ", ".join(
            f"c{index} = {one.update.replace('{}', f'c{index}') if one.update else one.literal()}"
            for index, one in chosen
        )
        cursor.execute(f"UPDATE {self.name} SET {assignments} WHERE id = {key}")
        was_changed = cursor.rowcount > 0
        found = self._selected(cursor)
        if was_changed:
            self.images.append(("UPDATE", rows[key], found[key]))
        else:
            assert found == rows
        return found

    def _selected(self, cursor: Any) -> dict[int, Image]:
        cursor.execute(self._table.selected(self.name))
        return {row[0]: self._table.cells(row) for row in cursor.fetchall()}


async def compare(server: LiveServer, folder: Path, seed: int, tables: int) -> int:
    """Draw and run tables under a channel, and hold its records against SELECT; how many records there were."""
    source = random.Random(seed)
    database = server.fresh_database()
    world = World(folder, SystemClock())
    drawn = []
    try:
        async with running(_channel(world, server, database)) as channel:
            for number in range(tables):
                drawn.append(Drawn(server, database, number, source))
                await asyncio.to_thread(drawn[-1].run)
            await _caught_up(server, channel)
        return _check_all(world, drawn, f"BINWIRE_SEED={seed} on {server.kind}")
    finally:
        await world.close()
        server.execute(f"DROP DATABASE {database}")


def _check_all(world: World, drawn: list[Drawn], where: str) -> int:
    """Hold the records against what there must be; how many there were."""
    found: dict[str, list[Any]] = {one.name: [] for one in drawn}
    for record in world.records():
        if record.operation in ("INSERT", "UPDATE", "DELETE"):
            fields = decode_value(record.value)
            images = (fields["operation"], _cells(fields["beforeImages"]), _cells(fields["afterImages"]))
            found[fields["objectName"].partition(".")[2]].append(images)
    for one in drawn:
        one.check(found[one.name], f"{where}: {one.name}")
    return sum(map(len, found.values()))


async def _caught_up(server: LiveServer, channel: Channel) -> None:
    file, position = server.binlog_position()
    async with asyncio.timeout(WAIT_S):
        await channel.wait_visible(BinlogPosition(file, position))


def _channel(world: World, server: LiveServer, database: str) -> Channel:
    address = SourceAddress.parse(server.url())
    return world.channel(
        lambda: open_source(address, SERVER_ID, world.clock, identity="generated"),
        database,
        url=server.url(),
        start="now",
    )


async def test_records_say_what_select_says(every_server: LiveServer, tmp_path: Path) -> None:
    assert await compare(every_server, tmp_path, SMOKE_SEED, SMOKE_TABLES) > SMOKE_TABLES


@pytest.mark.torture
async def test_records_say_what_select_says_of_many_tables(every_server: LiveServer, tmp_path: Path) -> None:
    seed = int(os.environ.get("BINWIRE_SEED") or random.SystemRandom().randrange(1 << 32))
    tables = int(os.environ.get("BINWIRE_TABLES") or 400)
    print(f"BINWIRE_SEED={seed} BINWIRE_TABLES={tables} on {every_server.kind}", flush=True)
    assert await compare(every_server, tmp_path, seed, tables) > tables


# ---- time zones ----


@pytest.fixture(params=["Asia/Shanghai", "US/Eastern"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A time zone of this process, and of every server that it starts."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


SESSION_ZONES = ("SYSTEM", "+00:00", "+08:00", "-05:00", "+13:00")
ZONED_MOMENTS = ("2024-07-01 12:00:00", "2024-01-01 00:30:00", "2024-11-03 01:30:00", "1991-04-14 05:30:00")


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.server(kind)) for kind in CORE_KINDS])
async def test_no_time_zone_shifts_a_timestamp(
    kind: str, zone: str, server_factory: Callable[..., LiveServer], tmp_path: Path
) -> None:
    """Of the server, of the session that writes, of this process: the record has the seconds since the epoch."""
    server = await asyncio.to_thread(server_factory, kind)
    shown = str(server.execute("SELECT FROM_UNIXTIME(86400)")[0][0])
    assert shown == {"Asia/Shanghai": "1970-01-02 08:00:00", "US/Eastern": "1970-01-01 19:00:00"}[zone]
    database = server.fresh_database()
    server.execute("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a TIMESTAMP, b DATETIME)", database=database)
    world = World(tmp_path, SystemClock())
    async with running(_channel(world, server, database)) as channel:
        expected = await asyncio.to_thread(_write_in_zones, server, database)
        await _caught_up(server, channel)
    rows = [record for record in world.records() if record.operation == "INSERT"]
    found = [_cells(decode_value(record.value)["afterImages"]) for record in rows]
    assert [(image[1], image[2]) for image in found if image] == [(stamp, moment) for stamp, moment, _ in expected]
    assert [record.fields["sourceTimestamp"] for record in rows] == [now for *_, now in expected]
    await world.close()
    assert await compare(server, tmp_path / "drawn", SMOKE_SEED, 3) > 3


def _write_in_zones(server: LiveServer, database: str) -> list[tuple[Cell, Cell, int]]:
    """Insert each moment in each session's zone; the cells of both columns, and when it was."""
    expected = []
    with closing(server.connect(database=database)) as connection, connection.cursor() as cursor:
        for session_zone in SESSION_ZONES:
            cursor.execute("SET time_zone = %s", (session_zone,))
            for moment in ZONED_MOMENTS:
                cursor.execute("SET timestamp = UNIX_TIMESTAMP()")
                cursor.execute(f"INSERT INTO t (a, b) VALUES ('{moment}', '{moment}')")
                cursor.execute("SELECT UNIX_TIMESTAMP(a), UNIX_TIMESTAMP() FROM t ORDER BY id DESC LIMIT 1")
                (seconds, now) = cursor.fetchall()[0]
                stamp: Cell = ("Timestamp", {"timestamp": seconds, "millis": 0})
                expected.append((stamp, generated_columns.date_time(moment), now))
                cursor.execute("SET timestamp = DEFAULT")
    return expected


# ---- an independent reader ----


async def test_an_independent_reader_says_the_same(server_factory: Callable[..., LiveServer], tmp_path: Path) -> None:
    """mysql-replication on the same binlog, cell by cell, for the types that it reads without loss."""
    server = await asyncio.to_thread(server_factory, "mysql97", "--binlog-row-metadata=FULL")
    database = server.fresh_database()
    file, position = server.binlog_position()
    world = World(tmp_path, SystemClock())
    source = random.Random(SMOKE_SEED + 1)
    # The reader does not know PARTIAL_UPDATE_ROWS.
    drawn = [Drawn(server, database, number, source, is_partial=False) for number in range(2 * SMOKE_TABLES)]
    async with running(_channel(world, server, database)) as channel:
        for one in drawn:
            await asyncio.to_thread(one.run)
        await _caught_up(server, channel)
    assert _check_all(world, drawn, server.kind) > len(drawn)
    compared = 0
    theirs = await asyncio.to_thread(_independently_read, server, database, file, position)
    for one in drawn:
        rows = [row for name, row in theirs if name == one.name]
        images = [image for _, before, after in one.images for image in (before, after) if image is not None]
        assert len(rows) == len(images)
        for row, image in zip(rows, images, strict=True):
            for name, cell in zip(("id", *(f"c{index}" for index in range(len(image)))), image, strict=False):
                value = _as_value(cell)
                if value is not UNREADABLE:
                    compared += 1
                    assert _their_value(cell, row[name]) == value, f"{one.name}.{name}"
    assert compared > len(theirs), "more than the keys"
    await world.close()


UNREADABLE = object()
"""What the reader has no exact value for: dates that Python has not, text that is not UTF-8, objects."""


def _independently_read(
    server: LiveServer, database: str, file: str, position: int
) -> list[tuple[str, dict[str, Any]]]:
    """(table, values by column) of each row image of a binlog."""
    account = {"host": server.host, "port": server.port, "user": server.root_user, "passwd": server.root_password}
    reader = BinLogStreamReader(
        connection_settings={**account, "charset": "utf8mb4"},
        server_id=SERVER_ID + 1,
        log_file=file,
        log_pos=position,
        resume_stream=True,
        blocking=False,
        only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
        only_schemas=[database],
    )
    images = []
    with warnings.catch_warnings(), closing(reader):
        warnings.simplefilter("ignore")  # the reader uses what PyMySQL has deprecated
        for event in reader:
            for row in event.rows:
                parts = [row["values"]] if "values" in row else [row["before_values"], row["after_values"]]
                images += [(event.table, values) for values in parts]
    return images


def _as_value(cell: Cell) -> Any:
    """An expected cell as the plain value of Python that the reader should have."""
    if cell is None:
        return UNREADABLE  # a NULL is also what the reader makes of what it cannot say
    name, content = cell
    if name == "Integer":
        return int(content["value"])
    if name == "Decimal":
        return decimal.Decimal(content["value"])
    if name == "Float":
        return content["value"]
    if name == "Character" and content["charset"] == "utf8mb4":
        return content["value"].decode()
    if name == "BinaryObject" and content["type"] == "BLOB":
        return content["value"]
    return UNREADABLE


def _their_value(cell: Cell, value: Any) -> Any:
    """The reader's value in the same form: it has BIT as digits, no bytes as text, a FLOAT as the double it is."""
    assert cell is not None
    if cell[0] == "Integer" and isinstance(value, str):
        return int(value, 2)
    if cell[0] == "BinaryObject" and value == "":
        return b""
    if cell[0] == "Float" and isinstance(value, float):
        shortest = generated_columns.shortest_float(value) if generated_columns.as_float(value) == value else value
        return shortest if shortest == cell[1]["value"] else value
    return value
