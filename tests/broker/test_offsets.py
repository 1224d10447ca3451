"""Committed offsets over a real catalog."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.offsets import CommittedOffset, OffsetStore
from storage.catalog import Catalog
from storage.errors import StorageError
from tests.fakes import ManualClock


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path / "catalog.db")
    yield catalog
    catalog.close()


async def test_commits_survive_the_store_and_belong_to_their_group(catalog: Catalog) -> None:
    clock = ManualClock(now_ms=5000)
    store = OffsetStore(catalog, clock)
    await store.commit("g1", [("topic", 0, 17, "1700000000|中文"), ("other", 0, 1, "")])
    await store.commit("g2", [("topic", 0, 3, "")])
    again = OffsetStore(catalog, clock)
    assert again.committed("g1") == {
        ("topic", 0): CommittedOffset(17, "1700000000|中文", 5000),
        ("other", 0): CommittedOffset(1, "", 5000),
    }
    assert again.committed("g2") == {("topic", 0): CommittedOffset(3, "", 5000)}
    assert sorted(again.group_ids()) == ["g1", "g2"]
    assert again.committed("never") == {}


async def test_a_later_commit_stands_also_a_lower_one(catalog: Catalog) -> None:
    store = OffsetStore(catalog, ManualClock())
    for offset in (5, 9, 2):
        await store.commit("g", [("topic", 0, offset, str(offset))])
    assert store.committed("g")["topic", 0].offset == 2
    assert OffsetStore(catalog, ManualClock()).committed("g")["topic", 0].metadata == "2"


async def test_time_takes_no_commit_away(catalog: Catalog) -> None:
    clock = ManualClock()
    store = OffsetStore(catalog, clock)
    await store.commit("g", [("topic", 0, 5, "")])
    clock.advance(10 * 365 * 24 * 3600 * 1000)
    await store.commit("other", [("topic", 0, 1, "")])
    assert store.committed("g")["topic", 0].offset == 5
    assert OffsetStore(catalog, clock).committed("g")["topic", 0].offset == 5


async def test_deleting_a_group_deletes_its_commits_for_good(catalog: Catalog) -> None:
    store = OffsetStore(catalog, ManualClock())
    await store.commit("g", [("topic", 0, 5, "")])
    await store.delete("g")
    await store.delete("never there")
    assert store.committed("g") == {}
    assert OffsetStore(catalog, ManualClock()).group_ids() == []


METADATA = ["", "\0", "1700000000|中文", "x" * 4096, "a\r\nb\t'\"", "\U0001f600", " " * 3]


@pytest.mark.parametrize("metadata", METADATA)
async def test_metadata_is_kept_byte_for_byte(catalog: Catalog, metadata: str) -> None:
    await OffsetStore(catalog, ManualClock()).commit("g", [("topic", 0, 5, metadata)])
    assert OffsetStore(catalog, ManualClock()).committed("g")["topic", 0].metadata == metadata


@pytest.mark.parametrize("offset", [0, -1, 2**63 - 1, -(2**63)])
async def test_any_offset_is_kept(catalog: Catalog, offset: int) -> None:
    await OffsetStore(catalog, ManualClock()).commit("g", [("topic", 0, offset, "")])
    assert OffsetStore(catalog, ManualClock()).committed("g")["topic", 0].offset == offset


async def test_commits_at_the_same_time_stand_in_the_order_they_came(catalog: Catalog) -> None:
    """Whenever a commit is answered, the store shows it or a later one; in the end both show the last."""
    store = OffsetStore(catalog, ManualClock())

    async def commit(number: int) -> None:
        await store.commit("g", [("topic", 0, number, str(number))])
        assert store.committed("g")["topic", 0].offset >= number

    await asyncio.gather(*(commit(number) for number in range(2000)))
    assert store.committed("g")["topic", 0].offset == 1999
    assert OffsetStore(catalog, ManualClock()).committed("g")["topic", 0].offset == 1999


async def test_a_deletion_and_commits_stand_in_the_order_they_came(catalog: Catalog) -> None:
    store = OffsetStore(catalog, ManualClock())
    await asyncio.gather(
        store.commit("g", [("old", 0, 1, "")]), store.delete("g"), store.commit("g", [("new", 0, 2, "")])
    )
    for each in (store, OffsetStore(catalog, ManualClock())):
        assert list(each.committed("g")) == [("new", 0)]


async def test_a_commit_whose_client_goes_away_is_made_all_the_same(catalog: Catalog) -> None:
    """The catalog has it: a store that did not know would show an older offset until the next start."""
    store = OffsetStore(catalog, ManualClock())
    held = _hold(catalog)
    waiting = asyncio.create_task(store.commit("g", [("topic", 0, 5, "")]))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert store.committed("g") == {}
    held.set()
    await store.commit("other", [("topic", 0, 1, "")])
    assert store.committed("g")["topic", 0].offset == 5
    assert OffsetStore(catalog, ManualClock()).committed("g")["topic", 0].offset == 5


async def test_a_full_disk_changes_nothing_and_passes(catalog: Catalog) -> None:
    store = OffsetStore(catalog, ManualClock())
    await store.commit("g", [("topic", 0, 5, "kept")])
    (pages,) = catalog._connection.execute("PRAGMA page_count").fetchone()
    catalog._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="full"):
        await store.commit("g", [("topic", 0, 6, ""), *((f"t{number}", 0, 1, "x" * 4000) for number in range(20))])
    assert dict(store.committed("g")) == dict(OffsetStore(catalog, ManualClock()).committed("g"))
    assert store.committed("g")["topic", 0].metadata == "kept"
    catalog._connection.execute("PRAGMA max_page_count = 1000000")
    await store.commit("g", [("topic", 0, 6, "")])
    assert OffsetStore(catalog, ManualClock()).committed("g")["topic", 0].offset == 6


def _hold(catalog: Catalog) -> threading.Event:
    """Keep the catalog's thread busy until the event is set."""
    held = threading.Event()
    task = asyncio.ensure_future(catalog.run(held.wait))
    task.add_done_callback(lambda done: done.result())
    return held
