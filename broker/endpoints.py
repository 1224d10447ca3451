"""Where clients are told to connect: the listeners' addresses as seen from elsewhere.

What is advertised counts first, then the bound address. A wildcard is nobody's address: this machine's own name stands
for it, which clients elsewhere may have to replace by one that they can resolve.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from msgspec import Struct

from broker.listener import Address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.config import ListenerConfig


class Endpoint(Struct, frozen=True):
    """A listener as clients configure it: `address` is `host:port`, `security` Kafka's security protocol."""

    listener: str
    address: str
    security: str


def endpoints(listeners: Sequence[ListenerConfig], bound: Mapping[str, Address]) -> list[Endpoint]:
    """The endpoints of the listeners that listen, in the order of the configuration."""
    return [
        Endpoint(item.name, str(_seen(item.advertised_address, bound[item.name])), item.security)
        for item in listeners
        if item.name in bound
    ]


def _seen(advertised: Address | None, bound: Address) -> Address:
    if advertised is not None:
        return advertised if advertised.port else Address(advertised.host, bound.port)
    if bound.is_of_one_host:
        return bound
    return Address(socket.gethostname(), bound.port)
