"""What each session of a channel is told to do and to work with.

Loads nothing that reads a source: a server makes its channels before it listens, and `capture/session.py` with all that
stands below it takes longer to load than everything that a consumer needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.assembler import TakenBack
    from storage.catalog import Catalog
    from storage.clock import Clock
    from storage.compression import Codec
    from storage.log import Log
    from storage.scheduler import Scheduler

DML, DDL = "dml", "ddl"
"""What `data_types` may have."""


class Counters(Struct):
    """What a channel has written since it was made, over all its sessions."""

    records: int = 0
    transactions: int = 0


class Task(Struct, frozen=True):
    """What a session is to do, and what it works with; the same for every session of a channel."""

    channel_id: str
    data_types: frozenset[str]
    id_base: int
    log: Log
    catalog: Catalog
    clock: Clock
    scheduler: Scheduler
    counters: Counters
    progressed: Callable[[], None]
    codec: Codec
    record_bytes_max: int
    ghost_ddl: str
    partial_images: bool
    taken_back: dict[str, TakenBack] = {}
    """By the name of the server."""
