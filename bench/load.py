"""Many connections that send one frame again and again: a load generator in a process of its own.

Each connection logs in and has one request in flight; all are multiplexed with epoll. Frames are encoded before, and
an answer is only compared with the first one's bytes, so that the generator needs a fraction of what the server does
per request. It still shares the machine's CPUs with the server: what it used is part of the answer.

One request, one answer, as JSON lines on standard input and output; then it ends:

    {"host", "port", "username", "password", "frame": hex, "connections", "requests"}
        -> {"seconds": …, "cpu_seconds": …, "response": hex}

With `"requests": 0` it says `{"seconds": 0, …}` once all are logged in, and holds them until its input ends.
"""

from __future__ import annotations

import contextlib
import json
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bench import own_process
from bench.client import RawClient

_RECEIVE_BYTES: Final = 1 << 16
_SIZE_BYTES: Final = 4
_OTHER_DESCRIPTORS: Final = 500  # a server's own, a JVM's many among them


@dataclass(frozen=True, slots=True)
class Target:
    """A broker to be asked: where, as whom, and the process whose memory is looked at."""

    host: str
    port: int
    pid: int
    topic: str
    group: str
    username: str
    password: str


@dataclass(frozen=True, slots=True)
class Load:
    """What a run took: wall-clock and the generator's own CPU seconds, and the one answer that all requests had."""

    seconds: float
    cpu_seconds: float
    response: bytes


class LoadError(Exception):
    """The generator ended, was answered differently or may not open as many connections; one sentence."""


def allow_connections(count: int) -> None:
    """Let this process, and those it starts from now on, have so many sockets. Raises LoadError."""
    wanted = count + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard < wanted and hard != resource.RLIM_INFINITY:
        raise LoadError(
            f"{count} connections need {wanted} open files, and {hard} are all that this login may have (ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(target: Target, frame: bytes, *, connections: int, requests: int) -> Load:
    """Send `requests` frames over `connections` connections and wait for every answer. Raises LoadError."""
    with _generator(target, frame, connections, requests) as answer:
        return Load(answer["seconds"], answer["cpu_seconds"], bytes.fromhex(answer["response"]))


@contextlib.contextmanager
def idle(target: Target, connections: int) -> Iterator[None]:
    """Hold connections that are logged in and say nothing."""
    with _generator(target, b"", connections, 0):
        yield


@contextlib.contextmanager
def _generator(target: Target, frame: bytes, connections: int, requests: int) -> Iterator[dict[str, Any]]:
    process = subprocess.Popen(
        own_process.command("bench.load"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=own_process.environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    names = ("host", "port", "username", "password")
    order = {name: getattr(target, name) for name in names}
    order |= {"frame": frame.hex(), "connections": connections, "requests": requests}
    with process:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the load generator ended"}
        if "error" in answer:
            raise LoadError(answer["error"])
        yield answer


# --- the process ----------------------------------------------------------------------------------------------------


def _main() -> None:
    order = json.loads(sys.stdin.readline())
    try:
        sockets = [_logged_in(order) for _ in range(order["connections"])]
        load = _send_all(sockets, bytes.fromhex(order["frame"]), order["requests"])
        answer: dict[str, Any] = {"seconds": load.seconds, "cpu_seconds": load.cpu_seconds}
        answer["response"] = load.response.hex()
    except LoadError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


def _logged_in(order: dict[str, Any]) -> socket.socket:
    client = RawClient(order["host"], order["port"])
    client.login(order["username"], order["password"])
    return client.detach()


def _send_all(sockets: list[socket.socket], frame: bytes, requests: int) -> Load:
    if not requests:
        return Load(0, 0, b"")
    sockets[0].sendall(frame)
    expected = _receive(sockets[0])
    by_descriptor = {each.fileno(): each for each in sockets}
    poll = select.epoll()
    for each in sockets:
        each.setblocking(False)
        poll.register(each, select.EPOLLIN)
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    left = requests
    for each in sockets[:left]:
        each.send(frame)
        left -= 1
    waiting = requests - left
    partial: dict[int, bytes] = {}
    while waiting:
        for descriptor, _ in poll.poll():
            connection = by_descriptor[descriptor]
            received = connection.recv(_RECEIVE_BYTES)
            if received != expected:
                received = partial.pop(descriptor, b"") + received
                if received != expected:
                    _require_beginning(received, expected)
                    partial[descriptor] = received
                    continue
            if left:
                connection.send(frame)
                left -= 1
            else:
                waiting -= 1
    return Load(time.perf_counter() - begun_s, time.process_time() - begun_cpu_s, expected)


def _receive(connection: socket.socket) -> bytes:
    received = b""
    while len(received) < _SIZE_BYTES or len(received) < _SIZE_BYTES + struct.unpack_from(">i", received)[0]:
        part = connection.recv(_RECEIVE_BYTES)
        if not part:
            raise LoadError("the server closed the connection")
        received += part
    return received


def _require_beginning(received: bytes, expected: bytes) -> None:
    if len(received) >= len(expected) or not expected.startswith(received) or not received:
        raise LoadError("the server closed a connection, or answered the same request differently")


if __name__ == "__main__":
    _main()
