"""Databases and tables read from real servers: what is left out, searched, paged, and named as `objects` names it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import browse
from capture.selection import object_text, parse_object
from capture.source import SourceAddress, open_source
from capture.sql import quote_identifier
from storage.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from capture.source import Source
    from tests.live_server import LiveServer

HOSTILE = (
    "a.b",
    "it's",
    'do"ble',
    "b`tick",
    "per%cent",
    "under_score",
    "back\\slash",
    "größe",
    "<b>&amp;",
    "*",
    "-- x",
)


@asynccontextmanager
async def opened(server: LiveServer) -> AsyncIterator[Source]:
    source = open_source(SourceAddress.parse(server.url()), 4720, SystemClock())
    try:
        yield source
    finally:
        await source.close()


async def test_databases_without_those_of_the_server(server: LiveServer) -> None:
    name = server.fresh_database()
    server.execute_all("CREATE TABLE a (id INT)", "CREATE TABLE b (id INT)", database=name)
    server.execute("CREATE VIEW v AS SELECT 1", database=name)
    async with opened(server) as source:
        total, found = await browse.databases(source, "", 0, 1000)
        assert total == len(found)
        assert not {one.name.lower() for one in found} & set(browse.SYSTEM_SCHEMAS)
        assert [one for one in found if one.name == name] == [browse.DatabaseFound(name, name, 2)]
        assert await browse.databases(source, name[-8:].upper(), 0, 10) == (1, [browse.DatabaseFound(name, name, 2)])


async def test_tables_are_searched_and_paged_in_their_order(server: LiveServer) -> None:
    name = server.fresh_database()
    server.execute_all(*(f"CREATE TABLE t_{number:03d} (id INT)" for number in range(120)), database=name)
    server.execute_all("CREATE TABLE tx001 (id INT)", "CREATE VIEW t_view AS SELECT 1", database=name)
    async with opened(server) as source:
        pages = [await browse.tables(source, [name], "t_", offset, 50) for offset in (0, 50, 100, 150)]
        assert [total for total, _ in pages] == [120] * 4
        assert [len(found) for _, found in pages] == [50, 50, 20, 0]
        assert [one.name for _, found in pages for one in found] == [f"t_{number:03d}" for number in range(120)]
        assert await browse.tables(source, [], f"{name}.T_00", 0, 3) == (10, pages[0][1][:3])
        assert (await browse.tables(source, [name], "", 0, 1))[0] == 121


async def test_names_that_would_break_out_of_a_statement(server: LiveServer) -> None:
    name = server.fresh_database()
    for table in HOSTILE:
        server.execute(f"CREATE TABLE {quote_identifier(table)} (id INT)", database=name)
    async with opened(server) as source:
        total, found = await browse.tables(source, [name], "", 0, 100)
        assert total == len(HOSTILE)
        assert {one.name for one in found} == set(HOSTILE)
        for one in found:
            assert parse_object(one.object) == (name, one.name)
        for table in HOSTILE:
            _, exact = await browse.tables(source, [name], f"{name}.{table}" if "." in table else table, 0, 100)
            assert table in {one.name for one in exact}
            assert all(table.lower() in one.name.lower() for one in exact)
        assert await browse.tables(source, ["it's -- \\"], "", 0, 10) == (0, [])
        assert await browse.databases(source, "\ud800' OR 1=1 -- \\", 0, 10) == (0, [])


@pytest.mark.parametrize("name", [*HOSTILE, "plain", "a b", "`"])
def test_an_entry_of_objects_is_read_as_what_it_was_made_of(name: str) -> None:
    assert parse_object(object_text(name)) == (name, None)
    assert parse_object(object_text("d", name)) == ("d", name)


@given(st.text(min_size=1), st.none() | st.text(min_size=1))
def test_any_entry_of_objects_is_read_as_what_it_was_made_of(database: str, table: str | None) -> None:
    assert parse_object(object_text(database, table)) == (database, table)
