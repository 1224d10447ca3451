"""One client's connection: its transport, its login, its requests one at a time, its timeouts.

A `Client` feeds bytes to the sans-IO `Connection`, over TLS where the listener says so, and runs one request at a
time. A handler that does not wait runs to its end in the callback that brought the bytes; one that waits becomes a
task, or has given a `PendingAnswer`, and both are cancelled when the connection is lost.

Flow control. Responses are written by `outgoing.py`, as fast as the peer reads. Pipelined requests are read ahead up
to `READ_AHEAD_BYTES`, then the socket is left unread. A client that pipelines gives the loop back every `SLICE_MS`.

Why a connection was closed goes to the log, never a password or a token; what strangers can cause over and over is
told once in a while (`notices.py`).

Left to others: listening, and which connections there may be (`server.py`, `admission.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from broker.admission import HOARD_BYTES
from broker.apis import APIS, SERVICE_APIS
from broker.connection import Connection, Request, Token
from broker.context import RequestContext, Session
from broker.errors import ApiError, CloseConnection, ErrorCode
from broker.listener import Address, origin
from broker.outgoing import WRITE_BYTES, Outgoing
from broker.parked import PendingAnswer
from broker.principal import ANONYMOUS, NOBODY
from broker.sasl import AuthState, SaslExchange, log_in
from broker.tls import HELLO, REPLY_BYTES_MAX, TlsError, TlsSession, TlsTransport
from broker.wire import Message
from storage.scheduler import SLICE_MS, sleep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from broker.faults import Effect
    from broker.listener import Listener
    from broker.server import BrokerServer
    from broker.wire import Buffer
    from storage.scheduler import Timer

AUTHENTICATE_MS_MAX: Final = 10_000
"""Time a stranger has from connecting to being logged in, the TLS handshake included."""
IDLE_MS_MAX: Final = 600_000
"""`connections.max.idle.ms`, Kafka's default; clients close after nine minutes. A request in flight is not idle."""
FAILED_LOGIN_DELAY_MS: Final = 1000
"""Delay before a refused login closes the connection: clients up to 0.11 reconnect at once and forever."""
INTERNAL_ERROR_DELAY_MS: Final = 500
"""Delay of an answer with code -1: Java repeats a fetch that got it at once."""
READ_AHEAD_BYTES: Final = 64 * 1024

_log = logging.getLogger(__name__)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: BrokerServer, listener: Listener) -> None:
        self._server = server
        self._listener = listener
        # Per connection
        self._loop = asyncio.get_running_loop()
        self._core = Connection(
            SaslExchange(needs_login=listener.security.needs_login), SERVICE_APIS if listener.dts_quirks else APIS
        )
        self._transport: Any = None
        self._tls: TlsSession | None = None
        self._is_closing = False
        self._is_stranger = listener.security.needs_login
        self._is_reading = True
        self._is_pump_due = False
        # Per request
        self._is_busy = False
        self.is_held = False
        """Whether a scripted fault keeps an answer back."""
        self._task: asyncio.Future[Any] | None = None
        """What answers the request in flight, if it waits."""
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
        self._outgoing = Outgoing(self._transport, self._on_sent, self.abort)
        peer = transport.get_extra_info("peername")
        self.peer = Address.of_socket(peer) if peer else Address("?", 0)
        self.origin = origin(self.peer.host)
        local = Address.of_socket(transport.get_extra_info("sockname"))
        advertised = self._listener.advertised or local
        self.session = Session(
            listener=self._listener,
            address=advertised if advertised.port else Address(advertised.host, local.port),
            client_host=self.peer.host,
            sasl=self._core.sasl,
            principal=NOBODY if self._is_stranger else ANONYMOUS,
        )
        if not self._listener.admits(self.peer.host):
            self.abort("allow_from does not have its address")
        elif not self._server.enter(self, is_stranger=self._is_stranger):
            self.abort("there are too many connections")
        else:
            self._touch()
            self._watch(AUTHENTICATE_MS_MAX if self._is_stranger else IDLE_MS_MAX)

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        self._touch()
        if self._tls is not None:
            data = self._open(self._tls, data)
        elif self._is_stranger and data.startswith(HELLO) and not self._core.buffered_bytes:
            self.abort("it speaks TLS; set its security protocol to SASL_PLAINTEXT, or use a SASL_SSL listener")
        self._core.receive(data)
        self._pump()
        if self._tls is not None and self._tls.is_ended:
            # Behind what came with the good-bye: a commit right before the end is stored, as it is without TLS.
            self._close()
        if self._is_stranger and self._core.buffered_bytes > HOARD_BYTES and not self._server.may_hoard(self):
            self.abort("too many connections that have not logged in send large frames")

    def _open(self, tls: TlsSession, data: bytes) -> bytes:
        """Open what came over TLS, let TLS answer, and end the connection if it cannot go on."""
        try:
            opened = tls.receive(data)
        except TlsError as reason:
            opened = b""
            self._transport.reply()
            self._tell(str(reason))
            self._close()
        else:
            self._transport.reply()
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
            # Behind its first step: a commit that came right before the end is stored, as by Kafka.
            self._loop.call_soon(self._task.cancel)
        if self._timer is not None:
            self._timer.cancel()
        self._outgoing.drop()
        if self._context is not None:
            self._context.release()
        self._server.forget(self)

    # What others may know

    @property
    def client_id(self) -> str:
        """What the client calls itself."""
        return self._core.client_id

    @property
    def is_idle(self) -> bool:
        """Whether no request is in flight; a fetch that waits is."""
        return not self._is_busy

    # Requests

    def _pump(self) -> None:
        """Run the requests that have come, until one waits, the peer does not read, or the slice is over."""
        core, slice_end = self._core, 0.0
        while not self._is_busy and not self._is_closing:
            try:
                event = core.next_event()
            except CloseConnection as reason:
                self.abort(str(reason))
                return
            if event is None:
                break
            if not slice_end and core.buffered_bytes:
                slice_end = time.monotonic() + SLICE_MS / 1000
            self._is_busy = True
            self._begin(event)
            if slice_end and time.monotonic() > slice_end:
                self._pump_soon()
                break
        if core.buffered_bytes or not self._is_reading:
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
            self._start(self._check_token(event.token))
            return
        context = self._context = RequestContext(
            broker=self._server.broker,
            session=self.session,
            api_version=event.api_version,
            client_id=event.client_id,
        )
        requests, key = self._server.requests, event.api.key
        requests[key] = requests.get(key, 0) + 1
        if event.refusal is not None:
            self._respond(event, event.refusal)
            return
        if self._server.faults is not None:
            effect = self._server.faults.on(event, self.session.principal, self.peer)
            if effect is not None:
                self._start(self._suffer(event, context, effect))
                return
        try:
            result = event.api.handle(context, event.body)
        except Exception as error:
            self._start(self._fail(event, error))
            return
        if isinstance(result, Message):
            self._respond(event, result)
        elif isinstance(result, PendingAnswer) and not self._is_stranger:
            self._task = result
            result.then = partial(self._on_answer, event)
        else:
            self._start(self._await(event, result))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        """Cut a connection whose request ended in a fault of ours: nobody answers it any more, or looks at its time."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._cut_unanswered(error)

    def _cut_unanswered(self, error: BaseException) -> None:
        _log.error("a request was not answered", exc_info=error)
        self.abort("its request could not be answered")

    def _on_answer(self, request: Request, answer: PendingAnswer) -> None:
        """Answer a request that waited without a task of its own."""
        error = answer.exception()
        if self._core.sasl.state is AuthState.CLOSED:
            return
        if isinstance(error, Exception):
            self._start(self._fail(request, error))
            return
        try:
            self._complete(request, answer.result())
        except Exception as error:
            self._cut_unanswered(error)

    async def _await(self, request: Request, pending: Awaitable[Message]) -> None:
        try:
            response = await pending
        except Exception as error:
            await self._fail(request, error)
        else:
            if await self._is_within_quota():
                self._complete(request, response)

    async def _fail(self, request: Request, error: Exception) -> None:
        """Answer, or not, a request whose handler raised."""
        if isinstance(error, CloseConnection):
            if self._is_stranger:
                await self._wait(FAILED_LOGIN_DELAY_MS)
            self.abort(str(error))
            return
        if isinstance(error, ApiError):
            response = request.api.error(request.api_version, request.body, error.code, error.message)
        else:
            _log.error("%s v%d failed", request.api.name, request.api_version, exc_info=error)
            await self._wait(INTERNAL_ERROR_DELAY_MS)
            code = ErrorCode.UNKNOWN_SERVER_ERROR
            response = request.api.error(request.api_version, request.body, code, None)
        self._complete(request, response)

    async def _suffer(self, request: Request, context: RequestContext, effect: Effect) -> None:
        """Answer a request that a scripted fault meets."""
        try:
            response = await effect.answer(request, context, self._hold)
        except Exception as error:
            await self._fail(request, error)
        else:
            if effect.cut_after_bytes is not None:
                self._tell("a scripted fault cuts its answer")
                self._task = None
                self._is_closing = True
                self._write([b"".join(self._core.respond(request, response))[: effect.cut_after_bytes]])
            elif await self._is_within_quota():
                self._complete(request, response)

    async def _hold(self, delay_ms: int) -> None:
        """Keep an answer back, as long as the server does not close."""
        self.is_held = True
        if self._is_closing:
            self.abort("the server closes")
        await self._wait(delay_ms)
        self.is_held = False

    def _complete(self, request: Request, response: Message) -> None:
        """Answer a request that waited, and go on with the next."""
        self._task = None
        self._touch()
        self._respond(request, response)
        self._pump()

    async def _check_token(self, token: bytes) -> None:
        """Check a raw token; a refusal cannot be expressed, so the connection closes, a little later."""
        if await log_in(self._server.broker, token, self.session):
            await self._wait(FAILED_LOGIN_DELAY_MS)
            self.abort("its login was refused")
        elif await self._is_within_quota():
            self._task = None
            self._touch()
            self._write([self._core.respond_token()])
            self._pump()

    async def _is_within_quota(self) -> bool:
        """Count a connection that has just logged in; one too many of its group is closed, a little later.

        A wrong login that `dts_quirks` lets in stays a stranger: whoever knows no password has no more room than that.
        """
        if not self._is_stranger or self._core.sasl.state is not AuthState.READY:
            return True
        if not self.session.principal.is_recognised:
            return True
        self._is_stranger = False
        refusal = self._server.log_in(self, self.session.principal)
        if refusal is None:
            return True
        self._core.sasl.close()
        await self._wait(FAILED_LOGIN_DELAY_MS)
        self.abort(refusal)
        return False

    async def _wait(self, delay_ms: int) -> None:
        await sleep(self._server.broker.scheduler, delay_ms)

    # Responses

    def _respond(self, request: Request, response: Message) -> None:
        parts = self._core.respond(request, response)
        if request.close_after or self._core.sasl.state is AuthState.CLOSED:
            self._is_closing = True
        self._write(parts)

    def _write(self, parts: list[Buffer]) -> None:
        leases = self._context.leases if self._context is not None else ()
        self._server.sent_bytes += sum(map(len, parts))
        if self._outgoing.send(parts, leases):
            self._finish()

    def _on_sent(self) -> None:
        """Go on behind a response that had to wait for the peer."""
        self._touch()
        self._finish()
        self._pump()

    def _finish(self) -> None:
        """The request is answered, and its answer is gone."""
        self._context = None
        self._is_busy = False
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
        """Close now, or when the response in flight is written; one that a scripted fault holds back never is."""
        self._is_closing = True
        if not self._is_busy:
            self._transport.close()
        elif self.is_held:
            self.abort("the server closes")

    def abort(self, reason: str) -> None:
        """Cut the connection."""
        self._tell(reason)
        self._is_closing = True
        self._outgoing.drop()
        self._transport.abort()

    def _close(self) -> None:
        """Close the connection behind what is written."""
        self._is_closing = True
        self._outgoing.drop()
        self._transport.close()

    def _tell(self, reason: str) -> None:
        """Log why the connection is closed: each time if it was logged in, else once in a while."""
        text = f"connection from {self.peer} on listener {self._listener.name} is closed: {reason}"
        if self._is_known:
            _log.info("%s", text)
        else:
            self._server.broker.notices.tell(logging.INFO, (self._listener.name, self.peer.host, reason), text)

    @property
    def _is_known(self) -> bool:
        """Whether the peer has logged in, with success and within its quota."""
        principal = self.session.principal
        is_in = principal.group_id is not None and self._core.sasl.state is AuthState.READY
        return is_in and principal.is_recognised
