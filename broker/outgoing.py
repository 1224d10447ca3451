"""One connection's response on its way out: in pieces, as fast as the peer reads.

Flow control. A response is written in pieces of `WRITE_BYTES` and only while the transport's buffer is empty. Pieces
go straight to the socket, and a response that is no larger goes with one call: a head that is sent for itself costs as
much as its records. Of what the socket does not take, the transport is given a copy of `WAIT_BYTES`, to be told when
the peer reads again. So a client that does not read costs `WAIT_BYTES` of memory (over TLS, where the transport seals
what it is given, one piece), and no page of the log waits in a transport, which would touch it whenever the peer
pleases, long after the system may have taken it out of memory. The response's leases on the log end when the last piece
has left, or when the connection is given up. A peer that reads as fast as it is written to gets the loop for
`SLICE_MS`.

Records are written as they lie in the log. A handler answers with what is in memory; what the system took out of it
while a slow peer read is brought back before the next piece is written, and the loop does not wait. If the medium does
not give it back, the connection is cut: the response has begun, and the next fetch gets the error as a code.

Invariant: one response at a time; the next is sent when this one is gone.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from storage.errors import CorruptLog, LogReadError
from storage.log import LogSlice, NotResident
from storage.scheduler import SLICE_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from broker.wire import Buffer

WRITE_BYTES: Final = 256 * 1024
WAIT_BYTES: Final = 16 * 1024
PARTS_AT_ONCE_MAX: Final = 16
"""Parts of a response that go out with one call: one topic has two. Systems take 1024, some of them 16."""


class _Part(NamedTuple):
    """What is left of a buffer from `position` on; `lease` if it is the view of one."""

    buffer: Buffer
    lease: LogSlice | None
    position: int


class Outgoing:
    """Writes to one transport.

    `on_sent` is called when a response is gone that was not gone at once, `on_failed`, with the reason, when the rest
    of one cannot be had.
    """

    def __init__(self, transport: Any, on_sent: Callable[[], None], on_failed: Callable[[str], None]) -> None:
        transport.set_write_buffer_limits(high=1, low=0)
        self._transport = transport
        self._on_sent = on_sent
        self._on_failed = on_failed
        self._parts: deque[_Part] = deque()
        self._leases: tuple[LogSlice, ...] = ()
        self._reading: asyncio.Task[None] | None = None
        self._is_sending = False
        self._is_dropped = False
        self._descriptor = _socket_of(transport)
        self.is_paused = False
        """Whether the peer has not yet read what the transport holds."""

    def send(self, parts: Sequence[Buffer], leases: Iterable[LogSlice] = ()) -> bool:
        """Write a response and end its `leases` behind it; return whether it is gone already."""
        assert not self._is_sending, "a response before the last one is gone"
        self._leases = tuple(leases)
        if self._is_dropped:
            self._end_leases()
            return False
        size, taken = sum(map(len, parts)), 0
        if size <= WRITE_BYTES and len(parts) <= PARTS_AT_ONCE_MAX and self._is_free():
            taken = self._write_at_once(parts)
            if taken == size:
                self._end_leases()
                return True
        lease_of = {id(lease.view): lease for lease in self._leases}
        for part in parts:
            start = min(taken, len(part))
            taken -= start
            if start < len(part):
                self._parts.append(_Part(part, lease_of.get(id(part)), start))
        self._is_sending = True
        return self._flush(is_fresh=True)

    def pause(self) -> None:
        """The transport's buffer holds something."""
        self.is_paused = True

    def resume(self) -> None:
        """The transport's buffer is empty: go on."""
        self.is_paused = False
        self._go_on()

    def drop(self) -> None:
        """Give up what is not written, and everything that is still sent; the connection ends."""
        self._is_dropped = True
        self._is_sending = False
        self._parts.clear()
        if self._reading is not None:
            self._reading.cancel()
        self._end_leases()

    def _go_on(self) -> None:
        if not self._is_sending or self._reading is not None:
            return
        try:
            is_gone = self._flush(is_fresh=False)
        except NotResident as cold:
            self._reading = asyncio.get_running_loop().create_task(self._bring_in(cold))
        except (CorruptLog, LogReadError) as error:
            self._on_failed(str(error))
        else:
            if is_gone:
                self._on_sent()

    async def _bring_in(self, cold: NotResident) -> None:
        await cold.bring_in()
        self._reading = None
        self._go_on()

    def _flush(self, *, is_fresh: bool) -> bool:
        """Write while the transport's buffer is empty; return whether everything is gone.

        What was looked at in this very callback `is_fresh` and not looked at again.
        """
        slice_end = time.monotonic() + SLICE_MS / 1000
        while self._parts and not self.is_paused:
            buffer, lease, start = self._parts[0]
            end = min(start + WRITE_BYTES, len(buffer))
            if lease is not None and not is_fresh:
                lease.require(start, end)
            end = self._write(buffer, start, end)
            if end < len(buffer):
                self._parts[0] = _Part(buffer, lease, end)
            else:
                self._parts.popleft()
            if time.monotonic() > slice_end and self._parts and not self.is_paused:
                asyncio.get_running_loop().call_soon(self._go_on)
                break
        if self._parts or self.is_paused or self._is_dropped:
            return False
        self._is_sending = False
        self._end_leases()
        return True

    def _is_free(self) -> bool:
        """Whether what is written to the socket now comes behind everything the transport was given."""
        transport = self._transport
        return (
            self._descriptor is not None
            and not self.is_paused
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    def _write_at_once(self, parts: Sequence[Buffer]) -> int:
        """Write as much as the socket takes, with one call; return how much that was."""
        assert self._descriptor is not None
        try:
            return os.write(self._descriptor, parts[0]) if len(parts) == 1 else os.writev(self._descriptor, parts)
        except OSError:
            return 0  # the peer does not read, or is gone: the transport finds out which

    def _write(self, buffer: Buffer, start: int, end: int) -> int:
        """Write from `start` to `end`, or as far as the peer takes it; return how far that was."""
        piece = buffer if end - start == len(buffer) else memoryview(buffer)[start:end]
        if self._descriptor is None or not self._is_free():
            self._transport.write(piece)
            return end
        try:
            taken = os.write(self._descriptor, piece)
        except OSError:
            taken = 0  # the peer does not read, or is gone: the transport finds out which
        start += taken
        if start < end:
            end = min(start + WAIT_BYTES, end)
            self._transport.write(bytes(memoryview(buffer)[start:end]))
        return end

    def _end_leases(self) -> None:
        for lease in self._leases:
            lease.close()
        self._leases = ()


def _socket_of(transport: Any) -> int | None:
    """The socket under a transport that sends what it is given as it is; None if there is none such."""
    get_extra_info = getattr(transport, "get_extra_info", None)
    found = get_extra_info("socket") if get_extra_info is not None else None
    return found.fileno() if found is not None else None
