"""The listener of the control plane: uvicorn's protocol on a socket of ours, in the server's own event loop.

The socket listens from the start on, so that its address is known; what answers on it is loaded in a thread when the
Kafka listeners serve, and whoever connects meanwhile waits. Of uvicorn only the protocol is used: its server has signal
handlers of its own and wakes up ten times a second.

Closing: no new connections; a connection closes when what it asked has been answered, or is cut at the deadline.

Left to others: limits of a connection (`protocol.py`), who may ask (`access.py`), what is answered (`application.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from broker.console.keys import Keys
from broker.console_rules import console_listener, exposure
from broker.listener import Address
from broker.server import BACKLOG, ListenError, bind, why_unusable

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from broker.config import ConsoleConfig
    from broker.console.access import Guard
    from broker.operations.plane import ControlPlane
    from storage.clock import Clock
    from storage.scheduler import Scheduler

    MakeGuard = Callable[[ControlPlane, Keys], Guard]

KEEP_ALIVE_S: Final = 15
HEADERS_BYTES_MAX: Final = 32 << 10
HANDSHAKE_S: Final = 10.0
CLOSE_DEADLINE_S: Final = 5.0

_log = logging.getLogger("binwire.console")


class ConsoleServer:
    """Serves the control plane on an address. `start`, then `close`, once each."""

    def __init__(self, config: ConsoleConfig, clock: Clock, scheduler: Scheduler) -> None:
        """Raises ConfigError if the certificate cannot be used."""
        self._keys = Keys(config, clock, scheduler)
        self._hosts = frozenset(host.lower() for host in config.hosts)
        self._listener = console_listener(config, clock)
        self._certificate = self._listener.certificate
        self._socket: socket.socket | None = None
        self._loading: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._guard: Guard | None = None
        self._state: Any = None

    async def start(self, plane: Callable[[], ControlPlane], load: Callable[[], object] = bool) -> Address:
        """Listen, and begin to load what answers; nothing is waited for. `load` is called in a thread, to load what
        `plane` needs; `plane` on the loop when all is loaded.

        Raises ListenError.
        """
        wanted = self._listener.bind
        try:
            self._socket = await bind(wanted)
            self._socket.listen(BACKLOG)
        except OSError as error:
            self._close_socket()
            raise ListenError(f"console cannot use {wanted}: {why_unusable(error)}") from error
        address = Address.of_socket(self._socket.getsockname())
        if (exposed := exposure(self._listener, address)) is not None:
            _log.warning("%s", exposed)
        self._loading = asyncio.create_task(self._load(plane, load, address.port), name="console")
        return address

    def take(self, config: ConsoleConfig) -> list[str]:
        """Have the password and tokens of a configuration that was read again; what that did."""
        if not self._keys.take(config):
            return []
        if self._guard is not None:
            self._guard.sessions.end_all()
        return ["the console's password or tokens changed: everybody signs in again"]

    def look_at_certificate(self) -> list[str]:
        """Take a renewed certificate now; what is doubtful about it."""
        if self._certificate is None:
            return []
        self._certificate.look()
        return self._certificate.doubts()

    async def close(self) -> None:
        """Stop listening; connections end when they have been answered, or at the deadline."""
        if self._loading is not None:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loading
        self._keys.close()
        if self._server is None:
            self._close_socket()
            return
        self._server.close()
        for connection in tuple(self._state.connections):
            connection.shutdown()
        if tasks := tuple(self._state.tasks):
            _, late = await asyncio.wait(tasks, timeout=CLOSE_DEADLINE_S)
            for task in late:
                task.cancel()
        for connection in tuple(self._state.connections):
            connection.transport.abort()

    async def _load(self, plane: Callable[[], ControlPlane], load: Callable[[], object], port: int) -> None:
        try:
            await asyncio.to_thread(load)
            make_guard = await asyncio.to_thread(_loaded)
            gc.freeze()  # what was loaded stays
            guard = self._guard = make_guard(plane(), self._keys)
            guard.hosts, guard.port = self._hosts, port
            assert self._socket is not None
            self._server = await asyncio.get_running_loop().create_server(
                self._protocol(guard),
                sock=self._socket,
                backlog=BACKLOG,
                ssl=self._context(),
                ssl_handshake_timeout=None if self._certificate is None else HANDSHAKE_S,
            )
        except Exception:
            _log.exception("the console cannot be served")
            self._close_socket()

    def _protocol(self, guard: Guard) -> Callable[[], asyncio.BaseProtocol]:
        from uvicorn.config import Config
        from uvicorn.server import ServerState

        from broker.console.protocol import Connections, ConsoleProtocol

        config = Config(
            guard,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
            http=ConsoleProtocol,
        )
        config.load()
        # What peers do wrong is no news; what fails of ours is told by `Guard`.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        state = self._state = ServerState()
        connections = Connections(self._listener)
        return lambda: ConsoleProtocol(config, state, connections)

    def _context(self) -> ssl.SSLContext | None:
        certificate = self._certificate
        if certificate is None:
            return None

        def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
            connection.context = certificate.context()

        context = certificate.context()
        context.sni_callback = choose
        return context

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()


def _loaded() -> MakeGuard:
    """What makes the application. Loads some three hundred modules, describes the interface, compiles the templates."""
    import uvicorn.server

    import broker.console.protocol  # noqa: F401
    from broker.console.application import make_application, make_guard
    from broker.console.openapi import description
    from broker.console.rendering import prepare
    from broker.operations.loading import load

    assert uvicorn.server
    load()
    prepare()
    for needs_token in (False, True):
        description(needs_token=needs_token)
    return partial(make_guard, make_application())
