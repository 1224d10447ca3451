"""A damaged or lost catalog made anew: what is kept, what is given up, and that the command an error names works."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from broker.app import Application
from broker.cli import main
from storage.catalog import Catalog, ChannelRow, GroupRow, OffsetRow, SchemaVersionRow
from storage.errors import CatalogCorrupt, StorageError
from storage.salvage import salvage
from tests.broker.test_app import channel, config, records_of, serving, status, until_ended
from tests.storage.test_catalog import files_end_at

if TYPE_CHECKING:
    from pathlib import Path

CHANNEL = ChannelRow("shop", "the shop", "topic", "mysql://repl@h:3306", 7, "{}", '["shop"]', 1, 5, "Normal", None)
GROUPS = [GroupRow(f"group{number:05}", "shop", f"name{number}", "u", None) for number in range(500)]
OFFSETS = [OffsetRow(group.id, "topic", 0, number, "m" * 50, 1) for number, group in enumerate(GROUPS)]


def fill(path: Path) -> None:
    with closing(Catalog.open(path)) as catalog:
        catalog.set_setting("cluster_id", "abc")
        catalog.put_channel(CHANNEL)
        catalog.put_groups(GROUPS)
        catalog.put_offsets(OFFSETS)
        catalog.add_schema_versions([SchemaVersionRow("shop", 1, 4, "shop", "item", "{}", None)])


def page_of(path: Path, table: str) -> int:
    """The byte at which a leaf page in the middle of a table begins."""
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        [(root,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
    kind = whole[(root - 1) * 4096]
    assert kind in (2, 10), "an index page: the tables have no rowid"
    if kind == 10:
        return (int(root) - 1) * 4096
    cells = int.from_bytes(whole[(root - 1) * 4096 + 3 :][:2], "big")
    pointer = (root - 1) * 4096 + 12 + 2 * (cells // 2)
    cell = (root - 1) * 4096 + int.from_bytes(whole[pointer : pointer + 2], "big")
    return (int.from_bytes(whole[cell : cell + 4], "big") - 1) * 4096


@pytest.mark.parametrize("table", ["offsets", "groups", "channels", "settings"])
def test_everything_but_the_damaged_page_is_kept(tmp_path: Path, table: str) -> None:
    path = tmp_path / "catalog.db"
    fill(path)
    start = page_of(path, table)
    data = bytearray(path.read_bytes())
    data[start : start + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with pytest.raises(CatalogCorrupt):
        Catalog.open(path)
    found = salvage(path, ["topic"])
    assert not found.is_complete
    assert found.kept_as is not None
    assert found.kept_as.name == "catalog.db.damaged"
    with closing(Catalog.open(path)) as catalog:
        offsets, groups, channels = catalog.offsets(), catalog.groups(), catalog.channels()
        assert set(offsets) <= set(OFFSETS)
        assert set(groups) <= set(GROUPS)
        assert len(offsets) == len(OFFSETS) or (table == "offsets" and len(offsets) > len(OFFSETS) // 2)
        assert len(groups) == len(GROUPS) or (table == "groups" and len(groups) > len(GROUPS) // 2)
        assert channels == ([] if table == "channels" else [CHANNEL])
        assert catalog.setting("cluster_id") == (None if table == "settings" else "abc")
        assert catalog.schema_versions("shop") == []
        assert catalog.has_lost_definitions("shop") == (table != "channels")
        assert catalog.is_log_offered("topic") == (table == "channels")


@pytest.mark.parametrize("content", [b"", b"\0" * 40_960, b"not a database at all" * 1000])
def test_of_what_is_no_database_nothing_is_kept_but_the_logs(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "catalog.db"
    path.write_bytes(content)
    found = salvage(path, ["b", "a"])
    assert (found.channels, found.groups, found.offsets, found.logs_offered) == ((), 0, 0, ("a", "b"))
    assert found.kept_as is not None
    assert found.kept_as.read_bytes() == content
    with closing(Catalog.open(path)) as catalog:
        assert catalog.is_log_offered("a")


def test_what_is_still_in_the_write_ahead_log_is_kept_and_nothing_of_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    killed = Catalog.open(path)
    killed.put_channel(CHANNEL)
    copy = tmp_path / "copy" / "catalog.db"
    copy.parent.mkdir()
    for end in ("", "-wal"):
        (copy.parent / f"catalog.db{end}").write_bytes((tmp_path / f"catalog.db{end}").read_bytes())
    killed.close()
    assert salvage(copy, []).channels == (CHANNEL,)
    assert sorted(each.name for each in copy.parent.iterdir()) == ["catalog.db", "catalog.db.damaged"]
    assert salvage(copy, []).channels == (CHANNEL,)
    assert copy.with_name("catalog.db1.damaged").exists(), "what was kept before is not written over"


def test_rows_that_no_catalog_can_have_had_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    fill(path)
    with closing(Catalog.open(path)) as catalog:
        twice = replace(CHANNEL, id="other", created_ms=6)
        assert catalog.restore({}, [CHANNEL, twice], [], []) == 1
        assert catalog.channels() == [CHANNEL]


def test_a_note_of_a_log_to_be_deleted_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    fill(path)
    with closing(Catalog.open(path)) as catalog:
        catalog.note_release("topic")
    salvage(path, ["topic"])
    with closing(Catalog.open(path)) as catalog:
        assert catalog.releases() == []
        assert [row.id for row in catalog.channels()] == ["shop"]


def test_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    fill(path)
    before = path.read_bytes()
    for size_bytes in (0, 5000, len(before) // 2, len(before)):
        with files_end_at(size_bytes), pytest.raises(StorageError):
            salvage(path, [])
        assert path.read_bytes() == before
    assert salvage(path, []).channels == (CHANNEL,)


async def test_the_command_that_an_error_names_gets_a_server_going(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log is served under the ids it has; files do not tell definitions, so its capture ends with a sentence."""
    settings = config(tmp_path, channel())
    async with serving(settings) as app:
        await until_ended(app)
        before = await records_of(tmp_path)
        id_base = app.catalog.channels()[0].id_base
    path = tmp_path / "data" / "catalog.db"
    path.write_bytes(b"\0" * 8192)
    with pytest.raises(CatalogCorrupt) as caught:
        await Application(settings).start()
    command = str(caught.value).rpartition("binwire ")[2].split()
    assert await asyncio.to_thread(main, command) == 0
    told = capsys.readouterr().out
    assert "the new catalog has 0 channels, 0 consumer groups and 0 committed offsets; not all of the old" in told
    assert "topic shop: goes on with the channel of the configuration that names it" in told
    for _ in range(2):
        async with serving(settings) as app:
            await until_ended(app)
            assert await records_of(tmp_path) == before
            assert app.catalog.channels()[0].id_base == id_base
            [shown] = (await status(tmp_path))["channels"]
            assert shown["state"] == "Error"
            assert "the catalog lost the definitions of the tables at" in shown["reason"]
            assert shown["reason"].endswith("give it another id and topic in the configuration file")


async def test_a_server_that_runs_keeps_its_catalog(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(config(tmp_path, channel())) as app:
        await until_ended(app)
        assert await asyncio.to_thread(main, ["salvage", "--data-dir", str(tmp_path / "data")]) == 1
    assert "is in use by another process" in capsys.readouterr().err
    assert await asyncio.to_thread(main, ["salvage", "--data-dir", str(tmp_path)]) == 1
    assert "is not a data directory of Binwire" in capsys.readouterr().err
