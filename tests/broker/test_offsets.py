"""Committed offsets over a real catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.offsets import CommittedOffset, OffsetStore
from storage.catalog import Catalog
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


async def test_deleting_a_group_deletes_its_commits_for_good(catalog: Catalog) -> None:
    store = OffsetStore(catalog, ManualClock())
    await store.commit("g", [("topic", 0, 5, "")])
    await store.delete("g")
    await store.delete("never there")
    assert store.committed("g") == {}
    assert OffsetStore(catalog, ManualClock()).group_ids() == []
