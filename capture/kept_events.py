"""Events that were made and are not in the log yet, and the one who reads them as a stream.

Events come in the order of the binlog and stay until `let_go`, so that a reader may begin again at any boundary behind
what it committed. A reader sees what was announced at `open` first, then what it has not read. One reader at a time,
all on the loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from capture.errors import SourceUnavailable
from capture.events import EventType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from capture.position import BinlogPosition

PIECE_EVENTS = 512
"""What one `read` hands over: about 2 ms of work."""

_TYPE_CODE_AT = 4


class KeptEvent(NamedTuple):
    """An event and where it ends."""

    end: BinlogPosition
    raw: bytes

    def follows(self, boundary: BinlogPosition) -> bool:
        """Whether it is to be read behind a boundary; a heartbeat that was not read yet stands at it."""
        if self.end.order == boundary.order:
            return self.raw[_TYPE_CODE_AT] == EventType.HEARTBEAT
        return self.end.order > boundary.order


class KeptEvents:
    """The events of one source."""

    def __init__(self) -> None:
        self._kept: deque[KeptEvent] = deque()
        self._unread = 0
        self._announcement: list[bytes] = []
        self._wake: asyncio.Future[None] | None = None
        self._is_open = False

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[KeptEvent]:
        return iter(self._kept)

    def keep(self, events: Sequence[KeptEvent]) -> None:
        """Have events read."""
        self._kept += events
        if self._is_open:
            self._unread += len(events)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def checkpoint(self) -> Callable[[], None]:
        """What takes back the events kept from now on, as long as nobody could read them."""
        kept, unread = len(self._kept), self._unread

        def restore() -> None:
            while len(self._kept) > kept:
                self._kept.pop()
            self._unread = unread

        return restore

    def let_go(self, position: BinlogPosition) -> None:
        """What ends there or before is in the log."""
        while len(self._kept) > self._unread and self._kept[0].end.order <= position.order:
            self._kept.popleft()

    # ---- the reader ----

    def open(self, position: BinlogPosition, announcement: list[bytes]) -> None:
        """Begin to read behind a boundary, the announcement first."""
        self.close()
        self._is_open = True
        self._unread = len(self._kept) - next(
            (index for index, kept in enumerate(self._kept) if kept.follows(position)), len(self._kept)
        )
        self._announcement = announcement

    async def read(self) -> list[bytes]:
        """The next events, as soon as there are any. Raises SourceUnavailable if nobody opened it, or it was closed."""
        while self._is_open:
            if self._announcement:
                announcement, self._announcement = self._announcement, []
                return announcement
            if self._unread:
                first = len(self._kept) - self._unread
                count = min(self._unread, PIECE_EVENTS)
                self._unread -= count
                return [self._kept[index].raw for index in range(first, first + count)]
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        raise SourceUnavailable("the embedded source is not open")

    def pending(self) -> bool:
        """Whether `read` would return at once."""
        return bool(self._announcement) or self._unread > 0

    def close(self) -> None:
        """Read no more."""
        self._is_open = False
        self._announcement = []
