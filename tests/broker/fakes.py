"""The parts around a broker under test: a login book, commits in memory, and all together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from broker.context import Broker, RequestContext, Session
from broker.downconvert import DownConverter
from broker.groups import GroupCoordinator
from broker.listener import Address, Listener, Security
from broker.notices import Notices
from broker.offsets import CommittedOffset
from broker.principal import ANONYMOUS, AuthFailure, Principal
from broker.sasl import SaslExchange
from broker.topics import Topic, Topics
from storage.clock import SystemClock
from storage.errors import StorageError
from storage.scheduler import LoopScheduler
from tests.fakes_log import MemoryLog

CLUSTER_ID = "binwire-test-cluster-0"
USERNAME = "dtstest-group-a"
PASSWORD = "s3cret"
GROUP = "group-a"
ADDRESS = Address("127.0.0.1", 18001)
TOPIC = "cn_hangzhou_rm_shop_dtstest_version2"


class MemoryOffsets:
    """An `OffsetStore` without a catalog. While `gate` is set, commits wait for it; `fails` makes them fail."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[tuple[str, int], CommittedOffset]] = {}
        self.gate: asyncio.Event | None = None
        self.fails = False

    def committed(self, group_id: str) -> Mapping[tuple[str, int], CommittedOffset]:
        return self.stored.get(group_id, {})

    def group_ids(self) -> list[str]:
        return list(self.stored)

    async def commit(self, group_id: str, offsets: Iterable[tuple[str, int, int, str]]) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise StorageError("the catalog cannot be written")
        for topic, partition, offset, metadata in offsets:
            self.stored.setdefault(group_id, {})[topic, partition] = CommittedOffset(offset, metadata, 0)

    def put(self, group_id: str, topic: str, offset: int) -> None:
        """Have a commit at once."""
        self.stored.setdefault(group_id, {})[topic, 0] = CommittedOffset(offset, "", 0)

    async def delete(self, group_id: str) -> None:
        self.stored.pop(group_id, None)


class LoginBook:
    """An `Authenticator` that knows `USERNAME` with `PASSWORD`."""

    def __init__(self, topics: frozenset[str] = frozenset({TOPIC})) -> None:
        self.principal = Principal(USERNAME, GROUP, topics)
        self.seen: list[tuple[str, str]] = []

    async def authenticate(self, username: str, password: str, origin: str) -> Principal | AuthFailure:
        self.seen.append((username, origin))
        await asyncio.sleep(0)
        if (username, password) == (USERNAME, PASSWORD):
            return self.principal
        return AuthFailure(f"Authentication failed: Invalid username or password, username:{username}")


def make_broker(log: MemoryLog | None = None, **settings: int) -> Broker:
    """A broker on the running loop with one topic."""
    clock = SystemClock()
    scheduler = LoopScheduler()
    offsets = MemoryOffsets()
    topics = Topics()
    topics.add(Topic(TOPIC, log or MemoryLog(TOPIC), "shop"))
    return Broker(
        cluster_id=CLUSTER_ID,
        topics=topics,
        groups=GroupCoordinator(offsets, clock, scheduler, **settings),  # type: ignore[arg-type]
        offsets=offsets,  # type: ignore[arg-type]
        clock=clock,
        scheduler=scheduler,
        authenticator=LoginBook(),
        downconverter=DownConverter(),
        notices=Notices(clock),
    )


def make_context(
    broker: Broker,
    version: int,
    principal: Principal = ANONYMOUS,
    *,
    client_id: str | None = "client",
) -> RequestContext:
    """The context of one request on a connection that is logged in."""
    needs_login = principal is not ANONYMOUS
    security = Security.SASL_PLAINTEXT if needs_login else Security.PLAINTEXT
    sasl = SaslExchange(needs_login=False)
    session = Session(
        listener=Listener("test", ADDRESS, security),
        address=ADDRESS,
        client_host="127.0.0.1",
        sasl=sasl,
        principal=principal,
    )
    return RequestContext(broker=broker, session=session, api_version=version, client_id=client_id)
