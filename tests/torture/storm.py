"""A storm of mutated frames on a running server: many connections at a time, each with its burst, from one seed.

A process of its own, so that its work does not slow the tests' other clients: arguments as JSON in argv[1], the result
as JSON on standard output. What it holds against the server on each connection: responses come in the order of the
requests, with their correlation ids, and no more of them than requests. A connection on which nothing moves for
`PATIENCE_S` is let go: a mutated request may well ask to wait, or promise bytes that never come.

A frame counts as delivered when it was answered or ended its connection; what lay behind that does not count.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.broker.frames import frame
from tests.torture.frames import SIZE_BYTES, Burst, Corpus

OPEN_CONNECTIONS = 48
PATIENCE_S = 0.25
RECEIVE_BYTES = 1 << 18
LOGIN = 2  # responses to a login: the handshake's and the token's
SWEEP_S = 0.02


class WrongAnswerError(Exception):
    """The server's bytes are not what a client may expect."""


@dataclass(slots=True)
class Outcome:
    """What became of the frames sent so far."""

    delivered: int = 0
    connections: int = 0
    answered: int = 0
    closed: int = 0
    waiting: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


class _Sender:
    """One connection: its burst goes out as the socket takes it, its responses are held against the burst."""

    def __init__(self, address: tuple[str, int], login: bytes, burst: Burst) -> None:
        self.burst = burst
        stream = b"".join(burst.frames)
        self.expected = correlation_ids(stream)
        self._unsent = memoryview((login if burst.logs_in else b"") + stream)
        self._received = bytearray()
        self._skip = LOGIN if burst.logs_in else 0
        self.answered = 0
        self.socket = socket.create_connection(address)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.moved_at = time.monotonic()

    @property
    def is_done(self) -> bool:
        """Whether every whole frame is answered. A logged-in burst without one is over after the login."""
        return self.answered == len(self.expected) and not self._skip and not self._unsent

    def write(self) -> bool:
        """Send what the socket takes; whether anything is left."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return True
        return False

    def read(self) -> bool:
        """Take what has come; False at the end of the connection."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        self.moved_at = time.monotonic()
        self._received += data
        self._check()
        return bool(data)

    def _check(self) -> None:
        start = 0
        while len(self._received) - start >= SIZE_BYTES:
            (size,) = struct.unpack_from(">i", self._received, start)
            if not 0 <= size < 1 << 30:
                raise WrongAnswerError(f"a response of {size} bytes")
            if len(self._received) - start < SIZE_BYTES + size:
                break
            self._check_one(bytes(self._received[start + SIZE_BYTES : start + SIZE_BYTES + 4]))
            start += SIZE_BYTES + size
        del self._received[:start]

    def _check_one(self, head: bytes) -> None:
        if self._skip:
            self._skip -= 1
            return
        if self.answered == len(self.expected):
            raise WrongAnswerError("a response more than requests")
        if head != self.expected[self.answered]:
            raise WrongAnswerError(f"correlation id {head.hex()} where {self.expected[self.answered].hex()} was due")
        self.answered += 1


def correlation_ids(stream: bytes) -> list[bytes]:
    """The correlation ids of the frames as a server must see them, up to the first whose size is illegal."""
    found, start = [], 0
    while len(stream) - start >= SIZE_BYTES:
        (size,) = struct.unpack_from(">i", stream, start)
        if not 0 <= size <= len(stream) - start - SIZE_BYTES:
            break
        found.append(stream[start + 8 : start + 12] if size >= 8 else b"")
        start += SIZE_BYTES + size
    return found


def raw_login(username: str, password: str) -> bytes:
    """Handshake and token in one go."""
    token = f"\0{username}\0{password}".encode()
    return frame(17, 0, 1, b"\0\x05PLAIN") + struct.pack(">i", len(token)) + token


class Storm:
    """Bursts `first` and following, until `frames` were delivered."""

    def __init__(self, corpus: Corpus, address: tuple[str, int], login: bytes, frames: int, first: int) -> None:
        self._corpus = corpus
        self._address = address
        self._login = login
        self._wanted = frames
        self._next = first
        self._selector = selectors.DefaultSelector()
        self._open: dict[int, _Sender] = {}
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Send. Whatever the server does wrong is in `failures`, with the burst's number; it ends the storm."""
        began = swept = time.monotonic()
        while self.outcome.delivered < self._wanted and not self.outcome.failures:
            while len(self._open) < OPEN_CONNECTIONS:
                self._start()
            for key, events in self._selector.select(SWEEP_S):
                self._move(key.data, events)
            if time.monotonic() - swept > SWEEP_S:
                swept = time.monotonic()
                for sender in [each for each in self._open.values() if swept - each.moved_at > PATIENCE_S]:
                    self.outcome.waiting += 1
                    self._end(sender, 0)
        for sender in list(self._open.values()):
            self._end(sender, 0)
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _start(self) -> None:
        burst = self._corpus.burst(self._next)
        self._next += 1
        try:
            sender = _Sender(self._address, self._login, burst)
        except OSError as error:
            self.outcome.failures.append(f"burst {burst.number}: no connection: {error}")
            raise
        self.outcome.connections += 1
        self._open[id(sender)] = sender
        self._selector.register(sender.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, sender)

    def _move(self, sender: _Sender, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and not sender.write():
                self._selector.modify(sender.socket, selectors.EVENT_READ, sender)
            is_open = not events & selectors.EVENT_READ or sender.read()
        except ConnectionError:
            is_open = False
        except WrongAnswerError as error:
            shown = " ".join(each.hex() for each in sender.burst.frames)
            self.outcome.failures.append(f"burst {sender.burst.number}: {error}; its frames: {shown}")
            return
        if not is_open:
            self.outcome.closed += 1
            self._end(sender, 1)
        elif sender.is_done:
            self._end(sender, 0)

    def _end(self, sender: _Sender, closing: int) -> None:
        self._selector.unregister(sender.socket)
        sender.socket.close()
        del self._open[id(sender)]
        self.outcome.answered += sender.answered
        self.outcome.delivered += sender.answered + closing


def main(arguments: dict[str, Any]) -> Outcome:
    """Run one storm."""
    corpus = Corpus(arguments["seed"], arguments["topic"], arguments["group"])
    login = raw_login(arguments["username"], arguments["password"])
    address = (arguments["host"], arguments["port"])
    return Storm(corpus, address, login, arguments["frames"], arguments["first"]).run()


if __name__ == "__main__":
    print(json.dumps(asdict(main(json.loads(sys.argv[1])))))
