"""Committed offsets: a cache in memory over rows of the catalog.

Invariant: what `committed()` shows is durable; a commit is answered after it is. Offsets belong to the group and live until the
group is deleted: the retention a client asks for is accepted and ignored. Any offset may be committed, also a lower one.
Who may commit is the coordinator's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storage.catalog import Catalog
    from storage.clock import Clock

METADATA_BYTES_MAX = 4096
"""`offset.metadata.max.bytes`, Kafka's default; a longer metadata string is answered with code 12."""


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """The offset a group committed for a partition and the metadata string it sent along ("" if null)."""

    offset: int
    metadata: str
    commit_timestamp_ms: int


class OffsetStore:
    """Committed offsets by group, topic and partition."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        raise NotImplementedError

    def committed(self, group_id: str) -> Mapping[tuple[str, int], CommittedOffset]:
        """Return the group's commits by (topic, partition); empty if it never committed."""
        raise NotImplementedError

    def group_ids(self) -> list[str]:
        """List the groups that have commits."""
        raise NotImplementedError

    async def commit(self, group_id: str, offsets: Sequence[tuple[str, int, int, str]]) -> None:
        """Store (topic, partition, offset, metadata) rows; return when they are durable."""

    async def delete(self, group_id: str) -> None:
        """Forget the group's commits; return when that is durable."""
