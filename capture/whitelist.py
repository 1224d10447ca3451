"""The address by which a source sees this machine: what its whitelist, its firewall and the account must admit.

Three places tell it: a session (`SELECT USER()`), the refusal of one, which names the host that was refused, and before
anybody answers the route to the host. Where addresses are translated on the way the first two differ from the third.
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from capture.errors import SourceRefused

if TYPE_CHECKING:
    from capture.source import Source, SourceAddress

_DENIED_HOST: Final = (re.compile(r"Access denied for user '.*'@'([^']+)'"), re.compile(r"Host '([^']+)' is "))
"""Errors 1045 and 1698; 1129 and 1130 (errmsg of MySQL and MariaDB)."""


class SeenFrom(Struct, frozen=True):
    """`host` as the source sees this machine, an address or the name it has for it, None if it did not say; `local` are
    this machine's own addresses on the way there.
    """

    host: str | None
    local: tuple[str, ...]

    @property
    def admitted(self) -> tuple[str, ...]:
        """What a whitelist must admit, the surest first."""
        first = () if self.host is None else (self.host,)
        return first + tuple(address for address in self.local if address != self.host)

    def __str__(self) -> str:
        if self.host is None or self.local in ((), (self.host,)):
            return " or ".join(self.admitted) or "an address that is not known"
        return f"{self.host} (here {', '.join(self.local)})"


async def seen_from(source: Source, address: SourceAddress) -> SeenFrom:
    """How a source that answers sees this session. Raises SourceUnavailable.

    It is told to people and decides nothing, so one that does not know the question (a proxy between) is no failure.
    """
    try:
        rows = await source.query("SELECT USER()")
    except SourceRefused:
        rows = []
    host = (rows[0][0] or "").rpartition("@")[2] if rows else ""
    return SeenFrom(host or None, await local_addresses(address))


async def denied_from(message: str, address: SourceAddress) -> SeenFrom:
    """The same from the sentence of a refusal, or of a source that cannot be reached."""
    found = next((match[1] for pattern in _DENIED_HOST if (match := pattern.search(message))), None)
    return SeenFrom(found, await local_addresses(address))


async def local_addresses(address: SourceAddress) -> tuple[str, ...]:
    """The addresses of this machine on the way to the hosts of a source, as far as their names are found."""
    return tuple(dict.fromkeys(await asyncio.to_thread(_routes, address.hosts)))


def _routes(hosts: tuple[tuple[str, int], ...]) -> list[str]:
    found = []
    for host, port in hosts:
        try:
            candidates = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError):  # the second for what cannot be the name of a host
            continue
        found += [local for candidate in candidates if (local := _route(candidate[0], candidate[4])) is not None][:1]
    return found


def _route(family: int, target: tuple[Any, ...]) -> str | None:
    """Our address towards a target: connecting a datagram socket asks the routes and sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect(target)
            return str(asked.getsockname()[0])
    except OSError:
        return None
