"""The catalog: rows, grouped commits, damage, versions."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import stat
import threading
from collections import Counter
from contextlib import closing, contextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from storage import catalog as catalog_module
from storage.catalog import (
    VERSION,
    WAL_BYTES_MAX,
    Catalog,
    ChannelRow,
    GroupRow,
    OffsetRow,
    SchemaVersionRow,
    stored_start,
)
from storage.errors import CatalogCorrupt, CatalogUnavailable, StorageError, UnsupportedFormat
from tests.storage.faults import RecordingFiles

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


def test_the_newest_versions_are_one_for_each_table_in_the_order_of_the_source(catalog: Catalog) -> None:
    rows = [
        SchemaVersionRow("shop", file_number, position, database, table, f"{number}", None)
        for number, (file_number, position, database, table) in enumerate(
            [
                (2, 4, "a", "t"),
                (1, 9, "a", "t"),
                (1, 90, "b", "t"),
                (1, 5, "a", ""),
                (1, 90, "b", "t"),
                (3, 1, "a", "u"),
            ]
        )
    ]
    catalog.add_schema_versions([replace(row, channel_id="other", file_number=9) for row in rows])
    catalog.add_schema_versions(rows)
    newest = catalog.newest_schema_versions("shop")
    assert [row.definition for row in newest] == ["3", "4", "0", "5"]
    assert newest == [row for row in catalog.schema_versions("shop") if row in newest]


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


async def test_a_write_that_hangs_does_not_hold_the_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "CLOSE_S", 0.01)
    catalog = Catalog.open(tmp_path / "catalog.db")
    hangs, goes_on = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        goes_on.wait()

    call = asyncio.ensure_future(catalog.run(hang))
    await asyncio.to_thread(hangs.wait)
    with pytest.raises(CatalogUnavailable, match=r"cannot be closed \(a write has not ended within 0.01 s\)"):
        catalog.close()
    goes_on.set()
    await call
    catalog.close()


def test_the_file_is_private(catalog: Catalog) -> None:
    catalog.set_setting("a", "b")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in catalog.path.parent.iterdir()}
    assert modes == {0o600}


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    if how == "no header":
        data[:100] = bytes(100)
    elif how == "garbage":
        data[:] = b"not a database at all" * 1000
    elif how == "torn page":
        data[middle : middle + 4096] = b"\xff" * 4096
    elif how == "zero page":
        data[middle : middle + 4096] = bytes(4096)
    elif how == "no list of tables":
        data[100:4096] = bytes(4096 - 100)
    elif how == "negative version":
        data[60:64] = b"\xff" * 4
    else:
        del data[middle:]
    path.write_bytes(data)


HOW = ["no header", "garbage", "torn page", "zero page", "no list of tables", "negative version", "cut"]


def filled(path: Path) -> None:
    with closing(Catalog.open(path)) as catalog:
        catalog.put_channel(replace(CHANNEL, start="{}"))
        catalog.put_group(GROUP)
        rows = [OffsetRow(f"group{number:05}", "topic", 0, number, "m" * 50, 1) for number in range(2000)]
        catalog.put_offsets(rows)


@pytest.mark.parametrize("how", HOW)
def test_damage_is_found_on_open_and_the_way_out_is_named(tmp_path: Path, how: str) -> None:
    path = tmp_path / "catalog.db"
    filled(path)
    damaged(path, how)
    with pytest.raises(CatalogCorrupt) as caught:
        Catalog.open(path)
    message = str(caught.value)
    assert message.startswith(f"the catalog {path} is damaged (")
    assert message.endswith(f"save what can be read with: binwire salvage --data-dir {tmp_path}")
    assert "\n" not in message


def test_a_flipped_bit_is_found_or_changes_nothing_but_a_value(tmp_path: Path) -> None:
    """SQLite has no checksums: a bit within a value is a value. Anything else is refused in a sentence of ours."""
    path = tmp_path / "catalog.db"
    filled(path)
    whole = path.read_bytes()
    random = Random(3)
    outcomes = Counter[str]()
    for _ in range(300):
        data = bytearray(whole)
        data[random.randrange(len(data) if random.random() < 0.5 else 4096)] ^= 1 << random.randrange(8)
        path.write_bytes(data)
        try:
            with closing(Catalog.open(path)) as catalog:
                assert len(catalog.offsets()) == 2000
                assert len(catalog.channels()) == len(catalog.groups()) == 1
            outcomes["opened"] += 1
        except (CatalogCorrupt, UnsupportedFormat):
            outcomes["refused"] += 1
    assert min(outcomes["opened"], outcomes["refused"]) > 10


def test_a_database_of_another_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE contacts (name)")
        other.commit()
    with pytest.raises(UnsupportedFormat, match=r"is not a catalog of Binwire: .* a table 'contacts'"):
        Catalog.open(path)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("contacts",)]


def test_a_database_of_another_program_with_a_version_is_told_too(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE settings (name)")
        other.execute("PRAGMA user_version = 1")
    with pytest.raises(CatalogCorrupt, match=r"is damaged \(no such column: key\)"):
        Catalog.open(path)


@pytest.mark.parametrize("how", ["torn page", "zero page"])
async def test_a_page_that_fails_later_is_told_and_not_a_mistake_of_ours(tmp_path: Path, how: str) -> None:
    path = tmp_path / "catalog.db"
    filled(path)
    with closing(Catalog.open(path)) as catalog:
        catalog._connection.execute("PRAGMA cache_size = 1")
        damaged(path, how)
        with pytest.raises(CatalogCorrupt, match="binwire salvage"):
            await catalog.run(catalog.offsets)
        rows = [OffsetRow(f"group{number:05}", "topic", 0, 7, "", 1) for number in range(2000)]
        with pytest.raises(CatalogCorrupt, match="binwire salvage"):
            await catalog.run(catalog.put_offsets, rows)
        # What lies elsewhere still works.
        await catalog.run(catalog.set_setting, "key", "value")
        assert await catalog.run(catalog.setting, "key") == "value"


def test_a_large_catalog_is_opened_at_once_and_checked_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalog.db"
    filled(path)
    with closing(Catalog.open(path)) as catalog:
        assert catalog.is_verified
    monkeypatch.setattr("storage.catalog.CHECKED_BYTES_MAX", 1 << 14)
    with closing(Catalog.open(path)) as catalog:
        assert not catalog.is_verified
        catalog.verify()
    damaged(path, "torn page")
    with closing(Catalog.open(path)) as catalog, pytest.raises(CatalogCorrupt, match="binwire salvage"):
        catalog.verify()
    with closing(Catalog.open(path)) as catalog:
        catalog.close()
        catalog.verify()  # says nothing: there is nobody left to tell


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    Catalog.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UnsupportedFormat, match="has version 99 and this version of Binwire reads up to 2;"):
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


# ---- migrations ----

# What releases wrote, word for word; never made from today's statements.
VERSION_1 = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE channels (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, topic TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
    server_id INTEGER NOT NULL, start TEXT, objects TEXT NOT NULL, id_base INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT
) WITHOUT ROWID, STRICT;
CREATE TABLE groups (
    id TEXT PRIMARY KEY, channel_id TEXT NOT NULL, name TEXT NOT NULL, username TEXT NOT NULL, verifier TEXT
) WITHOUT ROWID, STRICT;
CREATE INDEX groups_by_channel ON groups (channel_id);
CREATE TABLE offsets (
    group_id TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    metadata TEXT NOT NULL, commit_timestamp_ms INTEGER NOT NULL, PRIMARY KEY (group_id, topic, partition)
) WITHOUT ROWID, STRICT;
CREATE TABLE schema_versions (
    sequence INTEGER PRIMARY KEY, channel_id TEXT NOT NULL, file_number INTEGER NOT NULL,
    position INTEGER NOT NULL, database TEXT NOT NULL, table_name TEXT NOT NULL, definition TEXT, ddl TEXT
) STRICT;
CREATE INDEX schema_versions_by_position ON schema_versions (channel_id, file_number, position);
PRAGMA user_version = 1;
INSERT INTO settings VALUES ('cluster_id', 'abcdefghijklmnopqrstuv');
INSERT INTO channels VALUES
    ('shop', 'the shop', 'topic', 'mysql://repl@h:3306', 7, '{"file":"b.000001"}', '["shop"]', 1, 5, 'Normal', NULL);
INSERT INTO groups VALUES ('group1', 'shop', 'analytics', 'dtstest', NULL);
INSERT INTO offsets VALUES ('group1', 'topic', 0, 42, 'meta', 99);
INSERT INTO schema_versions VALUES (3, 'shop', 1, 4, 'shop', 'item', '{}', 'CREATE TABLE item (id INT)');
"""
VERSION_2 = (
    VERSION_1
    + """
CREATE TABLE documents (
    channel_id TEXT PRIMARY KEY, document TEXT NOT NULL, is_started INTEGER NOT NULL, precheck TEXT,
    prechecked_ms INTEGER
) WITHOUT ROWID, STRICT;
CREATE TABLE source_passwords (channel_id TEXT PRIMARY KEY, password TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE releases (topic TEXT PRIMARY KEY) WITHOUT ROWID, STRICT;
CREATE TABLE alert_rules (id TEXT PRIMARY KEY, rule TEXT NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE incidents (id TEXT PRIMARY KEY, begun_ms INTEGER NOT NULL, incident TEXT NOT NULL) WITHOUT ROWID, STRICT;
PRAGMA user_version = 2;
"""
)


@pytest.mark.parametrize("script", [VERSION_1, VERSION_2], ids=["1", "2"])
def test_a_catalog_of_every_earlier_version_is_opened_with_all_it_has(tmp_path: Path, script: str) -> None:
    path = tmp_path / "catalog.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(script)
    with closing(Catalog.open(path)) as catalog:
        assert catalog.setting("cluster_id") == "abcdefghijklmnopqrstuv"
        assert catalog.channels() == [replace(CHANNEL, start='{"file":"b.000001"}')]
        assert catalog.groups() == [replace(GROUP, verifier=None)]
        assert catalog.offsets() == [OffsetRow("group1", "topic", 0, 42, "meta", 99)]
        [version] = catalog.schema_versions("shop")
        assert version == SchemaVersionRow("shop", 1, 4, "shop", "item", "{}", "CREATE TABLE item (id INT)")
        assert catalog._connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalog.db"
    filled(path)
    before, version = catalog_module._MIGRATIONS, catalog_module.VERSION
    good, bad = ("ALTER TABLE groups ADD COLUMN quota INTEGER",), ("CREATE TABLE more (a)", "CREATE TABLE more (a)")
    monkeypatch.setattr(catalog_module, "VERSION", version + 2)
    monkeypatch.setattr(catalog_module, "_MIGRATIONS", (*before, good, bad))
    with pytest.raises(StorageError, match="table more already exists"):
        Catalog.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version + 1,)
        assert connection.execute("SELECT quota FROM groups").fetchall() == [(None,)]
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'more'").fetchone() == (0,)
    monkeypatch.setattr(catalog_module, "_MIGRATIONS", (*before, good, bad[:1]))
    with closing(Catalog.open(path)) as catalog:
        assert len(catalog.offsets()) == 2000


# ---- the system refuses ----


async def test_a_locked_catalog_is_told_as_passing_and_goes_on(catalog: Catalog) -> None:
    catalog._connection.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(catalog.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogUnavailable, match=r"\(database is locked\); end the program that keeps it"):
            await catalog.run(catalog.set_setting, "key", "value")
        other.execute("ROLLBACK")
    await catalog.run(catalog.set_setting, "key", "value")


async def test_a_read_only_catalog_is_told_as_passing_and_goes_on(catalog: Catalog) -> None:
    catalog._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(CatalogUnavailable, match="readonly database"):
        await catalog.run(catalog.set_setting, "key", "value")
    catalog._connection.execute("PRAGMA query_only = OFF")
    await catalog.run(catalog.set_setting, "key", "value")
    assert catalog.setting("key") == "value"


@contextmanager
def files_end_at(size_bytes: int) -> Iterator[None]:
    """Let the system refuse to write any file beyond a size; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_write_that_the_medium_refuses_is_told_as_passing_and_goes_on(catalog: Catalog) -> None:
    """Refused after any number of bytes, so that a frame of the write-ahead log is cut anywhere."""
    rows = [OffsetRow("g", f"topic{number}", 0, 1, "x" * 3000, 0) for number in range(5)]
    await catalog.run(catalog.set_setting, "before", "value")
    size = catalog.path.with_name("catalog.db-wal").stat().st_size
    for beyond in (0, 1, 23, 24, 25, 4000, 4119, 4120, 4121, 9000):
        with files_end_at(size + beyond):
            with pytest.raises(CatalogUnavailable, match="cannot be written"):
                await catalog.run(catalog.put_offsets, rows)
            assert await catalog.run(catalog.setting, "before") == "value"
        assert catalog.offsets() == []
        with closing(reopened(catalog)) as other:
            assert other.offsets() == []
    await catalog.run(catalog.put_offsets, rows)
    with closing(reopened(catalog)) as other:
        assert other.offsets() == rows


def test_a_catalog_that_cannot_be_made_for_now_is_made_later(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    for size_bytes in (0, 100, 4096, 8192, 20_000):
        with files_end_at(size_bytes), pytest.raises(StorageError, match=rf"the catalog {path} cannot be .*\("):
            Catalog.open(path)
    with closing(Catalog.open(path)) as catalog:
        catalog.set_setting("key", "value")


def test_a_transaction_that_could_not_even_be_undone_is_undone_before_the_next(catalog: Catalog) -> None:
    """Otherwise the next would be taken for a part of it, and be answered without ever being committed."""
    catalog._connection.execute("BEGIN IMMEDIATE")
    catalog._connection.execute("INSERT INTO settings VALUES ('lost', 'value')")
    catalog.set_setting("key", "value")
    with closing(reopened(catalog)) as other:
        assert (other.setting("key"), other.setting("lost")) == ("value", None)


def test_the_names_of_a_new_catalog_are_durable(tmp_path: Path) -> None:
    files = RecordingFiles()
    Catalog.open(tmp_path / "catalog.db", files).close()
    assert [step.call for step in files.steps] == ["sync_directory"]
    Catalog.open(tmp_path / "catalog.db", files).close()
    assert len(files.steps) == 1


# ---- size ----


async def test_the_write_ahead_log_stays_bounded_and_is_cut_when_a_reader_is_gone(catalog: Catalog) -> None:
    wal = catalog.path.with_name("catalog.db-wal")

    def commit_many() -> None:
        for number in range(3000):
            catalog.put_offsets([OffsetRow("g", "topic", 0, number, "m" * 3000, 0)])

    catalog._connection.execute("PRAGMA synchronous = OFF")  # the size does not depend on it, the time does
    await asyncio.to_thread(commit_many)
    bounded = wal.stat().st_size
    assert bounded < 3 * 1000 * 4120, "a thousand pages, and what one checkpoint lets pass"
    with closing(sqlite3.connect(catalog.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM offsets").fetchall()
        await asyncio.to_thread(commit_many)
        await asyncio.to_thread(commit_many)
        assert wal.stat().st_size > WAL_BYTES_MAX, "what somebody reads cannot be written over"
    await asyncio.to_thread(commit_many)
    assert wal.stat().st_size <= WAL_BYTES_MAX
    assert catalog.path.stat().st_size < 200_000


def test_the_place_of_dropped_versions_is_used_again(catalog: Catalog) -> None:
    def versions() -> list[SchemaVersionRow]:
        return [SchemaVersionRow("shop", 1, n, "shop", f"t{n}", "d" * 500, "ALTER …") for n in range(1000)]

    catalog.add_schema_versions(versions())
    [(first,)] = catalog._connection.execute("PRAGMA page_count")
    for _ in range(10):
        catalog.drop_schema_versions_after("shop", 0, 0)
        catalog.add_schema_versions(versions())
    [(last,)] = catalog._connection.execute("PRAGMA page_count")
    assert last <= first * 1.1
