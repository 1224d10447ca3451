"""One channel: a source, its schema history and a log, and the loop that carries changes from one to the other.

States, and what ends each (`STATES` holds the same as a table; nothing moves outside it):

    Prechecking                          checked -> Not Started; found wanting -> Error
    Not Started                          start() -> Performing Initial Change Tracking
    Performing Initial Change Tracking   start position and snapshot durable -> Normal
    Normal                               stop() -> Not Started; connection lost or not exact -> Error
    Error                                retriable: back-off, then Initial or Normal again; otherwise waits for start()
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.source import Source, SourceAddress
    from storage.catalog import Catalog
    from storage.clock import Clock
    from storage.log import Log


class State(StrEnum):
    """The service's own names."""

    PRECHECKING = "Prechecking"
    NOT_STARTED = "Not Started"
    INITIAL = "Performing Initial Change Tracking"
    NORMAL = "Normal"
    ERROR = "Error"


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """What a channel is to do. `start` is the configured text: now, earliest, a timestamp, file:pos or a GTID set."""

    id: str
    topic: str
    address: SourceAddress
    server_id: int
    objects: tuple[str, ...]
    data_types: frozenset[str]
    start: str
    id_base: int = 0


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """What is known of a channel now. Times are Unix epoch ms; `retried_until_ms` None in Error means: needs action."""

    state: State
    reason: str | None
    retried_until_ms: int | None
    position: str | None
    source_time_ms: int | None
    heard_ms: int | None
    behind: bool
    records: int
    transactions: int
    reconnects: int


class Channel:
    """Runs one channel on the running loop."""

    def __init__(
        self,
        spec: ChannelSpec,
        log: Log,
        catalog: Catalog,
        source_factory: Callable[[], Source],
        clock: Clock,
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Begin, or go on where the log ends; returns at once, `status()` and `wait_for` tell how it goes."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End at the last transaction boundary; what was appended behind it is dropped."""
        raise NotImplementedError

    def status(self) -> ChannelStatus:
        raise NotImplementedError

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called on each change of state; returns what ends that."""
        raise NotImplementedError

    async def wait_for(self, *states: State) -> ChannelStatus:
        """Wait until the channel is in one of these states."""
        raise NotImplementedError
