"""Who may hold a connection: how many there are of strangers and in all, and the quota of each consumer group.

    stranger    connected to a listener with login and not logged in, or let in by `dts_quirks` with a wrong password
    guest       everybody else; on a listener without login from the start

Where strangers fill their share, of one address or of all, the one that has waited longest is turned out for the new
one: a client that knows its password needs milliseconds to get in, and whoever only holds connections open loses them.
So strangers can neither starve those inside nor keep those who may come in outside. When there are too many
connections in all, a stranger goes first; without one the new connection is refused.

Left to others: how long a stranger may take (`client.py`), how often it may guess (`brake.py`), which addresses may
connect at all (`listener.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.principal import Principal

CONNECTIONS_MAX: Final = 4096
"""Connections at a time; a client holds about three."""
STRANGERS_SHARE: Final = 4
"""Strangers hold at most one connection in this many."""
STRANGERS_PER_ORIGIN_MAX: Final = 256
"""Strangers of one address (IPv6: one /64) at a time; a restart brings all clients behind a NAT back at once."""
HOARDERS_MAX: Final = 64
"""Strangers that may send a frame above `HOARD_BYTES` at the same time: bounds what strangers make us keep."""
HOARD_BYTES: Final = 64 * 1024


class Holder(Protocol):
    """A connection, as far as it is counted."""

    @property
    def origin(self) -> str:
        """Where it comes from: one value for all that one attacker has for nothing."""

    def abort(self, reason: str) -> None:
        """Cut it; `leave` follows."""


class Admission:
    """The connections that are open, by what they count for."""

    def __init__(self, connections_max: int = CONNECTIONS_MAX) -> None:
        self._connections_max = connections_max
        self._strangers_max = max(1, connections_max // STRANGERS_SHARE)
        self._all: set[Holder] = set()
        # In the order in which they came.
        self._strangers: dict[Holder, None] = {}
        self._by_origin: dict[str, dict[Holder, None]] = {}
        self._by_group: dict[str, dict[Holder, None]] = {}
        self._groups: dict[Holder, str] = {}
        self._hoarders: set[Holder] = set()

    def enter(self, holder: Holder, *, is_stranger: bool) -> bool:
        """Take a new connection in, in place of a stranger's if need be; False if there is no room."""
        if len(self._all) >= self._connections_max:
            if not self._strangers:
                return False
            self._turn_out(self._strangers, "there are too many connections")
        self._all.add(holder)
        if is_stranger:
            neighbours = self._by_origin.setdefault(holder.origin, {})
            if len(neighbours) >= STRANGERS_PER_ORIGIN_MAX:
                self._turn_out(neighbours, "too many connections of its address have not logged in")
            if len(self._strangers) >= self._strangers_max:
                self._turn_out(self._strangers, "too many connections have not logged in")
            self._strangers[holder] = None
            self._by_origin.setdefault(holder.origin, {})[holder] = None
        return True

    def log_in(self, holder: Holder, principal: Principal) -> str | None:
        """A stranger is known now; return why it may not stay, by the quota of its group, in the service's words."""
        self._forget_stranger(holder)
        if principal.group_id is None:
            return None
        members = self._by_group.get(principal.group_id, {})
        if 0 < principal.connections_max <= len(members):
            return (
                f"current connection number is {len(members) + 1}, limit is {principal.connections_max}, "
                f"too many connection for {principal.group_id}"
            )
        self._by_group.setdefault(principal.group_id, members)[holder] = None
        self._groups[holder] = principal.group_id
        return None

    def of_group(self, group_id: str) -> Iterable[Holder]:
        """The connections that are logged in as a group, in the order in which they came."""
        return self._by_group.get(group_id, ())

    def beyond(self, group_id: str, connections_max: int) -> list[Holder]:
        """The connections of a group that are too many under this quota: those that came last."""
        members = list(self._by_group.get(group_id, ()))
        return members[connections_max:] if connections_max else []

    def may_hoard(self, holder: Holder) -> bool:
        """Tell whether a stranger may send more than `HOARD_BYTES` in one frame."""
        if holder not in self._hoarders and len(self._hoarders) < HOARDERS_MAX:
            self._hoarders.add(holder)
        return holder in self._hoarders

    def leave(self, holder: Holder) -> None:
        """A connection is gone; harmless if it was not in."""
        self._all.discard(holder)
        self._forget_stranger(holder)
        group_id = self._groups.pop(holder, None)
        if group_id is not None:
            del self._by_group[group_id][holder]
            if not self._by_group[group_id]:
                del self._by_group[group_id]

    def _turn_out(self, waiting: dict[Holder, None], reason: str) -> None:
        longest = next(iter(waiting))
        self.leave(longest)
        longest.abort(reason)

    def _forget_stranger(self, holder: Holder) -> None:
        self._strangers.pop(holder, None)
        self._hoarders.discard(holder)
        neighbours = self._by_origin.get(holder.origin)
        if neighbours is not None:
            neighbours.pop(holder, None)
            if not neighbours:
                del self._by_origin[holder.origin]
