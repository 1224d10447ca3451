"""One connection's response on its way out: in pieces, as fast as the peer reads.

Flow control. A response is written in pieces of `WRITE_BYTES` and only while the transport's buffer is empty, so a
client that does not read costs one piece of memory. The response's leases on the log end when the last piece has left
that buffer, or when the connection is given up.

Invariant: one response at a time; the next is sent when this one is gone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.wire import Buffer
    from storage.log import LogSlice

WRITE_BYTES: Final = 256 * 1024


class Outgoing:
    """Writes to one transport. `on_sent` is called when a response is gone that was not gone at once."""

    def __init__(self, transport: Any, on_sent: Callable[[], None]) -> None:
        transport.set_write_buffer_limits(high=1, low=0)
        self._transport = transport
        self._on_sent = on_sent
        self._parts: deque[Buffer] = deque()
        self._leases: tuple[LogSlice, ...] = ()
        self._is_sending = False
        self._is_dropped = False
        self.is_paused = False
        """Whether the peer has not yet read what the transport holds."""

    def send(self, parts: Iterable[Buffer], leases: Iterable[LogSlice] = ()) -> bool:
        """Write a response and end its `leases` behind it; return whether it is gone already."""
        assert not self._is_sending, "a response before the last one is gone"
        self._leases = tuple(leases)
        if self._is_dropped:
            self._end_leases()
            return False
        self._parts.extend(parts)
        self._is_sending = True
        return self._flush()

    def pause(self) -> None:
        """The transport's buffer holds something."""
        self.is_paused = True

    def resume(self) -> None:
        """The transport's buffer is empty: go on."""
        self.is_paused = False
        if self._is_sending and self._flush():
            self._on_sent()

    def drop(self) -> None:
        """Give up what is not written, and everything that is still sent; the connection ends."""
        self._is_dropped = True
        self._is_sending = False
        self._parts.clear()
        self._end_leases()

    def _flush(self) -> bool:
        """Write while the transport's buffer is empty; return whether everything is gone."""
        while self._parts and not self.is_paused:
            part = self._parts.popleft()
            if len(part) > WRITE_BYTES:
                view = memoryview(part)
                self._parts.appendleft(view[WRITE_BYTES:])
                part = view[:WRITE_BYTES]
            self._transport.write(part)
        if self._parts or self.is_paused or self._is_dropped:
            return False
        self._is_sending = False
        self._end_leases()
        return True

    def _end_leases(self) -> None:
        for lease in self._leases:
            lease.close()
        self._leases = ()
