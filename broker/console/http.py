"""The listener of the control plane: uvicorn's protocol on a socket of ours, in the server's own event loop.

The socket listens from the start on, so that its address is known; what answers on it is loaded in a thread when the
Kafka listeners serve, and whoever connects meanwhile waits. Of uvicorn only the protocol is used: its server has signal
handlers of its own and wakes up ten times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from typing import TYPE_CHECKING, Any, Final

from broker.listener import Address
from broker.server import BACKLOG, ListenError, bind, why_unusable

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.applications import Starlette

    from broker.config import ConsoleConfig
    from broker.operations.plane import ControlPlane

KEEP_ALIVE_S: Final = 15
HEADERS_BYTES_MAX: Final = 32 << 10
CLOSE_DEADLINE_S: Final = 5

_log = logging.getLogger("binwire.console")


class ConsoleServer:
    """Serves the control plane on an address. `start`, then `close`, once each."""

    def __init__(self, config: ConsoleConfig, plane: Callable[[], ControlPlane]) -> None:
        """`plane` is called on the loop when everything is loaded."""
        self._config = config
        self._plane = plane
        self._socket: socket.socket | None = None
        self._loading: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._state: Any = None

    async def start(self) -> Address:
        """Listen, and begin to load what answers; nothing is waited for. Raises ListenError."""
        try:
            self._socket = await bind(self._config.bind_address)
            self._socket.listen(BACKLOG)
        except OSError as error:
            raise ListenError(f"console cannot use {self._config.bind}: {why_unusable(error)}") from error
        self._loading = asyncio.create_task(self._load(), name="console")
        return Address.of_socket(self._socket.getsockname())

    async def _load(self) -> None:
        try:
            make_application = await asyncio.to_thread(_loaded)
            gc.freeze()  # what was loaded stays
            protocol = self._protocol(make_application(self._plane()))
            assert self._socket is not None
            self._server = await asyncio.get_running_loop().create_server(protocol, sock=self._socket, backlog=BACKLOG)
        except Exception:
            _log.exception("the console cannot be served")

    def _protocol(self, application: Starlette) -> Callable[[], asyncio.BaseProtocol]:
        from uvicorn.config import Config
        from uvicorn.protocols.http.h11_impl import H11Protocol
        from uvicorn.server import ServerState

        config = Config(
            application,
            http=H11Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
        )
        config.load()
        state = self._state = ServerState()
        return lambda: H11Protocol(config, state, {})

    async def close(self) -> None:
        """Stop listening; connections end when they have been answered, or at the deadline."""
        if self._loading is not None:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loading
        if self._server is None:
            if self._socket is not None:
                self._socket.close()
            return
        self._server.close()
        for connection in tuple(self._state.connections):
            connection.shutdown()
        if tasks := tuple(self._state.tasks):
            _, late = await asyncio.wait(tasks, timeout=CLOSE_DEADLINE_S)
            for task in late:
                task.cancel()


def _loaded() -> Callable[[ControlPlane], Starlette]:
    """What makes the application. Loads some two hundred modules."""
    import uvicorn.protocols.http.h11_impl
    import uvicorn.server  # noqa: F401

    from broker.console.application import make_application

    return make_application
