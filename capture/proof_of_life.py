"""What stands in for heartbeats at servers that send none: MySQL before 5.5.

A dump that is silent for a period is not dead there, only idle. So the server is asked where its binlog ends, on the
connection for queries; its answer becomes the HEARTBEAT event that a later server would have sent. An end that moves
while the dump stays silent is no sign of life: the count of missed heartbeats goes on. A half-open connection, which
no question on another one would show, is left to TCP's keep-alive.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from capture.dialect import Dialect
from capture.errors import CaptureError
from capture.source import Flavour

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from capture.dump_stream import DumpStream
    from capture.source import ServerInfo

_HEARTBEATS_SINCE = (5, 5, 0)
_ASK_FROM = 2
"""Watches without data after which a whole period was silent: data resets the count, the next watch makes it 1."""

KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 15, 5, 3


def sends_heartbeats(info: ServerInfo) -> bool:
    """Whether `@master_heartbeat_period` means something to the server."""
    return info.flavour is Flavour.MARIADB or Dialect.of(info.version).version >= _HEARTBEATS_SINCE


def keep_alive(connection: socket.socket) -> None:
    """Have the system notice that the other side is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
    ):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class ProofOfLife:
    """Asks a server for its end while `stream` is silent; `query` asks."""

    def __init__(self, stream: DumpStream, query: Callable[[str], Awaitable[list[tuple[str | None, ...]]]]) -> None:
        self._stream = stream
        self._query = query
        self._silent_at: tuple[str | None, ...] | None = None

    async def ask(self) -> None:
        """Once per heartbeat period."""
        stream = self._stream
        if stream.missed < _ASK_FROM:
            self._silent_at = None
            return
        try:
            rows = await self._query("SHOW MASTER STATUS")
        except CaptureError as error:
            stream.fail(error)
            return
        if not rows or stream.missed < _ASK_FROM:
            return
        end = rows[0][:2]
        self._silent_at = self._silent_at or end
        if end == self._silent_at:
            stream.missed = _ASK_FROM - 1
            stream.say(_heartbeat(end))


def _heartbeat(end: tuple[str | None, ...]) -> bytes:
    from capture.encode import EventEncoder
    from capture.events import Checksum

    file, position = end
    return EventEncoder(checksum=Checksum.NONE, position=int(position or 0)).heartbeat(file or "")
