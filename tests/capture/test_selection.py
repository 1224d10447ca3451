"""Which tables are tracked: as the server compares names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.selection import Selection, SelectionError, fold_name, parse_object
from storage.clock import SystemClock
from tests.capture.test_live_capture import caught_up, live, rows_of, run
from tests.capture.world import World, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory

FOLDING = [pytest.param(kind, marks=pytest.mark.server(kind)) for kind in ("mysql56", "mariadb1011")]
"""MySQL 8.0+ takes lower_case_table_names only when its data directory is made."""


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("shop", ("shop", None)),
        ("shop.*", ("shop", None)),
        ("shop.orders", ("shop", "orders")),
        ("`odd.name`.`t``t`", ("odd.name", "t`t")),
        ("`a b`", ("a b", None)),
        ("商店.订单", ("商店", "订单")),
    ],
)
def test_what_an_object_names(text: str, parsed: tuple[str, str | None]) -> None:
    assert parse_object(text) == parsed


@pytest.mark.parametrize("text", ["", ".", "a.", ".b", "a.b.c", "`a", "``.b"])
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(SelectionError):
        parse_object(text)


def test_case_counts_unless_the_server_folds_it() -> None:
    exact, folding = Selection(["Shop", "crm.Customer"]), Selection(["Shop", "crm.Customer"], 1)
    assert exact("Shop", "anything")
    assert not exact("shop", "anything")
    assert exact("crm", "Customer")
    assert not exact("crm", "customer")
    assert not exact("crm", "other")
    assert folding("sHOP", "anything")
    assert folding("CRM", "customer")
    assert not folding("crm", "other")


def test_whether_anything_of_a_database_is_tracked() -> None:
    selection = Selection(["shop", "crm.customer"])
    assert selection("shop", "")
    assert selection("crm", "")
    assert not selection("mysql", "")


def test_same_names() -> None:
    assert Selection((), 2).same("A", "a")
    assert not Selection((), 0).same("A", "a")


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


NAMES = st.text(min_size=1, max_size=12)


@given(NAMES, NAMES, NAMES, NAMES)
def test_nothing_but_what_is_named_is_tracked(database: str, table: str, other: str, another: str) -> None:
    whole, single = Selection([quoted(database)]), Selection([f"{quoted(database)}.{quoted(table)}"])
    assert whole(database, table)
    assert single(database, table)
    assert whole(other, another) == (other == database)
    assert single(other, another) == ((other, another) == (database, table))
    assert single(other, "") == (other == database)


@given(NAMES, NAMES, NAMES, NAMES)
def test_where_case_is_ignored_names_are_compared_folded(one: str, two: str, other: str, another: str) -> None:
    selection = Selection([f"{quoted(one)}.{quoted(two)}"], 1)
    assert selection(fold_name(one), fold_name(two))
    same = (fold_name(other), fold_name(another)) == (fold_name(one), fold_name(two))
    assert selection(other, another) == same


@given(st.text(max_size=20))
def test_a_folded_name_stays(name: str) -> None:
    assert fold_name(fold_name(name)) == fold_name(name)


@pytest.mark.parametrize("kind", FOLDING)
def test_every_letter_is_folded_as_the_server_does(kind: str, server_factory: ServerFactory) -> None:
    server = server_factory(kind, "--lower-case-table-names=1")
    database = server.fresh_database()
    letters = [chr(code) for code in range(0x80, 0xD800) if chr(code) != chr(code).lower()]
    pieces = ["".join(letters[index : index + 40]) for index in range(0, len(letters), 40)]
    for piece in pieces:
        server.execute(f"CREATE TABLE {database}.`x{piece}` (id INT)")
    stored = {str(row[0]) for row in server.execute(f"SHOW TABLES FROM {database}")}
    assert {fold_name(f"x{piece}") for piece in pieces} == stored


DOT = "\\u002E"
"""How the service's records write a dot within a name."""
LEAKING = ("Ähre", "ΟΔΟΣ", "İx", "Ꙁ", "a.b", "q`t", "x y", "商店", "Mixed")


@pytest.mark.parametrize("kind", [*FOLDING, pytest.param("mysql97", marks=pytest.mark.server("mysql97"))])
async def test_no_row_of_an_untracked_table_leaks(kind: str, server_factory: ServerFactory, tmp_path: Path) -> None:
    """Half of the tables are named in objects, in another case where the server ignores it; the rows are theirs."""
    folds = kind != "mysql97"
    server = await asyncio.to_thread(server_factory, kind, *(["--lower-case-table-names=1"] if folds else []))
    one, two = server.fresh_database(), server.fresh_database()
    names = [f"{database}.{quoted(name)}" for name in LEAKING for database in (one, two)]
    await run(server, *(f"CREATE TABLE {name} (id INT)" for name in names))
    objects = [f"{one.upper() if folds else one}.{quoted(name)}" for name in LEAKING[::2]]
    world = World(tmp_path, SystemClock())
    try:
        async with running(live(world, server, *objects)) as channel:
            await run(server, *(f"INSERT INTO {name} VALUES (1)" for name in names))
            later = f"{two}.{quoted(LEAKING[0])}"
            await run(server, f"RENAME TABLE {later} TO {one}.later", f"INSERT INTO {one}.later VALUES (2)")
            await caught_up(world, server, channel)
        named = [record.fields["objectName"] for record in rows_of(world.records())]
        stored = [fold_name(name) if folds else name for name in LEAKING[::2]]
        assert named == [f"{one}.{name.replace('.', DOT)}" for name in stored]
    finally:
        await world.close()
