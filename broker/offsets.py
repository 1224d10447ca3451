"""Committed offsets: a cache in memory over rows of the catalog.

Invariant: what `committed()` shows is durable; a commit is answered after it is. The cache follows the catalog's own
order, and also when nobody waits for the answer any more: a client that went away in the middle of a commit has made
it. Offsets belong to the group and live until the group is deleted: the retention a client asks for is accepted and
ignored. Any offset may be committed, also a lower one. Who may commit is the coordinator's business.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from storage.catalog import OffsetRow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from typing import Any

    from storage.catalog import Catalog
    from storage.clock import Clock

METADATA_BYTES_MAX: Final = 4096
"""`offset.metadata.max.bytes`, Kafka's default; a longer metadata string is answered with code 12."""


class CommittedOffset(Struct, frozen=True):
    """The offset a group committed for a partition and the metadata string it sent along ("" if null)."""

    offset: int
    metadata: str
    commit_timestamp_ms: int


class OffsetStore:
    """Committed offsets by group, topic and partition. Reads the whole table once, when made."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._committed: dict[str, dict[tuple[str, int], CommittedOffset]] = {}
        self._changes: set[asyncio.Task[None]] = set()
        self._subscribers: set[Callable[[str], None]] = set()
        for row in catalog.offsets():
            self._remember(row)

    def _remember(self, row: OffsetRow) -> None:
        committed = CommittedOffset(row.offset, row.metadata, row.commit_timestamp_ms)
        self._committed.setdefault(row.group_id, {})[row.topic, row.partition] = committed

    def committed(self, group_id: str) -> Mapping[tuple[str, int], CommittedOffset]:
        """Return the group's commits by (topic, partition); empty if it never committed."""
        return self._committed.get(group_id, {})

    def group_ids(self) -> list[str]:
        """List the groups that have commits."""
        return list(self._committed)

    async def commit(self, group_id: str, offsets: Iterable[tuple[str, int, int, str]]) -> None:
        """Store (topic, partition, offset, metadata) rows; return when they are durable.

        Raises:
            StorageError: they could not be stored; nothing has changed.
        """
        now_ms = self._clock.now_ms()
        rows = [OffsetRow(group_id, *each, commit_timestamp_ms=now_ms) for each in offsets]

        def remember() -> None:
            for row in rows:
                self._remember(row)
            for callback in tuple(self._subscribers):
                callback(group_id)

        await self._change(self._catalog.run(self._catalog.put_offsets, rows), remember)

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Have the ids of groups that committed told, until what this returns is called."""
        self._subscribers.add(callback)
        return lambda: self._subscribers.discard(callback)

    async def delete(self, group_id: str) -> None:
        """Forget the group's commits; return when that is durable.

        Raises:
            StorageError: they could not be deleted; nothing has changed.
        """

        def forget() -> None:
            self._committed.pop(group_id, None)

        await self._change(self._catalog.run(self._catalog.delete_offsets, group_id), forget)

    def forget(self, group_id: str) -> None:
        """The group's commits were deleted from the catalog by other means."""
        self._committed.pop(group_id, None)

    async def _change(self, write: Coroutine[Any, Any, None], apply: Callable[[], None]) -> None:
        """Write, then bring the cache after it; being cancelled ends only the waiting."""

        async def change() -> None:
            await write
            apply()

        task = asyncio.ensure_future(change())
        self._changes.add(task)
        task.add_done_callback(self._end_change)
        await asyncio.shield(task)

    def _end_change(self, task: asyncio.Task[None]) -> None:
        self._changes.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits for it any more
