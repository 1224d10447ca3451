"""The catalog: rows, grouped commits, damage, versions."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from storage.catalog import Catalog, ChannelRow, GroupRow, OffsetRow, SchemaVersionRow, stored_start
from storage.errors import CatalogCorrupt, CatalogUnavailable, StorageError, UnsupportedFormat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHANNEL = ChannelRow("shop", "the shop", "topic", "mysql://repl@h:3306", 7, None, '["shop"]', 1, 5, "Normal", None)
GROUP = GroupRow("group1", "shop", "analytics", "dtstest", "scrypt$secret")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db")
    yield opened
    opened.close()


def reopened(catalog: Catalog) -> Catalog:
    """A second look at the same file: sees what was committed."""
    return Catalog.open(catalog.path)


def test_settings(catalog: Catalog) -> None:
    assert catalog.setting("cluster_id") is None
    catalog.set_setting("cluster_id", "a")
    catalog.set_setting("cluster_id", "b")
    assert reopened(catalog).setting("cluster_id") == "b"


def test_channels_are_kept_by_id_in_the_order_they_were_made(catalog: Catalog) -> None:
    catalog.put_channel(CHANNEL)
    older = replace(CHANNEL, id="older", topic="other", created_ms=1, start='"now"', reason="why")
    catalog.put_channel(older)
    changed = replace(CHANNEL, state="Error", reason="cut off")
    catalog.put_channel(changed)
    assert reopened(catalog).channels() == [older, changed]


def test_a_topic_belongs_to_one_channel(catalog: Catalog) -> None:
    catalog.put_channel(CHANNEL)
    with pytest.raises(sqlite3.IntegrityError, match="topic"):
        catalog.put_channel(replace(CHANNEL, id="renamed"))
    assert reopened(catalog).channels() == [CHANNEL]


def test_deleting_a_channel_deletes_what_belongs_to_it(catalog: Catalog) -> None:
    catalog.put_channel(CHANNEL)
    catalog.put_group(GROUP)
    catalog.put_group(replace(GROUP, id="group2", channel_id="other"))
    rows = [OffsetRow(group, "topic", 0, 1, "", 2) for group in ("group1", "group2")]
    catalog.put_offsets(rows)
    catalog.add_schema_versions([SchemaVersionRow("shop", 1, 4, "shop", "item", "{}", None)])
    catalog.delete_channel("shop")
    assert catalog.channels() == []
    assert [group.id for group in catalog.groups()] == ["group2"]
    assert catalog.offsets() == rows[1:]
    assert catalog.schema_versions("shop") == []


def test_groups_are_found_by_channel_and_show_no_verifier(catalog: Catalog) -> None:
    catalog.put_group(GROUP)
    catalog.put_group(replace(GROUP, id="group0", channel_id="other", verifier=None))
    assert catalog.groups("shop") == [GROUP]
    assert [group.id for group in catalog.groups()] == ["group0", "group1"]
    assert "secret" not in repr(GROUP)


def test_offsets_are_replaced_and_deleted(catalog: Catalog) -> None:
    rows = [OffsetRow("g", "t", partition, 10, "meta", 99) for partition in range(3)]
    catalog.put_offsets(rows)
    catalog.put_offsets([replace(rows[1], offset=5, metadata="")])
    assert reopened(catalog).offsets() == [rows[0], replace(rows[1], offset=5, metadata=""), rows[2]]
    catalog.delete_offsets("g")
    assert catalog.offsets() == []


def test_schema_versions_follow_the_source_and_forget_what_lies_beyond(catalog: Catalog) -> None:
    def version(file_number: int, position: int, table: str, definition: str | None = "{}") -> SchemaVersionRow:
        return SchemaVersionRow("shop", file_number, position, "db", table, definition, "ALTER …")

    later, first, dropped, second = (
        version(2, 4, "z"),
        version(1, 90, "b"),
        version(1, 90, "a", None),
        version(1, 91, "c"),
    )
    catalog.add_schema_versions([later])
    catalog.add_schema_versions([first, dropped, second])
    catalog.add_schema_versions([replace(first, channel_id="other")])
    assert catalog.schema_versions("shop") == [first, dropped, second, later]
    catalog.drop_schema_versions_after("shop", 1, 90)
    assert reopened(catalog).schema_versions("shop") == [first, dropped]
    assert len(catalog.schema_versions("other")) == 1


async def test_run_returns_results_and_errors_and_undoes_only_what_failed(catalog: Catalog) -> None:
    def fails() -> None:
        catalog.set_setting("half", "done")
        raise LookupError("no")

    results = await asyncio.gather(
        *(catalog.run(catalog.set_setting, f"key{number}", str(number)) for number in range(50)),
        catalog.run(fails),
        catalog.run(catalog.setting, "key3"),
        return_exceptions=True,
    )
    assert isinstance(results[50], LookupError)
    assert results[51] == "3"
    other = reopened(catalog)
    assert other.setting("half") is None
    assert [other.setting(f"key{number}") for number in range(50)] == [str(number) for number in range(50)]


async def test_what_waits_together_is_committed_together(catalog: Catalog) -> None:
    statements: list[str] = []
    catalog._connection.set_trace_callback(statements.append)
    with catalog._lock:
        calls = [asyncio.ensure_future(catalog.run(catalog.set_setting, f"k{n}", "v")) for n in range(200)]
        await asyncio.sleep(0)
    await asyncio.gather(*calls)
    # The first may go alone, before the others were there.
    assert statements.count("COMMIT") <= 2


async def test_a_commit_is_answered_when_it_is_durable(catalog: Catalog) -> None:
    await catalog.run(catalog.set_setting, "key", "value")
    with sqlite3.connect(catalog.path) as other:
        assert other.execute("SELECT value FROM settings").fetchall() == [("value",)]
    assert catalog._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert catalog._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


async def test_a_commit_that_fails_is_everybodys_error(catalog: Catalog) -> None:
    with sqlite3.connect(catalog.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        catalog._connection.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(StorageError, match=r"catalog\.db cannot be written \(database is locked\)"):
            await catalog.run(catalog.set_setting, "key", "value")
        other.execute("ROLLBACK")
    other.close()
    await catalog.run(catalog.set_setting, "key", "value")
    assert catalog.setting("key") == "value"


async def test_a_full_catalog_says_so_until_there_is_room(catalog: Catalog) -> None:
    [pages] = catalog._connection.execute("PRAGMA page_count").fetchone()
    catalog._connection.execute(f"PRAGMA max_page_count = {pages}")
    full = r"catalog\.db cannot be written \(database or disk is full\); see to the disk"
    with pytest.raises(CatalogUnavailable, match=full):
        await catalog.run(catalog.set_setting, "key", "v" * 100_000)
    catalog._connection.execute("PRAGMA max_page_count = 100000")
    await catalog.run(catalog.set_setting, "key", "v" * 100_000)
    assert catalog.setting("key") == "v" * 100_000


async def test_a_probe_writes_and_changes_nothing(catalog: Catalog) -> None:
    catalog.set_setting("key", "value")
    wal = catalog.path.with_name("catalog.db-wal")
    before = wal.stat().st_size
    await catalog.run(catalog.probe)
    assert wal.stat().st_size > before
    catalog._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(CatalogUnavailable, match="attempt to write a readonly database"):
        await catalog.run(catalog.probe)
    catalog._connection.execute("PRAGMA query_only = 0")
    catalog.close()
    assert Catalog.open(catalog.path).setting("key") == "value"


async def test_closing_finishes_what_was_given_and_takes_no_more(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path / "catalog.db")
    call = asyncio.ensure_future(catalog.run(catalog.set_setting, "key", "value"))
    await asyncio.sleep(0)
    catalog.close()
    await call
    with pytest.raises(StorageError, match="catalog is closed"):
        await catalog.run(catalog.set_setting, "key", "later")
    assert Catalog.open(tmp_path / "catalog.db").setting("key") == "value"


def test_the_file_is_private(catalog: Catalog) -> None:
    catalog.set_setting("a", "b")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in catalog.path.parent.iterdir()}
    assert modes == {0o600}


@pytest.mark.parametrize("how", ["not a database", "torn page", "cut"])
def test_damage_is_found_on_open_and_the_way_out_is_named(tmp_path: Path, how: str) -> None:
    path = tmp_path / "catalog.db"
    catalog = Catalog.open(path)
    catalog.put_offsets([OffsetRow(f"group{number:05}", "topic", 0, number, "m" * 50, 1) for number in range(2000)])
    catalog.close()
    data = bytearray(path.read_bytes())
    if how == "not a database":
        data[:100] = bytes(100)
    elif how == "torn page":
        data[len(data) // 2 : len(data) // 2 + 8192] = b"\xff" * 8192
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)
    with pytest.raises(CatalogCorrupt, match=rf"{path} is damaged .* salvage it with: sqlite3 {path} \.recover"):
        Catalog.open(path)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    Catalog.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UnsupportedFormat, match="has version 99 and this version of Binwire reads up to 1;"):
        Catalog.open(path)


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        Catalog.open(tmp_path / "missing" / "catalog.db")


def test_what_a_killed_process_committed_is_there(tmp_path: Path) -> None:
    killed = Catalog.open(tmp_path / "catalog.db")
    killed.set_setting("key", "value")
    assert (tmp_path / "catalog.db-wal").stat().st_size > 0
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("catalog.db*"):
        (copy / path.name).write_bytes(path.read_bytes())
    assert Catalog.open(copy / "catalog.db").setting("key") == "value"
    killed.close()


def test_a_stored_start_is_read_beside_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    assert stored_start(path, "shop") is None
    catalog = Catalog.open(path)
    assert stored_start(path, "shop") is None
    catalog.put_channel(CHANNEL)
    assert stored_start(path, "shop") is None
    catalog.put_channel(replace(CHANNEL, start='{"file":"binlog.000001"}'))
    assert stored_start(path, "shop") == '{"file":"binlog.000001"}'
    catalog.close()
    assert stored_start(path, "shop") == '{"file":"binlog.000001"}'
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageError, match=r"the catalog .*catalog\.db cannot be read"):
        stored_start(path, "shop")


async def test_a_full_disk_fails_every_write_of_the_commit_and_leaves_nothing_of_it(catalog: Catalog) -> None:
    """SQLite ends the transaction itself then: what ran before is gone with it, what runs after must not go alone."""
    connection = catalog._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    small = [OffsetRow("before", "topic", 0, 1, "", 0)]
    large = [OffsetRow("large", f"topic{number}", 0, 1, "x" * 4000, 0) for number in range(20)]
    after = [OffsetRow("after", "topic", 0, 1, "", 0)]
    # One call holds the thread while the others queue up behind it, so that they share a commit.
    holds, held = threading.Event(), threading.Event()

    def hold() -> None:
        holds.set()
        held.wait()

    blocking = asyncio.create_task(catalog.run(hold))
    await asyncio.to_thread(holds.wait)
    writes = [asyncio.create_task(catalog.run(catalog.put_offsets, rows)) for rows in (small, large, after)]
    await asyncio.sleep(0)
    held.set()
    failed = await asyncio.gather(*writes, return_exceptions=True)
    await blocking
    assert [type(each) for each in failed] == [CatalogUnavailable] * 3
    assert "full" in str(failed[1])
    assert catalog.offsets() == []
    connection.execute("PRAGMA max_page_count = 1000000")
    await catalog.run(catalog.put_offsets, large)
    assert len(catalog.offsets()) == 20
