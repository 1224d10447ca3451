"""A TCP proxy between source and capture that breaks connections on purpose.

Each connection takes the next `Fault` of a plan: after so many bytes in one direction it is closed, reset, or goes
silent while both sockets stay open. Without a fault bytes pass as they come, or a few at a time (`trickle_bytes`).
`refuse` closes the door until `accept`. Everything is counted, and `close` leaves no task and no socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE_BYTES = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends RST


class Way(Enum):
    """How a connection breaks."""

    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"


class Direction(Enum):
    """Which bytes are counted."""

    DOWN = "from the server"
    UP = "to the server"


@dataclass(frozen=True)
class Fault:
    """Break behind `after_bytes` bytes in one direction, of which all have arrived."""

    after_bytes: int
    way: Way = Way.RESET
    direction: Direction = Direction.DOWN


class FaultProxy:
    """Made by `listening`; `plan` gives each new connection its fault, or None."""

    def __init__(self, host: str, port: int, plan: Callable[[], Fault | None] = lambda: None) -> None:
        self.plan = plan
        self.trickle_bytes = 0
        """How many bytes pass in one turn of the loop; 0: as they come."""
        self.port = 0
        self.connections = 0
        self.broken = 0
        self.open: set[_Connection] = set()
        self._target = host, port
        self._server: asyncio.Server | None = None

    async def accept(self) -> None:
        """Open the door, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_PIECE_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Take no more connections; those that are open stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def break_all(self, way: Way) -> None:
        """Break everything that is open now."""
        for connection in tuple(self.open):
            self._break(connection, way)

    async def close(self) -> None:
        self.refuse()
        tasks = [connection.task for connection in self.open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(task, writer, self.plan())
        self.open.add(connection)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                server_reader, connection.server = await asyncio.open_connection(*self._target, limit=_PIECE_BYTES)
                async with asyncio.TaskGroup() as group:
                    connection.pumps = [
                        group.create_task(self._pump(connection, server_reader, writer, Direction.DOWN)),
                        group.create_task(self._pump(connection, reader, connection.server, Direction.UP)),
                    ]
        finally:
            self.open.discard(connection)
            for end in connection.ends:
                end.transport.abort()

    async def _pump(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        fault = connection.fault
        left = fault.after_bytes if fault is not None and fault.direction is direction else None
        with contextlib.suppress(OSError):
            while data := await reader.read(self.trickle_bytes or _PIECE_BYTES):
                if connection.is_silent:
                    continue
                writer.write(data if left is None else data[:left])
                await writer.drain()
                if left is not None and fault is not None and len(data) >= left:
                    self._break(connection, fault.way)
                    left = None
                elif left is not None:
                    left -= len(data)
                if self.trickle_bytes:
                    await asyncio.sleep(0)
        if not connection.is_silent:
            connection.end()

    def _break(self, connection: _Connection, way: Way) -> None:
        self.broken += 1
        if way is Way.STALL:
            connection.is_silent = True
            return
        for end in connection.ends:
            if way is Way.RESET:
                found: socket.socket | None = end.get_extra_info("socket")
                if found is not None:
                    with contextlib.suppress(OSError):
                        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.transport.abort()
        connection.end()


class _Connection:
    """Two sockets and what passes between them."""

    def __init__(self, task: asyncio.Task[None], client: asyncio.StreamWriter, fault: Fault | None) -> None:
        self.task = task
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.fault = fault
        self.is_silent = False
        self.pumps: list[asyncio.Task[None]] = []

    @property
    def ends(self) -> Iterator[asyncio.StreamWriter]:
        yield self.client
        if self.server is not None:
            yield self.server

    def end(self) -> None:
        """Close in order what is not broken: what was written still arrives."""
        for end in self.ends:
            end.close()
