"""Faults that a test has scripted: which requests they meet, and what then becomes of the answer.

A rule says of which requests it is (channel, group, client id, connection, API), how many of them it lets pass first,
how many it meets then, and what happens to those. All rules that meet a request shape its answer together, the oldest
first. Whoever serves asks `Faults.meet`, and only while there are rules at all: `BrokerServer.faults` is None without.

A request that is failed is not done; one that is delayed, throttled or cut has been done, so that what it committed
stays. Answers that are throttled wait and say so, as by a broker of Kafka 1.1.

No clock, no transport, no task here. Left to others: waiting and cutting (`client.py`), what can be asked for and by
which name (`fixture/wire_faults.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from broker.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.apis import Api
    from broker.listener import Address
    from broker.principal import Principal
    from broker.wire import Message


class Asked(Struct, frozen=True):
    """One request, as far as rules look at it. `peer` is the client's end of the connection, as `host:port`."""

    api: str
    principal: Principal
    client_id: str | None
    peer: str


class Scope(Struct, frozen=True, kw_only=True):
    """Which requests a rule is of; None is any. Requests before a login are nobody's."""

    topic: str | None = None
    group_id: str | None = None
    client_id: str | None = None
    peer: str | None = None
    apis: frozenset[str] | None = None

    def has(self, asked: Asked) -> bool:
        """Tell whether a request is within this."""
        principal = asked.principal
        return (
            (self.apis is None or asked.api in self.apis)
            and (self.topic is None or (principal.topics is not None and self.topic in principal.topics))
            and (self.group_id is None or principal.group_id == self.group_id)
            and (self.client_id is None or asked.client_id == self.client_id)
            and (self.peer is None or asked.peer == self.peer)
        )


class Effect(Struct, frozen=True, kw_only=True):
    """What becomes of one request.

    `code`: it is refused with that, and not done. `delay_ms`: it is done, and answered so much later. `throttle_ms`:
    the same, and the answer says so where its layout has the field. `cut_after_bytes`: of the answer, its size field
    included, only so much is sent, and the connection closes. `address`: what Metadata and FindCoordinator say instead
    of the listener's. `before` is called when a request is met, before it is done.
    """

    code: ErrorCode = ErrorCode.NONE
    delay_ms: int = 0
    throttle_ms: int = 0
    cut_after_bytes: int | None = None
    address: Address | None = None
    before: Callable[[Asked], None] | None = None

    def shape(self, api: Api, version: int, response: Message) -> Message:
        """The answer as this has it."""
        raise NotImplementedError


class Rule(Struct, eq=False, kw_only=True):
    """One scripted fault. `passing`: requests of its scope that are let pass first; `left`: those it meets then, None
    is all until it is removed. `met` counts.
    """

    scope: Scope
    effect: Effect
    passing: int = 0
    left: int | None = None
    met: int = 0


class Faults:
    """The rules of a server, oldest first."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def meet(self, asked: Asked) -> Effect | None:
        """What becomes of a request by all rules that meet it, None if none does; counts it."""
        raise NotImplementedError
