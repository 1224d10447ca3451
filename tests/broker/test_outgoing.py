"""A response on its way out: with how many calls, and that every byte comes, once, whatever the socket takes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import pytest

from broker.outgoing import PARTS_AT_ONCE_MAX, WRITE_BYTES, Outgoing
from storage.log import LogSlice

if TYPE_CHECKING:
    from broker.wire import Buffer

BLOB = os.urandom(3 * WRITE_BYTES)


class Sender(asyncio.Protocol):
    """One end of a connection, with an `Outgoing`."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()
        self.failures: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.outgoing = Outgoing(transport, self.sent.set, self.failures.append)

    def pause_writing(self) -> None:
        self.outgoing.pause()

    def resume_writing(self) -> None:
        self.outgoing.resume()


class Pair:
    """A sender and the socket of who reads, which takes `room` bytes at a time."""

    async def __aenter__(self) -> Self:
        ours, self.peer = socket.socketpair()
        for each in (ours, self.peer):
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        loop = asyncio.get_running_loop()
        self.transport, self.sender = await loop.create_connection(Sender, sock=ours)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.transport.abort()
        self.peer.close()

    async def read(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            received += await asyncio.get_running_loop().sock_recv(self.peer, 5000)
        return received


def response(sizes: Sequence[int]) -> tuple[list[Buffer], list[LogSlice]]:
    """Parts of these sizes, every second one a view that is leased."""
    parts: list[Buffer] = []
    leases = []
    for number, size in enumerate(sizes):
        if number % 2:
            leases.append(LogSlice(memoryview(BLOB)[number : number + size]))
            parts.append(leases[-1].view)
        else:
            parts.append(BLOB[number : number + size])
    return parts, leases


def is_ended(leases: Iterable[LogSlice]) -> bool:
    return all(len(lease) == 0 for lease in leases)


@pytest.mark.parametrize(
    "sizes",
    [
        [10],
        [WRITE_BYTES],
        [WRITE_BYTES + 1],
        [10, 5000],
        [60_000, 60_000],
        [10, WRITE_BYTES - 10],
        [10, WRITE_BYTES],
        [10, 2 * WRITE_BYTES + 7, 5, 4096],
        [1] * PARTS_AT_ONCE_MAX,
        [1, 5000] * PARTS_AT_ONCE_MAX,
        [5000] * (PARTS_AT_ONCE_MAX + 1),
    ],
    ids=str,
)
async def test_every_byte_comes_once_and_the_leases_end_behind_the_last(sizes: list[int]) -> None:
    parts, leases = response(sizes)
    expected = b"".join(bytes(part) for part in parts)
    async with Pair() as pair:
        if not pair.sender.outgoing.send(parts, leases):
            assert leases == [] or not is_ended(leases)
            assert await pair.read(len(expected)) == expected
            await pair.sender.sent.wait()
        else:
            assert await pair.read(len(expected)) == expected
        assert is_ended(leases)
        assert pair.sender.failures == []


async def test_a_response_goes_with_one_call_and_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def counted(descriptor: int, parts: Any) -> int:
        calls.append(parts)
        return sum(map(len, parts)) if isinstance(parts, list) else len(parts)

    monkeypatch.setattr("broker.outgoing.os.writev", counted)
    monkeypatch.setattr("broker.outgoing.os.write", counted)
    async with Pair() as pair:
        assert pair.sender.outgoing.send([b"head and nothing else"])
        parts, leases = response([60, 1 << 16])
        assert pair.sender.outgoing.send(parts, leases)
    assert calls == [b"head and nothing else", parts]
    assert calls[1][1] is parts[1]


async def test_nothing_overtakes_what_the_transport_holds() -> None:
    async with Pair() as pair:
        pair.transport.write(BLOB)
        assert not pair.sender.outgoing.send([b"behind it"])
        assert await pair.read(len(BLOB) + 9) == BLOB + b"behind it"
        await pair.sender.sent.wait()
