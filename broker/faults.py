"""Faults that a test has scripted: which requests they meet, and what then becomes of the answer.

A rule says of which requests it is (channel, group, client id, connection, API), how many of them it lets pass first,
how many it meets then, and what happens to those. All rules that meet a request shape its answer together, the oldest
first. Whoever serves asks `Faults.meet`, and only while there are rules: without any, `BrokerServer.faults` is None.

A request that is failed is not done; one that is delayed, throttled or cut has been done, and what it committed stays.
A throttled answer waits and says so, as by a broker of Kafka 1.1 (ClientQuotaManager@1.1.1). A member that is told
that it is none any more is none: clients forget then who they were, and who joins would wait for it a session timeout.

No clock and no transport here. Left to others: cutting (`client.py`), what can be asked for and by which name
(`fixture/wire_faults.py`, `fixture/group_faults.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from broker.apis import Api
from broker.apis.find_coordinator import Coordinator, FindCoordinatorResponse
from broker.apis.metadata import BrokerMetadata, MetadataResponse
from broker.connection import Request
from broker.context import RequestContext
from broker.errors import ApiError, ErrorCode
from broker.listener import Address
from broker.principal import Principal
from broker.wire import Encoded, Message, decode

FIND_COORDINATOR: Final = "FindCoordinator"
HEARTBEAT: Final = "Heartbeat"
COORDINATOR_APIS: Final = frozenset(
    {"OffsetCommit", "OffsetFetch", "JoinGroup", HEARTBEAT, "LeaveGroup", "SyncGroup", FIND_COORDINATOR}
)
"""What a group's members ask its coordinator, and how they find it."""
ADDRESS_APIS: Final = frozenset({"Metadata", FIND_COORDINATOR})
"""What tells clients where to connect."""


EXPULSIONS: Final = frozenset({ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION})
"""What tells a member of a group that the group goes on without it."""


class Asked(Struct, frozen=True):
    """One request, as far as rules look at it. `peer` is the client's end of the connection, as `host:port`."""

    api: str
    principal: Principal
    client_id: str | None
    peer: str


class Scope(Struct, frozen=True, kw_only=True):
    """Which requests a rule is of; None is any. Requests before a login are of no topic and no group."""

    topic: str | None = None
    group_id: str | None = None
    client_id: str | None = None
    peer: str | None = None
    apis: frozenset[str] | None = None

    def has(self, asked: Asked) -> bool:
        """Tell whether a request is within this."""
        return (self.apis is None or asked.api in self.apis) and self.has_client(
            asked.principal, asked.client_id, asked.peer
        )

    def has_client(self, principal: Principal, client_id: str | None, peer: str) -> bool:
        """Tell whether what comes over a connection is within this, whatever it asks."""
        return (
            (self.topic is None or (principal.topics is not None and self.topic in principal.topics))
            and (self.group_id is None or principal.group_id == self.group_id)
            and (self.client_id is None or client_id == self.client_id)
            and (self.peer is None or peer == self.peer)
        )


class Effect(Struct, frozen=True, kw_only=True):
    """What becomes of one request.

    `code`: it is refused with that, and not done. `delay_ms`: its answer waits. `throttle_ms`: the same, and the answer
    says so where its layout has the field. `cut_after_bytes`: of the answer, its size field included, only so much is
    sent, and the connection closes. `address`: what clients are told of where the broker is.
    """

    code: ErrorCode = ErrorCode.NONE
    delay_ms: int = 0
    throttle_ms: int = 0
    cut_after_bytes: int | None = None
    address: Address | None = None

    @property
    def wait_ms(self) -> int:
        """How long the answer waits."""
        return self.delay_ms + self.throttle_ms

    async def answer(
        self, request: Request, context: RequestContext, wait: Callable[[int], Awaitable[None]]
    ) -> Message:
        """Do a request, unless it fails, and answer it; `wait` lets milliseconds pass."""
        try:
            if self.code:
                if self.code in EXPULSIONS:
                    _expel(request.body, context)
                raise ApiError(self.code)
            result = request.api.handle(context, request.body)
            response: Message = result if isinstance(result, Message) else await result
        except ApiError as error:
            response = request.api.error(request.api_version, request.body, error.code, error.message)
        if self.wait_ms:
            await wait(self.wait_ms)
        return self._shaped(request.api, request.api_version, response)

    def _shaped(self, api: Api, version: int, response: Message) -> Message:
        """The answer as this has it; the one that was given, which others may get too, stays as it is."""
        if not self.throttle_ms and self.address is None:
            return response
        # What was written for several is read again.
        data = response.data if isinstance(response, Encoded) else None
        shaped = decode(api.response, version, data) if data is not None else _copy(response)
        if self.throttle_ms and "throttle_time_ms" in type(shaped).fields:
            shaped.throttle_time_ms = self.throttle_ms  # type: ignore[attr-defined]
        if self.address is not None:
            _tell_address(shaped, self.address)
        return shaped


def _expel(body: Message, context: RequestContext) -> None:
    """Take the member that a request is of, if it is one's, out of its group."""
    group_id, member_id = getattr(body, "group_id", None), getattr(body, "member_id", None)
    if group_id and member_id:
        context.broker.groups.leave(group_id, member_id)


def _copy(message: Message) -> Message:
    return type(message)(**{name: getattr(message, name) for name in type(message).fields})


def _tell_address(message: Message, address: Address) -> None:
    """Have Metadata and FindCoordinator say that the broker is there; refusals name none."""
    if isinstance(message, MetadataResponse):
        message.brokers = [
            BrokerMetadata(node_id=each.node_id, host=address.host, port=address.port, rack=each.rack)
            for each in message.brokers
        ]
    elif isinstance(message, FindCoordinatorResponse) and not message.error_code:
        node_id = message.coordinator.node_id
        message.coordinator = Coordinator(node_id=node_id, host=address.host, port=address.port)


class Rule:
    """One scripted fault: of which requests, how many it lets pass first, how many it meets then (None: all that come
    until it is removed), and what becomes of those.
    """

    def __init__(self, scope: Scope, effect: Effect, *, after: int = 0, times: int | None = None) -> None:
        self.scope = scope
        self.effect = effect
        self.after = after
        self.left = times
        self.met = 0
        """Requests so far."""
        self.watchers: list[Callable[[], None]] = []
        """Called at each."""

    @property
    def is_over(self) -> bool:
        """Whether it meets nothing any more."""
        return self.left == 0

    def meet(self, asked: Asked) -> Effect | None:
        """What becomes of a request, None if this does nothing to it; counts it."""
        if not self.is_over and self.scope.has(asked):
            return self._meet(asked)
        return None

    def _meet(self, asked: Asked) -> Effect | None:
        if self.after:
            self.after -= 1
            return None
        self._count()
        return self.effect

    def _count(self) -> None:
        self.met += 1
        if self.left is not None:
            self.left -= 1
        for watcher in self.watchers:
            watcher()


class Watch(Rule):
    """Does nothing to the requests that it counts."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope, Effect())

    def _meet(self, asked: Asked) -> Effect | None:
        self._count()
        return None


class CoordinatorMove(Rule):
    """The group's coordinator is not here any more, until a client has been told so and has looked for it: who looks is
    told `unavailable` times that there is none, and then finds it.
    """

    def __init__(self, scope: Scope, unavailable: int) -> None:
        super().__init__(scope, Effect(code=ErrorCode.NOT_COORDINATOR))
        self._looking = Effect(code=ErrorCode.COORDINATOR_NOT_AVAILABLE)
        self._unavailable = unavailable

    def _meet(self, asked: Asked) -> Effect | None:
        if asked.api != FIND_COORDINATOR:
            self._count()
            return self.effect
        if self._unavailable:
            self._unavailable -= 1
            return self._looking
        if self.met:
            self.left = 0
        return None


class RebalanceStorm(Rule):
    """As often as asked, a heartbeat that finds the group stable begins a rebalance, of which it is then told."""

    def __init__(self, scope: Scope, times: int, rebalance: Callable[[str], bool]) -> None:
        super().__init__(scope, Effect(), times=times)
        self._rebalance = rebalance
        """Begins one, and tells whether the group was stable."""

    def _meet(self, asked: Asked) -> Effect | None:
        if asked.principal.group_id is not None and self._rebalance(asked.principal.group_id):
            self._count()
        return None


class Faults:
    """The rules of a server by number, oldest first; those that are over stay until they are removed.

    `numbers` gives every rule one that no other has had.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        self.rules: dict[int, Rule] = {}
        self._active: list[Rule] = []
        self._numbers = numbers

    def add(self, rule: Rule) -> int:
        """Have a rule meet requests from now on; its number."""
        number = next(self._numbers)
        self.rules[number] = rule
        self._active.append(rule)
        return number

    def remove(self, numbers: Iterable[int]) -> None:
        """Have rules meet nothing any more, and forget them."""
        removed = [self.rules.pop(number) for number in tuple(numbers)]
        self._active = [rule for rule in self._active if rule not in removed]

    def on(self, request: Request, principal: Principal, peer: Address) -> Effect | None:
        """What becomes of a request that has come over a connection from `peer`."""
        return self.meet(Asked(request.api.name, principal, request.client_id, str(peer)))

    def meet(self, asked: Asked) -> Effect | None:
        """What becomes of a request by all rules that meet it, None if none does; counts it."""
        effects = [effect for rule in self._active if (effect := rule.meet(asked)) is not None]
        self._active = [rule for rule in self._active if not rule.is_over]
        return _together(effects) if effects else None


def _together(effects: Sequence[Effect]) -> Effect:
    """Several effects as one: the first code and address, all waits, the earliest cut."""
    cuts = [each.cut_after_bytes for each in effects if each.cut_after_bytes is not None]
    return Effect(
        code=next((each.code for each in effects if each.code), ErrorCode.NONE),
        delay_ms=sum(each.delay_ms for each in effects),
        throttle_ms=sum(each.throttle_ms for each in effects),
        cut_after_bytes=min(cuts, default=None),
        address=next((each.address for each in effects if each.address is not None), None),
    )
