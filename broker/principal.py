"""Who is connected, and what that permits.

Clients of a SASL listener log in as `<username>-<group id>`; the principal is bound to that consumer group and to the
topics of its channel. On a PLAINTEXT listener everyone is `ANONYMOUS`: every topic, every configured group. How a
password is checked is not known here: an `Authenticator` does that.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class Principal(Struct, frozen=True):
    """A logged-in user: `group_id` None means any configured group, `topics` None means every topic.

    `connections_max`: the quota of the group, 0: none. Not `is_recognised`: a wrong login that a listener with
    `dts_quirks` lets in to see nothing.
    """

    username: str
    group_id: str | None
    topics: frozenset[str] | None
    connections_max: int = 0
    is_recognised: bool = True


ANONYMOUS = Principal(username="ANONYMOUS", group_id=None, topics=None)
"""Everyone on a PLAINTEXT listener, by Kafka's name."""
NOBODY = Principal(username="", group_id="", topics=frozenset())
"""Who a connection is before its login: no topics, no group (the empty id is no group's)."""


class AuthFailure(Struct, frozen=True):
    """A refused login; `message` is shown to the user by clients that can (never contains the password).

    Not `is_final`: the login was not looked at because too many wait; the client is to try again, and is not told
    that its password is wrong.
    """

    message: str
    is_final: bool = True


class Authenticator(Protocol):
    """Checks a login. May wait (slow hashes run in a pool); never raises for a wrong password."""

    async def authenticate(self, username: str, password: str, origin: str) -> Principal | AuthFailure:
        """Return the principal of `username` (as sent: `<username>-<group id>`), or why there is none.

        `origin` is where the peer comes from, as `listener.origin` says it.
        """
        ...
