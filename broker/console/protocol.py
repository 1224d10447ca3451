"""One connection of the control plane: uvicorn's HTTP/1.1 protocol, under limits.

A peer has `REQUEST_S` from its first byte, or from connecting, to the end of its request's body, and is cut when it
takes nothing of an answer for `ANSWER_S`. There are at most `CONNECTIONS_MAX` of them, `CONNECTIONS_PER_ORIGIN_MAX` of
one origin, and none from outside the listener's ranges. So neither slow nor many peers keep others out for long, and
none holds memory beyond one request's headers and body (`http.py`, `access.py`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from broker.listener import origin

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from broker.listener import Listener

CONNECTIONS_MAX: Final = 512
CONNECTIONS_PER_ORIGIN_MAX: Final = 128
REQUEST_S: Final = 20.0
ANSWER_S: Final = 30.0


class Connections:
    """Who is connected, by origin."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._by_origin: Counter[str] = Counter()

    def enter(self, host: str) -> bool:
        """Take a connection in, unless it may not or there are too many."""
        place = origin(host)
        if not self._listener.admits(host) or self._by_origin.total() >= CONNECTIONS_MAX:
            return False
        if self._by_origin[place] >= CONNECTIONS_PER_ORIGIN_MAX:
            return False
        self._by_origin[place] += 1
        return True

    def leave(self, host: str) -> None:
        """A connection that was taken in is gone."""
        place = origin(host)
        self._by_origin[place] -= 1
        if not self._by_origin[place]:
            del self._by_origin[place]


class ConsoleProtocol(H11Protocol):
    """One connection."""

    def __init__(self, config: Config, state: ServerState, connections: Connections) -> None:
        super().__init__(config, state, {})
        self._peers = connections
        self._host: str | None = None
        self._request_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        host = str((transport.get_extra_info("peername") or ("",))[0]).removeprefix("::ffff:")
        if not self._peers.enter(host):
            transport.abort()
            return
        self._host = host
        super().connection_made(transport)
        self._watch(is_owed=True)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._host is None:
            return
        self._peers.leave(self._host)
        self._watch(is_owed=False)
        self._stop_answer_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._host is None:
            return
        super().data_received(data)
        self._watch(is_owed=self._is_owed())

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch(is_owed=self._is_owed())
        self._expect_taken()

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            # A body that is none: whoever reads it is told that nothing more comes, and what he answers is not sent.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # something was answered already, or it was a HEAD, whose answer has no body
            self.transport.close()
        self._expect_taken()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_answer_timer()
        self._answer_timer = self.loop.call_later(ANSWER_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_answer_timer()
        super().resume_writing()

    def _expect_taken(self) -> None:
        """An answer is complete: what of it is still unsent when the next has not begun in time is not wanted."""
        if self._answer_timer is None and self.transport.get_write_buffer_size():
            self._answer_timer = self.loop.call_later(ANSWER_S, self._cut_unsent, self.cycle)

    def _cut_unsent(self, cycle: Any) -> None:
        self._answer_timer = None
        if self.cycle is cycle and self.transport.get_write_buffer_size():
            self.transport.abort()

    def _is_owed(self) -> bool:
        """Whether the peer has begun a request that it has not sent all of."""
        state: Any = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))

    def _watch(self, *, is_owed: bool) -> None:
        if is_owed and self._request_timer is None:
            self._request_timer = self.loop.call_later(REQUEST_S, self._cut)
        elif not is_owed and self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _cut(self) -> None:
        self._request_timer = None
        self.transport.abort()

    def _stop_answer_timer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
