"""A listener: where clients come in, and the address they are told to come back to.

Several listeners serve the same topics at once (the service's convention: public 18001, classic 18002, VPC 18003).
Metadata and FindCoordinator answer with the listener the client came in on: its advertised address, or else the local
address of the accepted connection, which is never a wildcard.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

if TYPE_CHECKING:
    from broker.certificate import ServerCertificate

AddressRange = ipaddress.IPv4Network | ipaddress.IPv6Network


def address_range(text: str) -> AddressRange:
    """Read an address or a range such as `10.0.0.0/8`; a range of mapped IPv4 addresses (`::ffff:…`) is one of IPv4.

    Raises ValueError.
    """
    found = ipaddress.ip_network(text, strict=False)
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    if mapped is None or found.prefixlen < MAPPED_PREFIX_BITS:
        return found
    return ipaddress.IPv4Network((mapped, found.prefixlen - MAPPED_PREFIX_BITS))


MAPPED_PREFIX_BITS = 96
"""IPv4 addresses in IPv6 clothing differ behind this many bits, which are those of `::ffff:0:0`."""
ORIGIN_PREFIX_BITS = 64
"""What one IPv6 host usually gets, to take addresses from as it likes."""


class Security(Enum):
    """What a listener asks of its clients, in Kafka's words."""

    PLAINTEXT = "PLAINTEXT"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def needs_login(self) -> bool:
        return self is not Security.PLAINTEXT


class Address(Struct, frozen=True):
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

    @classmethod
    def of_socket(cls, name: Any) -> Address:
        """The address in a socket's name; IPv4 in IPv6 clothing is shown as IPv4."""
        host, port = name[:2]
        return cls(host.removeprefix("::ffff:"), port)

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_wildcard(self) -> bool:
        """Whether this stands for every address of the machine."""
        try:
            return ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    @property
    def is_of_one_host(self) -> bool:
        """Whether this is the number of one host: neither a name, which may have several, nor a wildcard."""
        try:
            return not ipaddress.ip_address(self.host).is_unspecified
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def host_name(text: str) -> str | None:
    """The name in a Host header, without its port; None if it is none."""
    try:
        parts = urlsplit(f"//{text}")
        _ = parts.port
    except ValueError:
        return None
    if parts.path or parts.query or parts.fragment or parts.username is not None or not parts.hostname:
        return None
    return parts.hostname.removesuffix(".")


def origin(host: str) -> str:
    """The name under which limits count a peer: its IPv4 address, or the /64 that an IPv6 one has to itself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    return str(ipaddress.IPv6Network((address, ORIGIN_PREFIX_BITS), strict=False))


def public_address(bound: Address, advertised: Address | None = None) -> str | None:
    """An address under which the world may reach what is bound here, None if there is none that this machine knows.

    Public is what the IANA registries call globally reachable. A wildcard stands for the addresses that this machine's
    own packets carry (asked of the routing table; nothing is sent). An address that a router in front translates is
    known only if clients are told to connect to it. Names are not looked up.
    """
    hosts = _numbers(bound)
    if hosts and hosts[0].is_unspecified:
        hosts = [host for host in _outgoing_addresses() if host.version <= hosts[0].version]
    if advertised is not None:
        hosts += _numbers(advertised)
    return next((str(host) for host in hosts if host.is_global), None)


def _numbers(address: Address) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    with contextlib.suppress(ValueError):
        return [ipaddress.ip_address(address.host.partition("%")[0])]
    return []


def _outgoing_addresses() -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    found = []
    for family, anywhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((anywhere, 9))
            found.append(ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]))
    return found


class Listener(Struct, frozen=True):
    """One listening address. `bind` port 0 takes any free port; `advertised` None advertises the accepted
    connection's own address. `certificate` belongs to SASL_SSL; `allow_from` lists who may connect at all, empty:
    everybody; `dts_quirks` turns the rows of `quirks.py` on.
    """

    name: str
    bind: Address
    security: Security
    advertised: Address | None = None
    allow_anonymous: bool = False
    certificate: ServerCertificate | None = None
    allow_from: tuple[AddressRange, ...] = ()
    dts_quirks: bool = False

    def admits(self, host: str) -> bool:
        """Tell whether a peer with this address may connect; without ranges everybody may."""
        if not self.allow_from:
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in allowed for allowed in self.allow_from)

    def exposure(self, bound: Address) -> str | None:
        """A sentence for who runs this listener, bound here, if its clear text can be read or asked for from anywhere;
        else None.
        """
        public = None if self.certificate is not None else public_address(bound, self.advertised)
        if public is None:
            return None
        if self.security.needs_login:
            return (
                f"listener {self.name} sends passwords and data in clear text to whoever reaches {public}; use "
                "SASL_SSL with tls_cert and tls_key, or bind a private address"
            )
        return (
            f"listener {self.name} lets whoever reaches {public} read every topic without login; use SASL_SSL, or bind "
            "a private address"
        )
