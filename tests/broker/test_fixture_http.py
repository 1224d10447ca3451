"""The fixture's calls over HTTP: requests in every shape, and the life of `binwire fixture`."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer

from binwire.record import decode
from binwire.testing.settings import Settings
from broker.fixture import http as fixture_http
from broker.fixture.call import Arguments, Call, CallFailedError
from broker.fixture.fault_kinds import KINDS
from broker.fixture.fixture import Fixture
from broker.fixture.http import HttpServer
from broker.fixture.table import CALLS
from broker.listener import Address
from tests.tools.workplace import CHECKOUT

READ_TIMEOUT_MS = 30_000

# --- requests, on calls of these tests' own --------------------------------------------------------------------------


class EchoArguments(Arguments):
    value: Any = None


class Waiting:
    """A call that waits until it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, fixture: Fixture, given: EchoArguments) -> str:
        self.begun.set()
        await self.let_go.wait()
        return "waited"


async def _echo(fixture: Fixture, given: EchoArguments) -> Any:
    return {"value": given.value}


async def _refuse(fixture: Fixture, given: EchoArguments) -> Any:
    raise CallFailedError("not this")


async def _tell_what_cannot_be_told(fixture: Fixture, given: EchoArguments) -> Any:
    return object()


async def _fail(fixture: Fixture, given: EchoArguments) -> Any:
    raise ZeroDivisionError("a defect")


def _no_fixture() -> Fixture:
    """What these calls work on: nothing; a fixture is told when it is called."""
    return cast("Fixture", SimpleNamespace(spares=SimpleNamespace(called=lambda *_: None)))


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
async def server(waiting: Waiting) -> AsyncIterator[HttpServer]:
    handlers: dict[str, Any] = {"echo": _echo, "refuse": _refuse, "fail": _fail, "wait": waiting}
    handlers["odd"] = _tell_what_cannot_be_told
    calls = {name: Call(name, f"does {name}", EchoArguments, handler) for name, handler in handlers.items()}
    started = HttpServer(_no_fixture(), calls)
    await started.start(Address("127.0.0.1", 0))
    yield started
    await started.close()


class Peer:
    """One connection to a server, which says what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self, *, has_body: bool = True) -> tuple[int, dict[str, str], Any]:
        """The next answer: its status, headers and document."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await self._reader.readexactly(int(headers.get("content-length", 0))) if has_body else b""
        return int(head[0].split()[1]), headers, json.loads(body) if body else None

    async def ask(self, data: bytes) -> tuple[int, Any]:
        await self.send(data)
        status, _, document = await self.receive()
        return status, document

    async def rest(self) -> bytes:
        """What comes until the connection ends."""
        return await self._reader.read()

    def end(self) -> None:
        """Send nothing more."""
        self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)


@pytest.fixture
async def peers(server: HttpServer) -> AsyncIterator[Any]:
    opened: list[Peer] = []

    async def connect() -> Peer:
        assert server._server is not None
        opened.append(Peer(*await asyncio.open_connection(*server._server.sockets[0].getsockname())))
        return opened[-1]

    yield connect
    for peer in opened:
        await peer.close()


def post(
    name: str, body: bytes = b"", *, kind: str = "application/json", host: str = "localhost", more: str = ""
) -> bytes:
    head = f"POST /{name} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


ECHO = post("echo", b'{"value": [1, {"$decimal": "1.50"}, "\xc3\xbc"]}')
ECHOED = (200, {"value": [1, {"$decimal": "1.50"}, "ü"]})


async def test_a_call_is_answered_by_its_result(peers: Any) -> None:
    assert await (await peers()).ask(ECHO) == ECHOED


async def test_a_request_may_come_byte_by_byte(peers: Any) -> None:
    peer = await peers()
    for place in range(len(ECHO)):
        await peer.send(ECHO[place : place + 1])
    status, _, document = await peer.receive()
    assert (status, document) == ECHOED


async def test_requests_that_come_together_are_answered_in_their_order(peers: Any, waiting: Waiting) -> None:
    peer = await peers()
    await peer.send(post("wait") + post("echo", b'{"value": 2}') + post("refuse"))
    await waiting.begun.wait()
    waiting.let_go.set()
    assert [(await peer.receive())[2] for _ in range(3)] == ["waited", {"value": 2}, {"error": "not this"}]


async def test_a_call_that_waits_holds_up_no_other_connection(peers: Any, waiting: Waiting) -> None:
    first, second = await peers(), await peers()
    await first.send(post("wait"))
    await waiting.begun.wait()
    assert await second.ask(ECHO) == ECHOED
    waiting.let_go.set()
    assert (await first.receive())[2] == "waited"


async def test_who_sends_no_more_is_still_answered(peers: Any, waiting: Waiting) -> None:
    peer = await peers()
    await peer.send(post("wait"))
    await waiting.begun.wait()
    peer.end()
    waiting.let_go.set()
    assert (await peer.receive())[2] == "waited"


async def test_who_asks_first_may_send_a_body(peers: Any) -> None:
    peer = await peers()
    head, body = post("echo", b'{"value": 3}', more="Expect: 100-continue\r\n").split(b"\r\n\r\n")
    await peer.send(head + b"\r\n\r\n")
    assert (await peer.receive())[0] == 100
    assert await peer.ask(body) == (200, {"value": 3})


async def test_a_body_may_be_chunked(peers: Any) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json; charset=utf-8\r\n"
    chunks = b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"val\r\n7\r\nue": 4}\r\n0\r\n\r\n'
    assert await (await peers()).ask(head + chunks) == (200, {"value": 4})


async def test_no_body_is_no_arguments(peers: Any) -> None:
    assert await (await peers()).ask(b"POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") == (200, {"value": None})


async def test_a_body_that_is_too_large_is_told_and_the_connection_goes_on(
    peers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixture_http, "BODY_BYTES_MAX", 1000)
    peer = await peers()
    wanted = (413, {"error": "the body is larger than 1000 bytes"})
    assert await peer.ask(post("echo", b'{"value": "' + b"x" * 1000 + b'"}')) == wanted
    assert await peer.ask(ECHO) == ECHOED


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        (
            post("refuse"),
            400,
            "not this",
        ),
        (
            post("fail"),
            500,
            "the fixture failed at this: ZeroDivisionError: a defect",
        ),
        (
            post("odd"),
            500,
            "the fixture failed at this: TypeError: a value of type object cannot be told",
        ),
        (
            post("nope"),
            404,
            "there is no call 'nope'; GET / lists the calls",
        ),
        (
            post("echo?value=1"),
            400,
            "the address asks for 'value=1'; arguments are the body, a JSON object",
        ),
        (
            post("echo", b"value=1", kind="text/plain"),
            415,
            "the body is text/plain; send JSON with Content-Type: application/json",
        ),
        (
            post("echo", b"["),
            400,
            "the body is not JSON: Expecting value: line 1 column 2 (char 1)",
        ),
        (
            post("echo", b'{"value": {"$date": "x"}}'),
            400,
            "$date cannot be read from 'x'",
        ),
        (
            post("echo", b"[" * 100_000),
            400,
            "the body is not JSON: maximum recursion depth exceeded while decoding a JSON array from a unicode string",
        ),
        (
            post("echo", b"[1]"),
            400,
            "the body is not a JSON object with the call's arguments by name",
        ),
        (
            post("echo", b'{"$bytes": "AA=="}'),
            400,
            "the body is not a JSON object with the call's arguments by name",
        ),
        (
            post("echo", b'{"valeu": 1}'),
            400,
            "echo: Object contains unknown field `valeu`",
        ),
        (
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
            405,
            "/echo does not take GET; POST calls, with their arguments as a JSON object",
        ),
        (
            b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            405,
            "/ does not take DELETE; POST calls, with their arguments as a JSON object",
        ),
        (
            post("echo", host="evil.example"),
            403,
            "this fixture is not 'evil.example'; ask it under the address that its ready line names",
        ),
        (
            post("echo", more="Origin: http://evil.example\r\n"),
            403,
            "a page of http://evil.example cannot call a fixture",
        ),
        (post("echo", more="Origin: null\r\n"), 403, "a page of null cannot call a fixture"),
    ],
)
async def test_what_is_no_call_is_told_in_one_sentence(peers: Any, request_: bytes, status: int, error: str) -> None:
    peer = await peers()
    assert await peer.ask(request_) == (status, {"error": error})
    assert await peer.ask(ECHO) == ECHOED


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080"])
async def test_a_test_in_a_browser_of_this_machine_may_call(peers: Any, origin: str) -> None:
    assert (await (await peers()).ask(post("echo", more=f"Origin: {origin}\r\n")))[0] == 200


async def test_what_is_no_http_ends_the_connection(peers: Any) -> None:
    for garbage in (b"\x00\x01\r\n\r\n", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"):
        peer = await peers()
        status, document = await peer.ask(garbage)
        assert status == 400
        assert document["error"].startswith("this is not HTTP as it should be: ")
        assert await peer.rest() == b""


@given(
    place=st.integers(0, len(ECHO)), removed=st.integers(0, 20), added=st.binary(max_size=20), cut=st.integers(1, 200)
)
def test_whatever_comes_is_answered_or_ended(place: int, removed: int, added: bytes, cut: int) -> None:
    """A request with some of its bytes replaced, in two pieces, and nothing behind it: nobody waits, nothing breaks."""
    data = ECHO[:place] + added + ECHO[place + removed :]

    async def send() -> None:
        server = HttpServer(_no_fixture(), {"echo": Call("echo", "", EchoArguments, _echo)})
        place = (await server.start(Address("127.0.0.1", 0))).removeprefix("http://")
        try:
            with suppress(ConnectionError):  # what is no HTTP may be cut off before all of it is sent
                await _said(place, data[:cut], data[cut:])
            assert (await _said(place, ECHO)).startswith(b"HTTP/1.1 200 OK\r\n")
        finally:
            await server.close()

    asyncio.run(send())


async def _said(place: str, *pieces: bytes) -> bytes:
    """All that comes on a connection that sends these pieces."""
    peer = Peer(*await asyncio.open_connection(*place.split(":")))
    try:
        for piece in pieces:
            await peer.send(piece)
        peer.end()
        return await peer.rest()
    finally:
        await peer.close()


async def test_headers_are_bounded(peers: Any) -> None:
    peer = await peers()
    status, _ = await peer.ask(b"POST /echo HTTP/1.1\r\nX: " + b"x" * fixture_http.HEADERS_BYTES_MAX)
    assert status == 431


async def test_a_head_has_no_body(peers: Any) -> None:
    peer = await peers()
    await peer.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    status, headers, _ = await peer.receive(has_body=False)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert await peer.ask(ECHO) == ECHOED


async def test_an_old_client_has_its_connection_closed(peers: Any) -> None:
    peer = await peers()
    assert (await peer.ask(ECHO.replace(b"HTTP/1.1", b"HTTP/1.0")))[0] == 200
    assert await peer.rest() == b""


async def test_who_names_no_host_is_refused(peers: Any) -> None:
    error = "this fixture is not ''; ask it under the address that its ready line names"
    assert await (await peers()).ask(b"GET / HTTP/1.0\r\n\r\n") == (403, {"error": error})


async def test_an_address_that_the_world_reaches_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fixture_http, "public_address", lambda bound: "203.0.113.1")
    server = HttpServer(_no_fixture(), {})
    await server.start(Address("127.0.0.1", 0))
    await server.close()
    assert caplog.messages == [
        "whoever reaches 203.0.113.1 can make calls and read what they put there; bind a private address"
    ]


async def test_connections_are_bounded(peers: Any, server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixture_http, "CONNECTIONS_MAX", 1)
    first = await peers()
    assert await first.ask(ECHO) == ECHOED
    second = await peers()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await second.ask(ECHO)
    assert await first.ask(ECHO) == ECHOED


async def test_a_call_is_finished_though_its_asker_went(peers: Any, server: HttpServer, waiting: Waiting) -> None:
    peer = await peers()
    await peer.send(post("wait"))
    await waiting.begun.wait()
    [connection] = server.connections
    answering = connection._answering
    assert answering is not None
    connection._transport.abort()
    waiting.let_go.set()
    await answering
    assert not answering.cancelled()
    assert not server.connections


async def test_the_end_waits_for_no_call(peers: Any, server: HttpServer, waiting: Waiting) -> None:
    peer = await peers()
    await peer.send(post("wait"))
    await waiting.begun.wait()
    await server.close()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await peer.receive()


async def test_the_list_describes_every_call(peers: Any) -> None:
    status, document = await (await peers()).ask(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status == 200
    assert [call["name"] for call in document["calls"]] == ["echo", "refuse", "fail", "wait", "odd"]
    assert document["calls"][0]["arguments"] == {
        "title": "EchoArguments",
        "description": "",
        "type": "object",
        "properties": {"value": {"default": None}},
        "required": [],
        "additionalProperties": False,
    }


# --- the process -----------------------------------------------------------------------------------------------------


class Running:
    """`binwire fixture`, ready."""

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready

    def call(self, name: str, **arguments: Any) -> Any:
        """The result of a call that can be done."""
        status, document = self.ask("POST", f"/{name}", arguments)
        assert status == 200, document
        return document

    def ask(self, method: str, path: str, arguments: Any = None) -> tuple[int, Any]:
        place = self.ready["url"].removeprefix("http://")
        connection = http.client.HTTPConnection(place)
        try:
            body = None if arguments is None else json.dumps(arguments)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "binwire", "fixture", *options]


@contextmanager
def running(*options: str, stdin: int = subprocess.PIPE) -> Iterator[Running]:
    with subprocess.Popen(command(*options), cwd=CHECKOUT, stdin=stdin, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield Running(process, json.loads(process.stdout.readline())["ready"])
        finally:
            process.terminate()  # in good order, so that it takes its folder with it


@pytest.fixture(scope="module")
def fixture() -> Iterator[Running]:
    with running() as started:
        yield started


def test_the_ready_line_says_where_everything_is(fixture: Running) -> None:
    ready = fixture.ready
    assert set(ready) == {"host", "port", "bootstrap_servers", "url", "pid", "folder"}
    assert ready["bootstrap_servers"] == f"127.0.0.1:{ready['port']}"
    assert ready["pid"] == fixture.process.pid


def test_a_row_that_was_inserted_over_http_is_consumed(fixture: Running) -> None:
    made = fixture.call("channel", statements=["CREATE TABLE t (id INT PRIMARY KEY, price DECIMAL(5,2), data BLOB)"])
    row = {"id": 1, "price": {"$decimal": "1.50"}, "data": {"$bytes": "AP8="}}
    fixture.call("insert", channel=made["channel"], table="t", rows=[row])
    channel = Settings()
    channel.bootstrap_servers = fixture.ready["bootstrap_servers"]
    channel.topic, channel.sid = made["topic"], made["sid"]
    channel.username, channel.password = made["username"], made["password"]
    consumer = KafkaConsumer(channel.topic, group_id=channel.sid, consumer_timeout_ms=30_000, **channel.kafka_python())
    records = [decode(next(consumer).value) for _ in range(5)]
    consumer.close()
    assert records[3].after == {"id": 1, "price": Decimal("1.50"), "data": b"\x00\xff"}


def test_the_calls_over_http_are_those_over_the_pipe(fixture: Running) -> None:
    status, document = fixture.ask("GET", "/")
    assert status == 200
    assert [call["name"] for call in document["calls"]] == [*CALLS]
    assert all(call["summary"] and call["arguments"]["type"] == "object" for call in document["calls"])


def test_calls_may_come_over_standard_input_beside(fixture: Running) -> None:
    assert fixture.process.stdin is not None
    assert fixture.process.stdout is not None
    fixture.process.stdin.write(b'{"id": 7, "call": "channel", "with": {"name": "typed"}}\n')
    fixture.process.stdin.flush()
    told = json.loads(fixture.process.stdout.readline())
    assert (told["id"], told["result"]["channel"]) == (7, "typed")
    assert fixture.call("records", channel="typed") == []


@pytest.mark.parametrize(
    "line",
    [b"", b"5", b"null", b"[]", b"\xff", b"[" * 100_000, b"{}", b'{"id": 1}', b'{"id": 1, "call": "records"'],
    ids=lambda line: repr(line[:20]),
)
def test_a_line_that_is_no_call_is_told_and_the_next_is_done(fixture: Running, line: bytes) -> None:
    assert fixture.process.stdin is not None
    assert fixture.process.stdout is not None
    fixture.process.stdin.write(line + b'\n{"id": 8, "call": ["x"], "with": {}}\n')
    fixture.process.stdin.flush()
    assert json.loads(fixture.process.stdout.readline())["id"] == (1 if line == b'{"id": 1}' else None)
    told = json.loads(fixture.process.stdout.readline())
    assert (told["id"], told["error"].partition(";")[0]) == (8, "there is no call ['x']")


def test_the_faults_are_listed_with_what_a_consumer_does(fixture: Running) -> None:
    status, document = fixture.ask("GET", "/faults")
    assert status == 200
    assert [(fault["call"], fault["consumer"]) for fault in document["faults"]] == [
        (kind.call, kind.consumer) for kind in KINDS
    ]


def test_it_ends_with_its_standard_input_and_leaves_nothing() -> None:
    with running() as started:
        assert Path(started.ready["folder"]).exists()
        assert started.process.stdin is not None
        started.process.stdin.close()
        assert started.process.wait() == 0
        assert not Path(started.ready["folder"]).exists()


def test_detached_it_ends_at_a_signal_alone() -> None:
    with running("--detached", stdin=subprocess.DEVNULL) as started:
        assert started.ask("GET", "/")[0] == 200
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait() == 0
        assert not Path(started.ready["folder"]).exists()


def test_it_ends_when_its_parent_is_killed() -> None:
    program = (
        "import os, signal, subprocess, sys;"
        "process = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE);"
        "os.write(1, process.stdout.readline()); os.kill(os.getpid(), signal.SIGKILL)"
    )
    started = subprocess.Popen([sys.executable, "-c", program, *command()], cwd=CHECKOUT, stdout=subprocess.PIPE)
    assert started.stdout is not None
    ready = json.loads(started.stdout.readline())["ready"]
    assert started.wait() == -signal.SIGKILL
    started.stdout.close()
    _wait_until_gone(ready["pid"])
    assert not Path(ready["folder"]).exists()


def _wait_until_gone(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        assert poll.poll(READ_TIMEOUT_MS)
    finally:
        os.close(descriptor)


def test_clients_are_told_the_address_that_is_advertised() -> None:
    with running("--bind", "0.0.0.0:0", "--advertised", "localhost:9", "--http", "0.0.0.0:0") as started:
        assert started.ready["bootstrap_servers"] == "localhost:9"
        assert started.ready["url"].startswith("http://127.0.0.1:")
        connection = http.client.HTTPConnection(started.ready["url"].removeprefix("http://"))
        connection.request("GET", "/", headers={"Host": "fixture.example"})
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.parametrize("options", [(), ("--http", "127.0.0.1:0")])
def test_a_standard_input_without_anybody_behind_it_is_refused(options: tuple[str, ...]) -> None:
    done = subprocess.run(
        command(*options), cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "binwire: standard input has nothing behind it, and the fixture ends with it; give it a pipe that you keep "
        "open, or use --detached\n"
    )


def test_an_address_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            command("--http", address, "--detached"), cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"binwire: calls over HTTP cannot use {address}: it is in use; stop what listens there or change --http\n"
    )
