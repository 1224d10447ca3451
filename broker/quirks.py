"""What the service's own broker does otherwise, for listeners with `dts_quirks = true`.

By default a client is told what is wrong with its login and may use what a Kafka 1.1 consumer or read-only admin
client uses. The service is less kind; whoever must see how a client fares there turns its ways on, listener by
listener. `QUIRKS` has one row per way, with its evidence; what nothing public settles is a choice, and said so.

Left to others: the quota of connections, which is in the service's words everywhere (`admission.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from broker.errors import ApiError, ErrorCode
from broker.principal import Principal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from broker.apis import Api
    from broker.context import RequestContext
    from broker.listener import Listener
    from broker.principal import AuthFailure
    from broker.wire import Message


class Quirk(NamedTuple):
    """One way of the service: what a client meets, what is known of it, and what was chosen where nothing is."""

    name: str
    behaviour: str
    evidence: str
    chosen: str | None = None


QUIRKS: Final = (
    Quirk(
        "wrong password or sid",
        "SASL succeeds and the session sees nothing: no topic when it lists them, no leader of a topic it names, "
        "INVALID_GROUP_ID for every group; clients run into their timeout for metadata",
        "code: the server only packs the password into the principal, and such a session has an empty list of "
        "permissions; docs: the client's message is `Timeout expired while fetching topic metadata`",
        "LEADER_NOT_AVAILABLE, which clients retry; the service answers a retriable error or drops the connection, "
        "and nothing public says which",
    ),
    Quirk(
        "user without `-`",
        "SASL fails with `Authentication failed: Invalid username or password, username:<user>`",
        "code: the login module splits at the first `-` and wants two parts",
    ),
    Quirk(
        "calls for readers only",
        "what is not on the list of a reader's calls is refused, DescribeConfigs too",
        "code: the list of a reader's permissions",
        "CLUSTER_AUTHORIZATION_FAILED where the call has no refusal of its own; the service's code is not public",
    ),
    Quirk(
        "versions of Kafka 1.0.0",
        "Fetch ends at 6, DescribeConfigs at 0, and there is no DeleteGroups",
        "code: the fork's tables of APIs (keys up to 37) and versions",
    ),
)

FORK_API_KEY_MAX: Final = 37
FORK_VERSIONS_MAX: Final = {1: 6, 32: 0}
"""Where Kafka 1.0.0 ends before 1.1 does, by API key."""
READER_APIS: Final = frozenset({1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 36})


def let_in(listener: Listener, credentials: tuple[str, str] | AuthFailure, refusal: AuthFailure) -> Principal | None:
    """The principal that a refused login gets where the service would let it in to see nothing; else None."""
    if not listener.dts_quirks or not refusal.is_final or not isinstance(credentials, tuple):
        return None
    username, _ = credentials
    name, hyphen, sid = username.partition("-")
    if not (name and hyphen and sid):
        return None
    return Principal(username, group_id="", topics=frozenset(), is_recognised=False)


def as_the_service(apis: Mapping[int, Api]) -> dict[int, Api]:
    """The API table of the service's fork, made of ours."""
    return {key: _as_the_service(api) for key, api in apis.items() if key <= FORK_API_KEY_MAX}


def _as_the_service(api: Api) -> Api:
    versions_max = min(api.max_version, FORK_VERSIONS_MAX.get(api.key, api.max_version))
    if api.key in READER_APIS or api.refuses:
        return replace(api, max_version=versions_max)
    return replace(api, max_version=versions_max, handle=_refuse)


def _refuse(context: RequestContext, request: Message) -> NoReturn:
    raise ApiError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
