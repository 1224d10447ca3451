"""Operations asked by commands: over the control socket and at an address, and every reason for no answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from broker.control import ControlError, ControlServer
from broker.operations.operation import OperationError, Refusal
from broker.operations.server import ServerView
from broker.operations.table import BY_NAME, OPERATIONS
from broker.remote import Local, Place, Web, _request, call, web
from tests import certificates
from tests.broker.console.served_console import TOKEN, TOKEN_HASH, Console, NoChannels, config, make_plane, served
from tests.fakes import ManualClock


async def asked(place: Place, name: str, **given: Any) -> Any:
    return await asyncio.to_thread(call, place, name, given)


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    plane = make_plane(tmp_path, ManualClock())

    async def reload() -> str:
        return ""

    server = ControlServer(tmp_path / "control.sock", NoChannels(), dict, reload, lambda: plane)  # type: ignore[arg-type]
    await server.start()
    yield Local(tmp_path)
    await server.close()


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[Web]:
    async with served(tmp_path, config(tokens=[TOKEN_HASH])) as console:
        yield Web(f"http://127.0.0.1:{console.port}", TOKEN)


@pytest.fixture(params=["local", "remote"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


async def test_an_operation_is_done_and_its_result_is_what_it_gives(place: Place) -> None:
    found = await asked(place, "show_server")
    assert isinstance(found, ServerView)
    assert found.listeners[0].address == "127.0.0.1:18001"


async def test_what_is_refused_is_refused_with_its_sentence_field_and_word(place: Place) -> None:
    with pytest.raises(OperationError) as caught:
        await asked(place, "list_audit", limit=0)
    assert (caught.value.refusal, caught.value.field) == (Refusal.INVALID, "limit")
    assert str(caught.value) == "limit: Expected `int` >= 1"


async def test_the_log_of_changes_says_which_way_it_was_asked(local: Local) -> None:
    await asked(local, "reload")
    [entry] = (await asked(local, "list_audit")).entries
    assert (entry.way, entry.origin, entry.operation) == ("command", "control socket", "reload")
    assert entry.name != ""


async def test_without_a_server_one_is_told_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no server is running on the data directory"):
        await asked(Local(tmp_path), "show_server")


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_without_its_token_one_is_told_where_to_put_it(remote: Web, token: str | None) -> None:
    with pytest.raises(ControlError, match="put a token into the environment as BINWIRE_TOKEN, or name its file"):
        await asked(Web(remote.url, token), "show_server")


async def test_a_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificates.make(tmp_path / "tls")
    table = config(tls_cert=str(made.cert), tls_key=str(made.key))
    clock = ManualClock(now_ms=int(made.cert.stat().st_mtime * 1000))
    async with served(tmp_path, table, clock=clock, context=made.client_context()) as console:
        url = f"https://localhost:{console.port}"
        with pytest.raises(ControlError, match=r"cannot be trusted: .*SSL_CERT_FILE may name its CA's file"):
            await asked(Web(url, None), "show_server")
        monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
        assert isinstance(await asked(Web(url, None), "show_server"), ServerView)


@pytest.mark.parametrize(
    "url", ["localhost:1", "ftp://x", "http://", "http://user:secret@x", "http://x:port", "", "https://[::1"]
)
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(ControlError, match="is not an address of a server"):
        call(Web(url, None), "show_server", {})


def test_a_token_does_not_travel_in_clear_text() -> None:
    with pytest.raises(ControlError, match=r"the token would go to 192\.0\.2\.1 in clear text; use https"):
        call(Web("http://192.0.2.1:18080", "x"), "show_server", {})


def test_nothing_listens_there(unused_port: int) -> None:
    with pytest.raises(ControlError, match="cannot be asked: Connection refused"):
        call(Web(f"http://127.0.0.1:{unused_port}", None), "show_server", {})


@pytest.fixture
def unused_port() -> Iterator[int]:
    import socket

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and not listening
        yield bound.getsockname()[1]


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (200, b"<html>", "answers with status 200 and nothing that a Binwire server says"),
        (502, b"Bad Gateway", "answers with status 502 and nothing that a Binwire server says"),
        (404, b'{"detail": "x"}', "answers with status 404 and nothing that a Binwire server says"),
        (200, b'{"version": 1}', "answers show_server in another form"),
        (500, b'{"error": "it failed", "refusal": "of_another_version"}', "it failed"),
    ],
)
def test_another_server_there_is_told(status: int, body: bytes, sentence: str) -> None:
    with answering(status, body) as url, pytest.raises(ControlError, match=sentence):
        call(Web(url, None), "show_server", {})


def test_a_token_comes_from_the_file_or_else_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("of-the-file\n", "utf-8")
    environment = {"BINWIRE_TOKEN": "of-the-environment"}
    assert web("http://x", file, environment).token == "of-the-file"
    assert web("http://x", None, environment).token == "of-the-environment"
    assert web("http://x", None, {}).token is None
    with pytest.raises(ControlError, match="cannot be read: No such file"):
        web("http://x", tmp_path / "nothing", environment)


@pytest.mark.parametrize("channel_id", ["a/b", "..", ".", "a?b", "ä", "%2e", "x y"])
def test_a_name_in_a_path_stays_one_step_of_it(channel_id: str) -> None:
    target, _ = _request(BY_NAME["show_channel"], {"channel_id": channel_id})
    step = target.removeprefix("/api/v1/channels/")
    assert "/" not in step
    assert "?" not in step
    assert step.strip(".") != ""


def test_every_operation_can_be_asked_for_at_an_address() -> None:
    for operation in OPERATIONS:
        given = dict.fromkeys(operation.arguments.__struct_fields__, "x")
        target, body = _request(operation, given)
        assert target.startswith("/api/v1/")
        assert "{" not in target
        assert (body is None) == (operation.method in ("GET", "DELETE"))


async def test_what_was_left_out_is_left_out(open_remote: Console) -> None:
    found = await asked(Web(f"http://127.0.0.1:{open_remote.port}", None), "list_audit", before_id=None, limit=5)
    assert found.entries == ()


@pytest.fixture
async def open_remote(tmp_path: Path) -> AsyncIterator[Console]:
    async with served(tmp_path) as console:
        yield console
