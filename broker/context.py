"""What a handler may know: the broker, the client's session, and the one request in hand.

`Broker` is made once by the application. `Session` is one connection's identity; a `RequestContext` lives as long as
its request and holds the leases on log memory until the response is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from broker.errors import ApiError, ErrorCode
from broker.notices import Notices
from broker.parked import Parked

if TYPE_CHECKING:
    from collections.abc import Container

    from broker.downconvert import DownConverter
    from broker.groups import GroupCoordinator
    from broker.listener import Address, Listener
    from broker.offsets import OffsetStore
    from broker.principal import Authenticator, Principal
    from broker.sasl import SaslExchange
    from broker.topics import Topics
    from storage.clock import Clock
    from storage.log import LogSlice
    from storage.scheduler import Scheduler

NODE_ID = 1
"""The one broker's id, leader of every partition, coordinator of every group, and controller."""


class Broker(Struct, kw_only=True):
    """Everything the handlers work with.

    `cluster_id`: 22 characters of base64, stable. `group_ids`: the configured groups, which an anonymous client may
    use; None lets it use any. Fetches wait in `parked`; `wake_parked()` lets all of them answer with what they have,
    and nothing waits from then on: it `is_closing`.
    """

    cluster_id: str
    topics: Topics
    groups: GroupCoordinator
    offsets: OffsetStore
    clock: Clock
    scheduler: Scheduler
    notices: Notices
    authenticator: Authenticator
    downconverter: DownConverter
    group_ids: Container[str] | None = None
    node_id: int = NODE_ID
    parked: Parked = field(default_factory=Parked)
    is_closing: bool = False

    def wake_parked(self) -> None:
        """Complete every parked fetch now, and each that comes at once; used when the server closes."""
        self.is_closing = True
        self.parked.wake_all()


class Session(Struct, kw_only=True):
    """One connection: where it came in, from where, and who it is. `address` is what Metadata tells this client.

    `fetch_offset` is where it asked to read last, under the name `client_id`; None if it never did.
    """

    listener: Listener
    address: Address
    client_host: str
    sasl: SaslExchange
    principal: Principal
    client_id: str = ""
    fetch_offset: int | None = None
    fetching_since_ms: int | None = None


class RequestContext(Struct, kw_only=True):
    """One request. `close_after` ends the connection once the response is written."""

    broker: Broker
    session: Session
    api_version: int
    client_id: str | None
    close_after: bool = False
    leases: list[LogSlice] = []

    def require_group(self, group_id: str) -> None:
        """Raise `ApiError` INVALID_GROUP_ID unless the session's principal may act for `group_id`."""
        if not self.may_use_group(group_id):
            raise ApiError(ErrorCode.INVALID_GROUP_ID)

    def may_use_group(self, group_id: str) -> bool:
        """Tell whether the session's principal may act for `group_id`."""
        own = self.session.principal.group_id
        if own is not None:
            return group_id == own != ""
        return self.broker.group_ids is None or group_id in self.broker.group_ids

    def release(self) -> None:
        """End the leases on log memory; called once when the response is written or given up."""
        for lease in self.leases:
            lease.close()
        self.leases.clear()
