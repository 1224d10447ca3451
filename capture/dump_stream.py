"""What arrives of one binlog dump, between its socket and its reader.

The transport that asyncmy opened is handed over to a `DumpStream`, which only keeps what the socket delivers, up to
`WAITING_BYTES_MAX`, then leaves it alone. `take` splits it where it lies into events (`capture/packets.py`), a piece at
a time, so that no call holds the loop for long. A failure ends the stream behind what has arrived, never before. Who
opens the connection, and when it has been silent or unread for too long, is `capture/mysql_source.py`'s business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, cast

from capture.packets import EventSplitter
from capture.server_errors import lost

if TYPE_CHECKING:
    from capture.errors import CaptureError
    from storage.clock import Clock

PIECE_BYTES = 1 << 16
"""What one `read` splits: 64 KiB of the smallest events take about a millisecond."""

WAITING_BYTES_MAX = 128 << 10
"""The socket is left alone while more than this is waiting to be split. Less than the 256 KiB that the loop reads at a
time: what is read is split before more is, while it is in the processor's cache, which halves the cost of reading under
uvloop. What the server has sent on waits in the socket.
"""


class DumpStream(asyncio.Protocol):
    """Keeps what the socket delivers, up to `WAITING_BYTES_MAX`, and splits it a piece at a time when asked."""

    def __init__(self, clock: Clock) -> None:
        self.failure: CaptureError | None = None
        self.missed = 0
        self.paused_since_ms: int | None = None
        """Since when more is waiting than is wanted, and the socket is left alone."""
        self._clock = clock
        self.closed: asyncio.Future[None] | None = None
        self._splitter = EventSplitter()
        self._chunks: deque[bytes] = deque()
        self._position = 0
        """In the first of them: what is before it was split."""
        self._said: list[bytes] = []
        self._waiting_bytes = 0
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports read and write as `asyncio.Transport` says and are no instances of it.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.missed = 0
        self._chunks.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > WAITING_BYTES_MAX and self.paused_since_ms is None and self._transport is not None:
            self._transport.pause_reading()
            self.paused_since_ms = self._clock.monotonic_ms()
        self._wake()

    def say(self, event: bytes) -> None:
        """Have an event read behind what has arrived that the server would not send."""
        self._said.append(event)
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.closed is not None and not self.closed.done():
            self.closed.set_result(None)
        self.fail(lost(exc))

    def fail(self, failure: CaptureError) -> None:
        """End the stream behind what has arrived."""
        if self.failure is None:
            self.failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def pending(self) -> bool:
        return bool(self._chunks or self._said)

    @property
    def exhausted(self) -> bool:
        return not self.pending and self.failure is not None

    def take(self) -> list[bytes]:
        """The whole events of what waits, piece by piece until there are some; an empty list if there are none."""
        while self._chunks:
            chunk, position = self._chunks[0], self._position
            events, self._position = self._splitter.split(chunk, position, position + PIECE_BYTES)
            self._waiting_bytes -= self._position - position
            if self._position == len(chunk):
                self._chunks.popleft()
                self._position = 0
            self._resume()
            if self._splitter.failure is not None:
                self.failure = self._splitter.failure
                self._chunks.clear()
            if events:
                return events
        said, self._said = self._said, []
        return said

    def abort(self) -> None:
        """Cut the connection; what has arrived stays."""
        if self._transport is not None:
            self._transport.abort()

    def _resume(self) -> None:
        is_paused = self.paused_since_ms is not None
        if is_paused and self._waiting_bytes <= WAITING_BYTES_MAX // 2 and self._transport is not None:
            self.paused_since_ms = None
            if not self._transport.is_closing():
                self._transport.resume_reading()

    async def wait(self) -> None:
        """Wait until something arrived or the stream failed."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
