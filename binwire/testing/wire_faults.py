"""Faults of requests, connections and groups, by script.

Those that meet requests give a `ScriptedFault`: how many it has met, a way to wait for that, and its end. Whose
requests they meet is said by name: `group` (a group of the channel, its name or id), `client_id`, `connection` (the
client's end, `host:port`, as `connections()` says it); by default those of every consumer that has logged in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, TypeVar, Unpack

from binwire.testing.calls import AsyncSender, Call, Sender, nothing
from binwire.testing.waiting import WAIT_TIMEOUT_S, BaseGroup

if TYPE_CHECKING:
    from collections.abc import Callable

__tracebackhide__ = True  # pytest shows the line of the test


T = TypeVar("T")


class Of(TypedDict, total=False):
    """Of whose requests."""

    group: BaseGroup | str
    client_id: str
    connection: str


class Connection(NamedTuple):
    """A connection of a consumer of the channel. `is_idle` if nothing is asked on it; a fetch that waits is."""

    connection: str
    group: str
    client_id: str
    is_idle: bool


class ScriptedFault:
    """A fault that meets requests."""

    def __init__(self, faults: WireFaults, number: int) -> None:
        self._faults = faults
        self._number = number

    def met(self) -> int:
        """How many requests it has met."""
        return self._faults._send(_met(self._faults._name, self._number, 0, WAIT_TIMEOUT_S))

    def wait(self, times: int = 1, *, timeout_s: float = WAIT_TIMEOUT_S) -> int:
        """Return when it has met so many requests; EmbeddedBrokerError after `timeout_s`."""
        return self._faults._send(_met(self._faults._name, self._number, times, timeout_s))

    def clear(self) -> None:
        """End it."""
        self._faults._send(_clear(self._faults._name, self._number))


class AsyncScriptedFault:
    """The same, for asynchronous code."""

    def __init__(self, faults: AsyncWireFaults, number: int) -> None:
        self._faults = faults
        self._number = number

    async def met(self) -> int:
        """As `ScriptedFault.met`."""
        return await self._faults._send(_met(self._faults._name, self._number, 0, WAIT_TIMEOUT_S))

    async def wait(self, times: int = 1, *, timeout_s: float = WAIT_TIMEOUT_S) -> int:
        """As `ScriptedFault.wait`."""
        return await self._faults._send(_met(self._faults._name, self._number, times, timeout_s))

    async def clear(self) -> None:
        """As `ScriptedFault.clear`."""
        await self._faults._send(_clear(self._faults._name, self._number))


class WireFaults(Sender):
    """What goes wrong between a channel and its consumers."""

    def fail(
        self, api: str, code: str | int, *, times: int | None = 1, after: int = 0, **of: Unpack[Of]
    ) -> ScriptedFault:
        """Let `after` requests of an API pass, and refuse the next `times` (None: all) with a code of Kafka 1.1."""
        return self._script("fail", of, api=api, code=code, times=times, after=after)

    def delay(
        self, api: str | None, delay_ms: int, *, times: int | None = None, after: int = 0, **of: Unpack[Of]
    ) -> ScriptedFault:
        """Do requests of an API (None: of every), and answer so much later."""
        return self._script("delay", of, api=api, delay_ms=delay_ms, times=times, after=after)

    def throttle(
        self, throttle_ms: int, *, api: str | None = None, times: int | None = None, **of: Unpack[Of]
    ) -> ScriptedFault:
        """Hold answers back, and say so in their `throttle_time_ms`, as for a client over its quota."""
        return self._script("throttle", of, api=api, throttle_ms=throttle_ms, times=times)

    def cut(
        self, api: str | None, after_bytes: int = 0, *, times: int | None = 1, after: int = 0, **of: Unpack[Of]
    ) -> ScriptedFault:
        """Do requests, send only so many bytes of the answer (its size included), and close the connection."""
        return self._script("cut", of, api=api, after_bytes=after_bytes, times=times, after=after)

    def advertise(self, host: str, port: int, *, times: int | None = None, **of: Unpack[Of]) -> ScriptedFault:
        """Tell clients that the broker is somewhere else."""
        return self._script("advertise", of, host=host, port=port, times=times)

    def move_coordinator(self, group: BaseGroup | str | None = None, *, unavailable_times: int = 1) -> ScriptedFault:
        """Refuse a group's requests until it has looked for its coordinator, and been told so often there is none."""
        return self._script("move_coordinator", {}, group=_named(group), unavailable_times=unavailable_times)

    def rebalance_storm(self, times: int = 3, *, group: BaseGroup | str | None = None) -> ScriptedFault:
        """Begin a rebalance at a heartbeat of a stable group, so often."""
        return self._script("rebalance_storm", {}, group=_named(group), times=times)

    def watch(self, api: str | None = None, **of: Unpack[Of]) -> ScriptedFault:
        """Do nothing to the requests of an API (None: of every) but count them, to wait until a consumer has asked."""
        return self._script("watch", of, api=api)

    def close_idle(self, **of: Unpack[Of]) -> int:
        """Close connections on which nothing is asked; how many there were."""
        return self._send(_call("close_idle", self._name, of, _closed))

    def disconnect(self, **of: Unpack[Of]) -> int:
        """Cut connections, whatever is under way; how many there were."""
        return self._send(_call("disconnect", self._name, of, _closed))

    def expire(self) -> int:
        """Have all records so far go, as by retention, but a HEARTBEAT that this writes; the offset of that."""
        return self._send(_call("expire", self._name, {}, _start))

    def move_checkpoint(
        self, offset: int | None = None, *, metadata: str = "", group: BaseGroup | str | None = None
    ) -> int:
        """Commit an offset for a group, by default one far behind the topic's end; the offset."""
        given = {"group": _named(group), "offset": offset, "metadata": metadata}
        return self._send(_call("move_checkpoint", self._name, {}, _offset, **given))

    def connections(self, **of: Unpack[Of]) -> list[Connection]:
        """Who is logged in to the channel."""
        return self._send(_call("connections", self._name, of, _connections))

    def clear(self) -> None:
        """End all faults of the channel that meet requests."""
        self._send(_clear(self._name, None))

    def _script(self, name: str, of: Of, **given: Any) -> ScriptedFault:
        return self._send(_call(name, self._name, of, lambda result: ScriptedFault(self, result["fault"]), **given))


class AsyncWireFaults(AsyncSender):
    """The same, for asynchronous code."""

    async def fail(
        self, api: str, code: str | int, *, times: int | None = 1, after: int = 0, **of: Unpack[Of]
    ) -> AsyncScriptedFault:
        """As `WireFaults.fail`."""
        return await self._script("fail", of, api=api, code=code, times=times, after=after)

    async def delay(
        self, api: str | None, delay_ms: int, *, times: int | None = None, after: int = 0, **of: Unpack[Of]
    ) -> AsyncScriptedFault:
        """As `WireFaults.delay`."""
        return await self._script("delay", of, api=api, delay_ms=delay_ms, times=times, after=after)

    async def throttle(
        self, throttle_ms: int, *, api: str | None = None, times: int | None = None, **of: Unpack[Of]
    ) -> AsyncScriptedFault:
        """As `WireFaults.throttle`."""
        return await self._script("throttle", of, api=api, throttle_ms=throttle_ms, times=times)

    async def cut(
        self, api: str | None, after_bytes: int = 0, *, times: int | None = 1, after: int = 0, **of: Unpack[Of]
    ) -> AsyncScriptedFault:
        """As `WireFaults.cut`."""
        return await self._script("cut", of, api=api, after_bytes=after_bytes, times=times, after=after)

    async def advertise(
        self, host: str, port: int, *, times: int | None = None, **of: Unpack[Of]
    ) -> AsyncScriptedFault:
        """As `WireFaults.advertise`."""
        return await self._script("advertise", of, host=host, port=port, times=times)

    async def move_coordinator(
        self, group: BaseGroup | str | None = None, *, unavailable_times: int = 1
    ) -> AsyncScriptedFault:
        """As `WireFaults.move_coordinator`."""
        return await self._script("move_coordinator", {}, group=_named(group), unavailable_times=unavailable_times)

    async def rebalance_storm(self, times: int = 3, *, group: BaseGroup | str | None = None) -> AsyncScriptedFault:
        """As `WireFaults.rebalance_storm`."""
        return await self._script("rebalance_storm", {}, group=_named(group), times=times)

    async def watch(self, api: str | None = None, **of: Unpack[Of]) -> AsyncScriptedFault:
        """As `WireFaults.watch`."""
        return await self._script("watch", of, api=api)

    async def close_idle(self, **of: Unpack[Of]) -> int:
        """As `WireFaults.close_idle`."""
        return await self._send(_call("close_idle", self._name, of, _closed))

    async def disconnect(self, **of: Unpack[Of]) -> int:
        """As `WireFaults.disconnect`."""
        return await self._send(_call("disconnect", self._name, of, _closed))

    async def expire(self) -> int:
        """As `WireFaults.expire`."""
        return await self._send(_call("expire", self._name, {}, _start))

    async def move_checkpoint(
        self, offset: int | None = None, *, metadata: str = "", group: BaseGroup | str | None = None
    ) -> int:
        """As `WireFaults.move_checkpoint`."""
        given = {"group": _named(group), "offset": offset, "metadata": metadata}
        return await self._send(_call("move_checkpoint", self._name, {}, _offset, **given))

    async def connections(self, **of: Unpack[Of]) -> list[Connection]:
        """As `WireFaults.connections`."""
        return await self._send(_call("connections", self._name, of, _connections))

    async def clear(self) -> None:
        """As `WireFaults.clear`."""
        await self._send(_clear(self._name, None))

    async def _script(self, name: str, of: Of, **given: Any) -> AsyncScriptedFault:
        return await self._send(
            _call(name, self._name, of, lambda result: AsyncScriptedFault(self, result["fault"]), **given)
        )


def requests_call() -> Call[dict[str, int]]:
    """The call that counts what was asked of a server."""
    return Call("requests", {}, lambda result: result)


def _call(name: str, channel: str, of: Of, result: Callable[[Any], T], **given: Any) -> Call[T]:
    """A call of one of the faults, with those arguments that are given."""
    whose = {**of, "group": _named(of["group"])} if "group" in of else of
    return Call(f"fault_{name}", {"channel": channel, **whose, **given}, result)


def _met(channel: str, number: int, times: int, timeout_s: float) -> Call[int]:
    arguments = {"channel": channel, "fault": number, "times": times, "timeout_s": timeout_s}
    return Call("fault_met", arguments, lambda result: result["met"])


def _clear(channel: str, number: int | None) -> Call[None]:
    return Call("fault_clear", {"channel": channel, "fault": number}, nothing)


def _closed(result: dict[str, int]) -> int:
    return result["closed"]


def _start(result: dict[str, int]) -> int:
    return result["log_start_offset"]


def _offset(result: dict[str, int]) -> int:
    return result["offset"]


def _connections(result: list[dict[str, Any]]) -> list[Connection]:
    return [Connection(**each) for each in result]


def _named(group: BaseGroup | str | None) -> str | None:
    return group.sid if isinstance(group, BaseGroup) else group
