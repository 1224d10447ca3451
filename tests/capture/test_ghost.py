"""What gh-ost and pt-online-schema-change do to a table while rows flow, statement by statement, and what is captured.

Their own statements in their own order (gh-ost 1.1 go/logic/applier.go; Percona Toolkit 3 bin/pt-online-schema-change),
with a writer in between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.ddl import parse
from capture.ghost import concerns_ghosts, is_ghost
from storage.clock import SystemClock
from tests.capture.test_live_capture import caught_up, live, rows_of, run
from tests.capture.world import World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.live_server import LiveServer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, SystemClock())
    yield made
    await made.close()


def rows(world: World, database: str) -> list[tuple[str, str, list[str], list[str | None]]]:
    """(operation, table, names, values) of each row; of a DELETE those before it."""
    found = []
    for record in rows_of(world.records()):
        assert record.fields["objectName"].startswith(f"{database}.")
        images = record.fields["afterImages"] or record.fields["beforeImages"]
        values = [_shown(image) for image in images]
        names = [field["name"] for field in record.fields["fields"]]
        found.append((record.operation, record.fields["objectName"].split(".")[1], names, values))
    return found


def _shown(image: dict[str, Any] | None) -> str | None:
    value = None if image is None else image["value"]
    return value.decode() if isinstance(value, bytes) else value


def ddl(world: World) -> list[str]:
    return [record.fields["afterImages"] for record in world.records() if record.operation == "DDL"]


GH_OST = """
drop /* gh-ost */ table if exists {ghost};
drop /* gh-ost */ table if exists {log};
create /* gh-ost */ table {log} (
    id bigint unsigned auto_increment,
    last_update timestamp not null DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
    hint varchar(64) charset ascii not null,
    value varchar(4096) charset ascii not null,
    primary key(id),
    unique key hint_uidx(hint)
) auto_increment=256 comment='gh-ost';
insert /* gh-ost */ into {log} (id, hint, value) values (NULLIF(1, 0), 'state', 'Migrated')
    on duplicate key update last_update=NOW(), value=VALUES(value);
create /* gh-ost */ table {ghost} like {table};
alter /* gh-ost */ table {ghost} {alter};
insert /* gh-ost {table} */ ignore into {ghost} (id, name)
    (select id, name from {table} force index (`PRIMARY`) where (id >= 1) lock in share mode);
INSERT INTO {table} (id, name) VALUES (100, 'while it copies');
replace /* gh-ost {ghost} */ into {ghost} (id, name) values (100, 'while it copies');
UPDATE {table} SET name = 'changed' WHERE id = 1;
update /* gh-ost {ghost} */ {ghost} set name = 'changed' where id = 1;
create /* gh-ost */ table {old} (id int auto_increment primary key) engine=InnoDB comment='ghost-cut-over-sentry'
"""


async def gh_ost(server: LiveServer, database: str, alter: str, *, cut_over_fails: bool = False) -> None:
    """gh-ost's statements: it copies by chunks, replays the binlog's changes, and swaps under a lock."""
    table, ghost, log, old = (f"`{database}`.`{name}`" for name in ("t", "_t_gho", "_t_ghc", "_t_del"))
    text = GH_OST.format(table=table, ghost=ghost, log=log, old=old, alter=alter)
    await run(server, *text.strip().split(";\n"))
    await asyncio.to_thread(_cut_over, server, table, ghost, old, fails=cut_over_fails)


def _cut_over(server: LiveServer, table: str, ghost: str, old: str, *, fails: bool) -> None:
    """The atomic cut-over: the RENAME waits behind a lock that is given up once the sentry table is dropped."""
    locker, renamer = server.connect(), server.connect()
    try:
        locks = locker.cursor()
        locks.execute(f"lock /* gh-ost */ tables {table} write, {old} write")
        renames = renamer.cursor()
        renames.execute("SET SESSION lock_wait_timeout = 1")
        if fails:
            with pytest.raises(pymysql.err.OperationalError):
                renames.execute(f"rename /* gh-ost */ table {table} to {old}, {ghost} to {table}")
            locks.execute(f"drop /* gh-ost */ table if exists {old}")
            locks.execute("unlock tables")
            return
        locks.execute(f"drop /* gh-ost */ table if exists {old}")
        locks.execute("unlock tables")
        renames.execute(f"rename /* gh-ost */ table {table} to {old}, {ghost} to {table}")
    finally:
        locker.close()
        renamer.close()


async def test_gh_ost(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY, name VARCHAR(40))")
    async with running(live(world, server, f"{database}.t")) as channel:
        await run(server, f"INSERT INTO {database}.t VALUES (1, 'first')")
        await gh_ost(server, database, "ADD extra BIGINT AFTER id", cut_over_fails=True)
        await run(server, f"INSERT INTO {database}.t VALUES (2, 'behind a failed cut-over')")
        await run(server, f"DELETE FROM {database}.t WHERE id = 100")
        await gh_ost(server, database, "ADD extra BIGINT AFTER id, CHANGE name name VARCHAR(50), ADD UNIQUE u (extra)")
        await run(server, f"INSERT INTO {database}.t VALUES (3, 7, 'behind the swap')", f"DROP TABLE {database}._t_del")
        await run(server, f"UPDATE {database}.t SET extra = 8 WHERE id = 3")
        await caught_up(world, server, channel)
    async with running(live(world, server, f"{database}.t")) as channel:
        await run(server, f"DELETE FROM {database}.t WHERE id = 3")
        await caught_up(world, server, channel)
    assert {table for _, table, _, _ in rows(world, database)} == {"t"}, "no row of a helper table"
    found = [(operation, len(names), values[0], values[-1]) for operation, _, names, values in rows(world, database)]
    assert found == [
        ("INSERT", 2, "1", "first"),
        ("INSERT", 2, "100", "while it copies"),
        ("UPDATE", 2, "1", "changed"),
        ("INSERT", 2, "2", "behind a failed cut-over"),
        ("DELETE", 2, "100", "while it copies"),
        ("INSERT", 2, "100", "while it copies"),
        ("INSERT", 3, "3", "behind the swap"),
        ("UPDATE", 3, "3", "behind the swap"),
        ("DELETE", 3, "3", "behind the swap"),
    ]
    assert any("rename /* gh-ost */ table" in sql for sql in ddl(world))


PT_OSC = """
CREATE TABLE {new} (
  `id` int NOT NULL,
  `name` varchar(40) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;
ALTER TABLE {new} {alter};
CREATE TRIGGER {trigger}_del` AFTER DELETE ON {table} FOR EACH ROW
    DELETE IGNORE FROM {new} WHERE {new}.`id` <=> OLD.`id`;
CREATE TRIGGER {trigger}_upd` AFTER UPDATE ON {table} FOR EACH ROW BEGIN
    DELETE IGNORE FROM {new} WHERE !(OLD.`id` <=> NEW.`id`) AND {new}.`id` <=> OLD.`id`; REPLACE INTO
    {new} (`id`, `name`) VALUES (NEW.`id`, NEW.`name`); END;
CREATE TRIGGER {trigger}_ins` AFTER INSERT ON {table} FOR EACH ROW
    REPLACE INTO {new} (`id`, `name`) VALUES (NEW.`id`, NEW.`name`);
INSERT INTO {table} VALUES (50, 'carried over');
INSERT LOW_PRIORITY IGNORE INTO {new} (`id`, `name`) SELECT `id`, `name` FROM {table} LOCK IN SHARE MODE
    /*pt-online-schema-change 4711 copy table*/;
UPDATE {table} SET name = 'changed' WHERE id = 50;
ANALYZE TABLE {new} /* pt-online-schema-change */;
RENAME TABLE {table} TO {old}, {new} TO {table};
DROP TABLE IF EXISTS {old};
DROP TRIGGER IF EXISTS {trigger}_del`;
DROP TRIGGER IF EXISTS {trigger}_upd`;
DROP TRIGGER IF EXISTS {trigger}_ins`
"""


def pt_osc(database: str, alter: str) -> list[str]:
    """pt-online-schema-change's statements: it copies by chunks while triggers carry the changes over."""
    table, new, old = (f"`{database}`.`{name}`" for name in ("t", "_t_new", "_t_old"))
    trigger = f"`{database}`.`pt_osc_{database}_t"
    return PT_OSC.format(table=table, new=new, old=old, trigger=trigger, alter=alter).strip().split(";\n")


async def test_pt_online_schema_change(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY, name VARCHAR(40))")
    async with running(live(world, server, f"{database}.t")) as channel:
        await run(server, f"INSERT INTO {database}.t VALUES (1, 'first')")
        await run(server, *pt_osc(database, "ADD COLUMN extra INT FIRST, DROP PRIMARY KEY, ADD PRIMARY KEY (id, name)"))
        await run(server, f"INSERT INTO {database}.t VALUES (9, 2, 'behind the swap')")
        await caught_up(world, server, channel)
    assert rows(world, database) == [
        ("INSERT", "t", ["id", "name"], ["1", "first"]),
        ("INSERT", "t", ["id", "name"], ["50", "carried over"]),
        ("UPDATE", "t", ["id", "name"], ["50", "changed"]),
        ("INSERT", "t", ["extra", "id", "name"], ["9", "2", "behind the swap"]),
    ]
    assert rows_of(world.records())[-1].tags["pk_uk_info"] == '{"PRIMARY":["id","name"]}'


async def test_as_the_service_tells_it(world: World, mysql97: LiveServer) -> None:
    """Rows are exact in either case; a consumer is told nothing of the swap."""
    database = mysql97.fresh_database()
    await run(mysql97, f"CREATE TABLE {database}.t (id INT PRIMARY KEY, name VARCHAR(40))")
    async with running(live(world, mysql97, f"{database}.t", ghost_ddl="service")) as channel:
        await run(mysql97, *pt_osc(database, "ADD COLUMN extra INT FIRST"))
        await run(mysql97, f"INSERT INTO {database}.t VALUES (9, 2, 'x')", f"ALTER TABLE {database}.t ADD plain INT")
        await caught_up(world, mysql97, channel)
    assert rows(world, database)[-1][2] == ["extra", "id", "name"]
    assert ddl(world) == [f"ALTER TABLE {database}.t ADD plain INT"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("_t_gho", "_t_ghc", "_t_del", "_t_20261121_del", "_t_new", "____t_new", "_t_old")),
        *((name, False) for name in ("t", "t_gho", "_gho", "t_new", "_new", "_t", "_t_newer", "new_t_", "__gho")),
    ],
)
def test_names_of_helper_tables(name: str, *, expected: bool) -> None:
    assert is_ghost(name) is expected


@given(st.text(min_size=1, max_size=20), st.sampled_from(["_gho", "_ghc", "_del", "_new", "_old"]))
def test_any_table_has_its_helper_tables(table: str, suffix: str) -> None:
    ghost = "`" + f"_{table}{suffix}".replace("`", "``") + "`"
    for sql in (f"DROP TABLE a, {ghost}", f"RENAME TABLE t TO {ghost}", f"CREATE TABLE {ghost} LIKE t"):
        assert concerns_ghosts(parse(sql)), sql
