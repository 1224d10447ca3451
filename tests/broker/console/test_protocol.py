"""Peers that send slowly, read slowly, or are too many: none keeps others out, and the console ends in good order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.console import protocol as protocol_module
from broker.console.http import HEADERS_BYTES_MAX
from broker.server import ListenError
from tests import certificates
from tests.broker.console.served_console import Console, config, served
from tests.fakes import ManualClock

LINE = b"GET /api/v1/server HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def connected(console: Console) -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_connection(console.host, console.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def until_cut(reader: asyncio.StreamReader) -> bytes:
    """Everything that comes until the connection ends, however it does."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            found += piece
    return found


def connections(console: Console) -> int:
    """How many the server has; none before what answers is loaded."""
    state = console.server._state
    return 0 if state is None else len(state.connections)


async def until_connected(console: Console, count: int) -> None:
    while connections(console) != count:  # noqa: ASYNC110 - it is the server's own set
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"G",
        LINE + b"X: ",
        b"POST /api/v1/reload HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        b"POST /login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        LINE + HOST + b"\r\nGET ",
    ],
)
async def test_a_request_that_does_not_end_is_cut(
    open_console: Console, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_module, "REQUEST_S", 0.05)
    async with connected(open_console) as (reader, writer):
        writer.write(begun)
        await until_cut(reader)
    assert connections(open_console) == 0


async def test_a_request_that_trickles_is_cut_too(open_console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte in time does not make the whole in time."""
    monkeypatch.setattr(protocol_module, "REQUEST_S", 0.1)
    async with connected(open_console) as (reader, writer):
        writer.write(LINE)
        ended = asyncio.ensure_future(until_cut(reader))
        while not ended.done():
            writer.write(b"X-Slow: 1\r\n")
            await asyncio.wait([ended], timeout=0.01)
        assert b"200 OK" not in ended.result()


async def test_who_reads_nothing_of_an_answer_is_cut(open_console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "ANSWER_S", 0.05)

    async def endless() -> str:
        return "x" * 30_000_000

    open_console.plane.reload = endless
    body = b"{}"
    head = b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    async with connected(open_console) as (reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"POST /api/v1/reload HTTP/1.1\r\n" + HOST + head + body)
        await until_connected(open_console, 1)
        await until_connected(open_console, 0)


async def test_headers_are_bounded(open_console: Console) -> None:
    async with connected(open_console) as (reader, writer):
        writer.write(LINE + HOST)
        with contextlib.suppress(ConnectionError):
            for _ in range(HEADERS_BYTES_MAX // 1000 + 40):
                writer.write(b"X: " + b"x" * 1000 + b"\r\n")
                await writer.drain()
        found = await until_cut(reader)
    assert b"200 OK" not in found
    assert connections(open_console) == 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"\x00\x00\x00\x12\x00\x12\x00\x00\x00\x00\x00\x01\x00\x04test",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_without_a_line_in_the_log(
    open_console: Console, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with connected(open_console) as (reader, writer):
            writer.write(request_bytes)
            writer.write_eof()
            found = await until_cut(reader)
        assert found == b"" or b" 400 " in found.splitlines()[0] or b" 403 " in found.splitlines()[0]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


NO_BODY = b" HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"


@pytest.mark.parametrize(
    "line", [b"POST /api/v1/reload", b"POST /nothing", b"TRACE /api/v1/server", b"HEAD /api/v1/server"]
)
async def test_a_body_that_is_none_is_refused_without_a_line_in_the_log(
    open_console: Console, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with connected(open_console) as (reader, writer):
            writer.write(line + NO_BODY + b"zz\r\n")
            found = await until_cut(reader)
        await until_connected(open_console, 0)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 1
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_that_turns_out_to_be_none_behind_its_answer_ends_the_connection_and_no_more(
    open_console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with connected(open_console) as (reader, writer):
            writer.write(b"TRACE /api/v1/server" + NO_BODY)
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"zz\r\n")
            await until_cut(reader)
        await until_connected(open_console, 0)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_requests_one_behind_the_other_are_answered_in_order(open_console: Console) -> None:
    async with connected(open_console) as (reader, writer):
        writer.write((LINE + HOST + b"\r\n") * 20 + b"GET /nothing HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
        found = await until_cut(reader)
    assert found.count(b"HTTP/1.1 200 OK") == 20
    assert found.count(b"HTTP/1.1 404 Not Found") == 1


async def test_so_many_connections_of_one_origin_and_no_more(
    open_console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_module, "CONNECTIONS_PER_ORIGIN_MAX", 3)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            reader, writer = await stack.enter_async_context(connected(open_console))
            writer.write(LINE + HOST + b"\r\n")
            assert b"200" in await reader.readline()
        async with connected(open_console) as (reader, writer):
            writer.write(LINE + HOST + b"\r\n")
            assert await until_cut(reader) == b""
    await until_connected(open_console, 0)
    assert (await open_console.get("/api/v1/server")).status == 200


async def test_who_is_outside_the_ranges_is_not_let_in(tmp_path: Path) -> None:
    async with served(tmp_path, config(allow_from=["10.0.0.0/8"])) as console, connected(console) as (reader, writer):
        writer.write(LINE + HOST + b"\r\n")
        assert await until_cut(reader) == b""


async def test_what_was_asked_is_answered_before_it_ends_and_what_waits_is_not(tmp_path: Path) -> None:
    asked, release = asyncio.Event(), asyncio.Event()
    async with served(tmp_path) as console:

        async def slow() -> str:
            asked.set()
            await release.wait()
            return "done in time"

        console.plane.reload = slow
        reload = asyncio.ensure_future(console.change("/api/v1/reload"))
        async with connected(console) as (idle, _):
            await asked.wait()
            closing = asyncio.ensure_future(console.server.close())
            assert await until_cut(idle) == b""
            release.set()
            await closing
        assert (await reload).json() == {"message": "done in time"}
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(console.host, console.port)


async def test_it_listens_before_it_is_loaded_and_who_came_meanwhile_is_answered(tmp_path: Path) -> None:
    async with served(tmp_path) as console:
        assert console.server._server is None
        assert (await console.get("/api/v1/server")).status == 200


async def test_it_can_be_ended_while_it_loads(tmp_path: Path) -> None:
    async with served(tmp_path):
        pass


async def test_an_address_that_cannot_be_had_is_one_sentence(open_console: Console, tmp_path: Path) -> None:
    bind = f"127.0.0.1:{open_console.port}"
    with pytest.raises(ListenError, match=f"console cannot use {bind}: it is in use; stop what listens there or"):
        async with served(tmp_path, config(bind=bind)):
            pass


async def test_tls_is_spoken_with_the_certificate_in_force(tmp_path: Path) -> None:
    made = certificates.make(tmp_path / "first")
    table = config(tls_cert=str(made.cert), tls_key=str(made.key))
    clock = ManualClock(now_ms=_now_ms())
    async with served(tmp_path, table, clock=clock, context=made.client_context()) as console:
        answer = await console.get("/api/v1/server")
        assert answer.status == 200
        renewed = certificates.make(tmp_path / "second")
        made.cert.write_bytes(renewed.cert.read_bytes())
        made.key.write_bytes(renewed.key.read_bytes())
        clock.advance(60_000)
        console._context = renewed.client_context()
        assert (await console.get("/api/v1/server")).status == 200


async def test_the_cookie_of_a_console_with_tls_is_for_tls_only(tmp_path: Path) -> None:
    made = certificates.make(tmp_path / "tls")
    table = config(tls_cert=str(made.cert), tls_key=str(made.key), password="correct horse")
    clock = ManualClock(now_ms=_now_ms())
    async with served(tmp_path, table, clock=clock, context=made.client_context()) as console:
        answer = await console.sign_in()
        assert answer.cookie.startswith(f"__Host-binwire-{console.port}=")
        assert answer.headers["Set-Cookie"].endswith("; Secure")
        assert (await console.get("/api/v1/server", Cookie=answer.cookie)).status == 200


def _now_ms() -> int:
    return int(time.time() * 1000)
