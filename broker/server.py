"""The listeners, and the connections that are open: where they come in, how many, and how they all end.

Closing: no new connections; parked joins, syncs and fetches are answered; a connection closes when it has nothing in
flight; what is still open at the deadline is cut.

Left to others: what happens on a connection (`client.py`), how many there may be of whom (`admission.py`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING, Final

from broker.admission import CONNECTIONS_MAX, Admission
from broker.client import Client
from broker.listener import Address, Listener, Security

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.context import Broker, Session
    from broker.faults import Faults
    from broker.principal import Principal
    from storage.scheduler import Timer

__all__ = ["BrokerServer", "ListenError", "Listener"]

BACKLOG: Final = 1024
"""Connections the kernel holds for us while a restart brings all clients back at once."""

CERTIFICATE_LOOK_MS: Final = 3_600_000

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
        self._admission = Admission(connections_max)
        # How a connection stands with the limits; what a client asks of them.
        self.log_in = self._admission.log_in
        self.may_hoard = self._admission.may_hoard
        self._servers: list[asyncio.Server] = []
        self._certificate_timer: Timer | None = None
        self._clients: set[Client] = set()
        self._all_gone = asyncio.Event()
        self.requests: dict[int, int] = {}
        """Requests that have come, by the key of their API."""
        self.sent_bytes = 0
        """Of responses, the moment they are begun."""
        self.faults: Faults | None = None
        """What a test has scripted to go wrong."""

    @property
    def is_serving(self) -> bool:
        """Whether every listener takes connections."""
        return len(self._servers) == len(self._listeners) and all(server.is_serving() for server in self._servers)

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
            addresses = {listener.name: await self._listen(listener) for listener in self._listeners}
        except ListenError:
            self._stop_listening()
            raise
        if any(listener.certificate is not None for listener in self._listeners):
            self._watch_certificates()
        return addresses

    async def _listen(self, listener: Listener) -> Address:
        if listener.security is Security.PLAINTEXT and not (listener.bind.is_loopback or listener.allow_anonymous):
            raise ListenError(
                f"listener {listener.name} is PLAINTEXT on {listener.bind}: without login only a loopback address is "
                "allowed; use SASL_PLAINTEXT, or set allow_anonymous = true"
            )
        try:
            bound = await bind(listener.bind)
            try:
                server = await asyncio.get_running_loop().create_server(
                    lambda: Client(self, listener), sock=bound, backlog=BACKLOG
                )
            except BaseException:
                bound.close()
                raise
        except OSError as error:
            raise ListenError(f"listener {listener.name} cannot use {listener.bind}: {why_unusable(error)}") from error
        self._servers.append(server)
        address = Address.of_socket(server.sockets[0].getsockname())
        if (exposure := listener.exposure(address)) is not None:
            _log.warning("%s", exposure)
        return address

    def _watch_certificates(self) -> None:
        """Look at the certificates now and then also where nobody connects: clients stay for weeks."""
        self.look_at_certificates()
        self._certificate_timer = self.broker.scheduler.call_later(CERTIFICATE_LOOK_MS, self._watch_certificates)

    def _stop_listening(self) -> None:
        if self._certificate_timer is not None:
            self._certificate_timer.cancel()
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
            deadline = self.broker.scheduler.call_later(deadline_ms, self._all_gone.set)
            await self._all_gone.wait()
            deadline.cancel()
        for client in tuple(self._clients):
            client.abort("the server closes")

    def look_at_certificates(self) -> list[str]:
        """Take renewed certificates now, not with the next connection; return what is doubtful about any."""
        doubts = []
        for listener in self._listeners:
            if listener.certificate is not None:
                listener.certificate.look()
                doubts += listener.certificate.doubts()
        return doubts

    @property
    def clients(self) -> tuple[Client, ...]:
        """The connections that are open."""
        return tuple(self._clients)

    def disconnect(self, matches: Callable[[Principal], bool], reason: str) -> int:
        """Cut the connections whose principal `matches` (changed password, deleted group); return how many."""
        concerned = [client for client in self._clients if matches(client.session.principal)]
        for client in concerned:
            client.abort(reason)
        return len(concerned)

    def sessions(self, group_id: str) -> list[Session]:
        """The connections that are logged in as a group."""
        return [client.session for client in self._admission.of_group(group_id) if isinstance(client, Client)]

    def keep_quota(self, group_id: str, connections_max: int) -> int:
        """Cut the connections of a group that a new quota does not allow, the latest; return how many."""
        concerned = self._admission.beyond(group_id, connections_max)
        for client in concerned:
            client.abort(f"the quota of {group_id} is now {connections_max}")
        return len(concerned)

    def enter(self, client: Client, *, is_stranger: bool) -> bool:
        """Take a new connection in, unless there are too many."""
        if not self._admission.enter(client, is_stranger=is_stranger):
            return False
        self._clients.add(client)
        self._all_gone.clear()
        return True

    def forget(self, client: Client) -> None:
        """A connection is gone."""
        self._admission.leave(client)
        self._clients.discard(client)
        if not self._clients:
            self._all_gone.set()


async def bind(address: Address) -> socket.socket:
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


def why_unusable(error: OSError, setting: str = "bind") -> str:
    """Say what is wrong with an address and what to do; `setting` is where it was said."""
    if error.errno == errno.EADDRINUSE:
        return f"it is in use; stop what listens there or change {setting}"
    if error.errno == errno.EACCES:
        return f"the system does not permit it; ports below 1024 need privileges, change {setting}"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"it is not an address of this machine; change {setting}"
    return f"{error.strerror or error}"
