"""The listeners and the transports: the only file of the broker that touches sockets.

One `_Client` per connection feeds bytes to the sans-IO `Connection` and runs one request at a time. A handler that
does not wait runs to its end in the callback that brought the bytes; one that waits becomes a task, cancelled when
the connection is lost.

Flow control. Responses are written by `outgoing.py`, as fast as the peer reads. Pipelined requests are read ahead up
to `READ_AHEAD_BYTES`, then the socket is left unread. A client that pipelines gives the loop back every `SLICE_MS`.

Closing: no new connections; parked joins, syncs and fetches are answered; a connection closes when it has nothing in
flight; what is still open at the deadline is cut. Reasons and failed logins go to the log, never a password or a
token.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from broker.connection import Connection, Request, Token
from broker.context import RequestContext, Session
from broker.errors import ApiError, CloseConnection, ErrorCode
from broker.listener import Address, Listener, Security
from broker.outgoing import WRITE_BYTES, Outgoing
from broker.principal import ANONYMOUS, NOBODY, Principal
from broker.sasl import AuthState, SaslExchange, log_in
from broker.tls import REPLY_BYTES_MAX, TlsError, TlsSession, TlsTransport
from broker.wire import Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broker.context import Broker
    from broker.wire import Buffer
    from storage.scheduler import Timer

__all__ = ["BrokerServer", "ListenError", "Listener"]

CONNECTIONS_MAX: Final = 4096
"""Connections at a time; a client holds about three. One more is closed at once."""
BACKLOG: Final = 1024
"""Connections the kernel holds for us while a restart brings all clients back at once."""
AUTHENTICATE_MS_MAX: Final = 10_000
"""Time a stranger has from connecting to being logged in."""
IDLE_MS_MAX: Final = 600_000
"""`connections.max.idle.ms`, Kafka's default; clients close after nine minutes. A request in flight is not idle."""
FAILED_LOGIN_DELAY_MS: Final = 1000
"""Delay before a refused raw token closes the connection: clients up to 0.11 reconnect at once and forever."""
INTERNAL_ERROR_DELAY_MS: Final = 500
"""Delay of an answer with code -1: Java repeats a fetch that got it at once."""
READ_AHEAD_BYTES: Final = 64 * 1024
SLICE_MS: Final = 2

_log = logging.getLogger(__name__)


class ListenError(Exception):
    """A listener's address cannot be had; the message is one sentence for people."""


class BrokerServer:
    """Serves a `Broker` on listeners. `close()` also shuts the broker's coordinator down: the broker ends with its
    server.
    """

    def __init__(
        self, broker: Broker, listeners: Sequence[Listener], *, connections_max: int = CONNECTIONS_MAX
    ) -> None:
        self.broker = broker
        self._listeners = tuple(listeners)
        self._connections_max = connections_max
        self._servers: list[asyncio.Server] = []
        self._clients: set[_Client] = set()
        self._all_gone = asyncio.Event()

    @property
    def connection_count(self) -> int:
        """Connections open now."""
        return len(self._clients)

    async def start(self) -> dict[str, Address]:
        """Listen; return each listener's bound address by name.

        Raises:
            ListenError: an address cannot be had; nothing listens then.
        """
        try:
            return {listener.name: await self._listen(listener) for listener in self._listeners}
        except ListenError:
            self._stop_listening()
            raise

    async def _listen(self, listener: Listener) -> Address:
        if listener.security is Security.PLAINTEXT and not (listener.bind.is_loopback or listener.allow_anonymous):
            raise ListenError(
                f"listener {listener.name} is PLAINTEXT on {listener.bind}: without login only a loopback address is "
                "allowed; use SASL_PLAINTEXT, or set allow_anonymous = true"
            )
        try:
            bound = await _bind(listener.bind)
            server = await asyncio.get_running_loop().create_server(
                lambda: _Client(self, listener), sock=bound, backlog=BACKLOG
            )
        except OSError as error:
            raise ListenError(f"listener {listener.name} cannot use {listener.bind}: {_reason(error)}") from error
        self._servers.append(server)
        return _address(server.sockets[0].getsockname())

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()

    async def close(self, deadline_ms: int = 5000) -> None:
        """Stop accepting, answer what is in flight, close everything; cut what is still open after `deadline_ms`."""
        self._stop_listening()
        self.broker.groups.shut_down()
        self.broker.wake_parked()
        for client in tuple(self._clients):
            client.close_when_idle()
        if self._clients:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), deadline_ms / 1000)
        for client in tuple(self._clients):
            client.abort("the server closes")

    def disconnect(self, matches: Callable[[Principal], bool]) -> int:
        """Cut the connections whose principal `matches` (changed password, deleted group); return how many."""
        concerned = [client for client in self._clients if matches(client.session.principal)]
        for client in concerned:
            client.abort("its login is no longer valid")
        return len(concerned)

    def admit(self, client: _Client) -> bool:
        """Take a new connection in, unless there are too many."""
        if len(self._clients) >= self._connections_max:
            return False
        self._clients.add(client)
        self._all_gone.clear()
        return True

    def forget(self, client: _Client) -> None:
        """A connection is gone."""
        self._clients.discard(client)
        if not self._clients:
            self._all_gone.set()


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: BrokerServer, listener: Listener) -> None:
        self._server = server
        self._listener = listener
        # Per connection
        self._loop = asyncio.get_running_loop()
        self._core = Connection(SaslExchange(needs_login=listener.security.needs_login))
        self._transport: Any = None
        self._tls: TlsSession | None = None
        self._is_closing = False
        self._is_reading = True
        self._is_pump_due = False
        # Per request
        self._is_busy = False
        self._task: asyncio.Task[None] | None = None
        self._context: RequestContext | None = None
        self._outgoing: Outgoing
        # Timeouts
        self._active_ms = 0
        self._timer: Timer | None = None

    # Transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if self._listener.certificate is not None:
            self._tls = TlsSession(self._listener.certificate.context())
            self._transport = TlsTransport(transport, self._tls)
        self._outgoing = Outgoing(self._transport, self._on_sent)
        peer = transport.get_extra_info("peername")
        self.peer = _address(peer) if peer else Address("?", 0)
        local = _address(transport.get_extra_info("sockname"))
        advertised = self._listener.advertised or local
        self.session = Session(
            listener=self._listener,
            address=advertised if advertised.port else Address(advertised.host, local.port),
            client_host=self.peer.host,
            sasl=self._core.sasl,
            principal=NOBODY if self._listener.security.needs_login else ANONYMOUS,
        )
        if not self._server.admit(self):
            self.abort("there are too many connections")
            return
        self._touch()
        self._watch(AUTHENTICATE_MS_MAX if self._listener.security.needs_login else IDLE_MS_MAX)

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        self._touch()
        if self._tls is not None:
            data = self._open(self._tls, data)
        self._core.receive(data)
        self._pump()

    def _open(self, tls: TlsSession, data: bytes) -> bytes:
        """Open what came over TLS, let TLS answer, and end the connection if it is over."""
        try:
            opened = tls.receive(data)
        except TlsError as reason:
            opened = b""
            self._transport.reply()
            self._close(str(reason))
        else:
            self._transport.reply()
            if tls.is_ended:
                self._close("it said good-bye")
        if self._transport.get_write_buffer_size() > WRITE_BYTES + REPLY_BYTES_MAX:
            self.abort("it makes TLS answer and does not read")
        return opened

    def pause_writing(self) -> None:
        self._outgoing.pause()

    def resume_writing(self) -> None:
        self._touch()
        self._outgoing.resume()

    def connection_lost(self, error: Exception | None) -> None:
        self._is_closing = True
        self._core.sasl.close()
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._outgoing.drop()
        if self._context is not None:
            self._context.release()
        self._server.forget(self)

    # Requests

    def _pump(self) -> None:
        """Run the requests that have come, until one waits, the peer does not read, or the slice is over."""
        slice_end = time.monotonic() + SLICE_MS / 1000
        while not self._is_busy and not self._is_closing:
            try:
                event = self._core.next_event()
            except CloseConnection as reason:
                self.abort(str(reason))
                return
            if event is None:
                break
            self._is_busy = True
            self._begin(event)
            if time.monotonic() > slice_end:
                self._pump_soon()
                break
        self._control_reading()

    def _pump_soon(self) -> None:
        if not self._is_pump_due:
            self._is_pump_due = True
            self._loop.call_soon(self._pump_now)

    def _pump_now(self) -> None:
        self._is_pump_due = False
        self._pump()

    def _control_reading(self) -> None:
        """Leave the socket unread while requests wait to be run and enough is read ahead."""
        is_behind = self._is_busy or self._is_pump_due
        wants = not (is_behind and self._core.buffered_bytes > READ_AHEAD_BYTES)
        if wants is not self._is_reading and not self._is_closing:
            self._is_reading = wants
            if wants:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _begin(self, event: Request | Token) -> None:
        if isinstance(event, Token):
            self._task = self._loop.create_task(self._check_token(event.token))
            return
        context = self._context = RequestContext(
            broker=self._server.broker,
            session=self.session,
            api_version=event.api_version,
            client_id=event.client_id,
        )
        if event.refusal is not None:
            self._respond(event, event.refusal)
            return
        try:
            result = event.api.handle(context, event.body)
        except Exception as error:
            self._task = self._loop.create_task(self._fail(event, error))
            return
        if isinstance(result, Message):
            self._respond(event, result)
        else:
            self._task = self._loop.create_task(self._await(event, result))

    async def _await(self, request: Request, pending: Awaitable[Message]) -> None:
        try:
            response = await pending
        except Exception as error:
            await self._fail(request, error)
        else:
            self._complete(request, response)

    async def _fail(self, request: Request, error: Exception) -> None:
        """Answer, or not, a request whose handler raised."""
        if isinstance(error, CloseConnection):
            self.abort(str(error))
            return
        if isinstance(error, ApiError):
            response = request.api.error(request.api_version, request.body, error.code, error.message)
        else:
            _log.error("%s v%d failed", request.api.name, request.api_version, exc_info=error)
            await asyncio.sleep(INTERNAL_ERROR_DELAY_MS / 1000)
            code = ErrorCode.UNKNOWN_SERVER_ERROR
            response = request.api.error(request.api_version, request.body, code, None)
        self._complete(request, response)

    def _complete(self, request: Request, response: Message) -> None:
        """Answer a request that waited, and go on with the next."""
        self._task = None
        self._respond(request, response)
        self._pump()

    async def _check_token(self, token: bytes) -> None:
        """Check a raw token; a refusal cannot be expressed, so the connection closes, a little later."""
        if await log_in(self._server.broker.authenticator, token, self.session):
            await asyncio.sleep(FAILED_LOGIN_DELAY_MS / 1000)
            self.abort("its login was refused")
            return
        self._task = None
        self._write([self._core.respond_token()])
        self._pump()

    # Responses

    def _respond(self, request: Request, response: Message) -> None:
        parts = self._core.respond(request, response)
        if request.close_after or self._core.sasl.state is AuthState.CLOSED:
            self._is_closing = True
        self._write(parts)

    def _write(self, parts: list[Buffer]) -> None:
        leases = self._context.leases if self._context is not None else ()
        if self._outgoing.send(parts, leases):
            self._finish()

    def _on_sent(self) -> None:
        """Go on behind a response that had to wait for the peer."""
        self._finish()
        self._pump()

    def _finish(self) -> None:
        """The request is answered, and its answer is gone."""
        self._context = None
        self._is_busy = False
        self._touch()
        if self._is_closing:
            self._transport.close()

    # Timeouts

    def _touch(self) -> None:
        self._active_ms = self._server.broker.clock.monotonic_ms()

    def _watch(self, delay_ms: int) -> None:
        self._timer = self._server.broker.scheduler.call_later(delay_ms, self._look_at_timeout)

    def _look_at_timeout(self) -> None:
        """Close a connection that did not log in in time, or was idle or did not read for too long.

        Traffic does not move the timer; it looks at the time of the last activity when it fires. Work of ours is not
        idleness.
        """
        left_ms = self._active_ms + IDLE_MS_MAX - self._server.broker.clock.monotonic_ms()
        if self._task is not None:
            self._watch(AUTHENTICATE_MS_MAX)
        elif self._core.sasl.state is not AuthState.READY:
            self.abort(f"it did not log in within {AUTHENTICATE_MS_MAX} ms")
        elif left_ms > 0:
            self._watch(left_ms)
        else:
            self.abort(f"it was idle for {IDLE_MS_MAX} ms")

    # Closing

    def close_when_idle(self) -> None:
        """Close now, or when the response in flight is written."""
        self._is_closing = True
        if not self._is_busy:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Cut the connection."""
        self._tell(reason)
        self._is_closing = True
        self._outgoing.drop()
        self._transport.abort()

    def _close(self, reason: str) -> None:
        """Close the connection behind what is written."""
        self._tell(reason)
        self._is_closing = True
        self._outgoing.drop()
        self._transport.close()

    def _tell(self, reason: str) -> None:
        _log.info("connection from %s on listener %s is closed: %s", self.peer, self._listener.name, reason)


async def _bind(address: Address) -> socket.socket:
    """Bind a socket; a host with several addresses is bound at its first IPv4 one, else its first."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, target = min(found, key=lambda each: each[0] != socket.AF_INET)
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(target)
    except OSError:
        bound.close()
        raise
    return bound


def _reason(error: OSError) -> str:
    """Say what is wrong with an address and what to do."""
    if error.errno == errno.EADDRINUSE:
        return "it is in use; stop what listens there or change the listener's bind"
    if error.errno == errno.EACCES:
        return "the system does not permit it; ports below 1024 need privileges, change the listener's bind"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return "it is not an address of this machine; change the listener's bind"
    return f"{error.strerror or error}"


def _address(name: Any) -> Address:
    """Make an address of a socket's name; IPv4 in IPv6 clothing is shown as IPv4."""
    host, port = name[:2]
    return Address(host.removeprefix("::ffff:"), port)
