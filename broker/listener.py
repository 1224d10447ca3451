"""A listener: where clients come in, and the address they are told to come back to.

Several listeners serve the same topics at once (the service's convention: public 18001, classic 18002, VPC 18003).
Metadata and FindCoordinator answer with the listener the client came in on: its advertised address, or else the local
address of the accepted connection, which is never a wildcard.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


class Security(Enum):
    """What a listener asks of its clients, in Kafka's words."""

    PLAINTEXT = "PLAINTEXT"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def needs_login(self) -> bool:
        return self is not Security.PLAINTEXT


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port; `str()` is `host:port`, with IPv6 hosts in brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port` or `[v6]:port`; raise ValueError with one sentence."""
        host, colon, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not colon or not host or (":" in host and not bracketed):
            raise ValueError(f"address {text!r} is not host:port (write an IPv6 host in brackets)")
        if not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise ValueError(f"address {text!r} has port {port!r}; a port is a number from 0 to 65535")
        return cls(host[1:-1] if bracketed else host, int(port))

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening address. `bind` port 0 takes any free port; `advertised` None advertises the accepted
    connection's own address.
    """

    name: str
    bind: Address
    security: Security
    advertised: Address | None = None
    allow_anonymous: bool = False
    tls: ssl.SSLContext | None = None
