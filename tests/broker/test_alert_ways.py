"""How targets are told, by real receivers: HTTP and HTTPS servers, aiosmtpd, a program."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from broker.alerts import delivery, webhook
from broker.alerts.delivery import Ways
from broker.alerts.email import message_for
from broker.alerts.notice import Notice
from broker.config import MailConfig, Secret
from broker.operations.alerts import AlertTarget
from tests.certificates import Certificates, make

NOTICE = Notice(
    id="incident_1.begun",
    event="begun",
    incident_id="incident_1",
    rule_id="alert_1",
    rule_name="late",
    kind="delay",
    threshold_s=60,
    channel_id="shop",
    channel_name="Shop 🛒",
    topic="shop_topic",
    group_id="dts1",
    group_name="readers",
    begun_ms=1_700_000_000_000,
    ended_ms=None,
    sentence="group readers is 61 s behind",
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    """As a system trusts whom it trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca))
    return certificates


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "TIMEOUT_S", {"webhook": 0.2, "email": 0.2, "command": 0.2})


async def told(kind: Any, address: str, ways: Ways | None = None, notice: Notice = NOTICE) -> str | None:
    return await (ways or Ways(None, {})).tell(AlertTarget(kind, address), notice)


# --- webhooks ---------------------------------------------------------------------------------------------------------


class Receiver:
    """An HTTP server that keeps what it is sent, and answers what the test says."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.requests: list[tuple[list[str], bytes]] = []
        self.conversations: list[Any] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.conversations.append(asyncio.current_task())
        try:
            await self._converse(reader, writer)
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")[:-2]
        [size] = [int(line.partition(":")[2]) for line in head if line.lower().startswith("content-length:")]
        self.requests.append((head, await reader.readexactly(size)))
        if self.answer is None:
            await reader.read()  # until the other side gives up
        else:
            writer.write(self.answer)


@asynccontextmanager
async def receiver(
    answer: bytes | None, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Receiver]:
    receiving = Receiver(answer)
    server = await asyncio.start_server(receiving.serve, host, 0, ssl=context)
    receiving.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiving
        await asyncio.gather(*receiving.conversations, return_exceptions=True)


def answer(status: int, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} Some words\r\n{headers}Content-Length: 0\r\n\r\n".encode()


async def test_a_webhook_is_one_post_of_the_notice_as_json() -> None:
    async with receiver(answer(204)) as receiving:
        url = f"http://user:p%40ss@127.0.0.1:{receiving.port}/hook/a%20b?key=1&x=ü"
        assert await told("webhook", url) is None
    [(head, body)] = receiving.requests
    assert head == [
        "POST /hook/a%20b?key=1&x=%C3%BC HTTP/1.1",
        f"Host: 127.0.0.1:{receiving.port}",
        "User-Agent: Binwire",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Idempotency-Key: incident_1.begun",
        "Connection: close",
        "Authorization: Basic dXNlcjpwQHNz",
    ]
    document = json.loads(body)
    assert document["channel_name"] == "Shop 🛒"
    assert (document["event"], document["sentence"], document["ended_ms"]) == ("begun", NOTICE.sentence, None)
    assert set(document) == set(Notice.__struct_fields__)


async def test_a_path_that_is_left_out_is_the_root() -> None:
    async with receiver(answer(200)) as receiving:
        assert await told("webhook", f"http://localhost:{receiving.port}") is None
    assert receiving.requests[0][0][:2] == ["POST / HTTP/1.1", f"Host: localhost:{receiving.port}"]


@pytest.mark.parametrize(
    ("given", "failure"),
    [
        (answer(500), "answered 500"),
        (answer(404), "answered 404"),
        (answer(302, "Location: http://127.0.0.1:1/\r\n"), "answered 302, a redirect, which is not followed"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(503), "answered 503"),
        (b"", "it closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "it closed the connection without an answer"),
        (b"HTTP/2 200\r\n\r\n", "its answer is not one of HTTP"),
        (b"x" * (webhook.ANSWER_LINE_BYTES_MAX * 2), "its answer is not one of HTTP"),
    ],
)
async def test_an_answer_that_is_not_of_the_two_hundreds_is_a_failure(given: bytes, failure: str) -> None:
    async with receiver(given) as receiving:
        found = await told("webhook", f"http://127.0.0.1:{receiving.port}/secret")
    assert found is not None
    assert failure in found
    assert f"127.0.0.1:{receiving.port}" in found
    assert "secret" not in found
    assert len(receiving.requests) == 1


async def test_an_interim_answer_is_not_the_answer() -> None:
    async with receiver(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200)) as receiving:
        assert await told("webhook", f"http://127.0.0.1:{receiving.port}/") is None


@pytest.mark.usefixtures("impatient")
async def test_a_webhook_that_does_not_answer_is_given_up_in_time() -> None:
    async with receiver(None) as receiving:
        assert await told("webhook", f"http://127.0.0.1:{receiving.port}/") == "it was not done after 0.2 s"


async def test_nothing_that_listens_is_told_so() -> None:
    async with receiver(answer(200)) as receiving:
        port = receiving.port
    assert (
        await told("webhook", f"http://127.0.0.1:{port}/") == f"127.0.0.1:{port} cannot be told: nothing listens there"
    )


async def test_https_is_verified(certificates: Certificates, trusted: Certificates) -> None:
    async with receiver(answer(200), server_context(certificates)) as receiving:
        assert await told("webhook", f"https://localhost:{receiving.port}/") is None
    assert len(receiving.requests) == 1


async def test_a_certificate_of_nobody_is_a_failure_and_nothing_is_sent(certificates: Certificates) -> None:
    async with receiver(answer(200), server_context(certificates)) as receiving:
        found = await told("webhook", f"https://localhost:{receiving.port}/")
    assert found is not None
    assert found.startswith(f"the certificate of localhost:{receiving.port} is not valid: ")
    assert receiving.requests == []


async def test_a_certificate_of_another_host_is_a_failure_and_nothing_is_sent(trusted: Certificates) -> None:
    async with receiver(answer(200), server_context(trusted), host="127.0.0.2") as receiving:
        found = await told("webhook", f"https://127.0.0.2:{receiving.port}/")
    assert found is not None
    assert found.startswith(f"the certificate of 127.0.0.2:{receiving.port} is not valid: ")
    assert receiving.requests == []


def server_context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    return context


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "2852039166", "[fe80::1]", "[::ffff:169.254.169.254]", "100.100.100.200", "[fd00:ec2::254]"],
)
async def test_where_clouds_serve_credentials_is_never_connected_to(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("it connects")

    monkeypatch.setattr(asyncio, "open_connection", connect)
    found = await told("webhook", f"http://{host}/latest/meta-data")
    assert found is not None
    assert "is where clouds serve credentials of a machine; webhooks do not go there" in found


# --- mail -------------------------------------------------------------------------------------------------------------


class Mailbox:
    """What aiosmtpd took."""

    def __init__(self, refusal: str | None = None) -> None:
        self.refusal = refusal
        self.mails: list[tuple[str, list[str], Message, bool]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refusal is not None:
            return self.refusal
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content)
        self.mails.append((str(envelope.mail_from), list(envelope.rcpt_tos), mail, session.ssl is not None))
        return "250 taken"


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=data == LoginPassword(b"binwire", b"Mail-secret1"), handled=False)


@asynccontextmanager
async def mail_server(mailbox: Mailbox, *, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[int]:
    """aiosmtpd on this loop; the client is in a thread."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **options), "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def mail(port: int, **others: Any) -> Ways:
    settings: dict[str, Any] = {"server": f"localhost:{port}", "sender": "binwire@example.com"}
    return Ways(MailConfig(**settings | others), {})


def test_a_mail_says_it_in_one_line_and_again_in_full() -> None:
    hostile = "late\r\nBcc: everybody@example.com"
    notice = Notice(**{name: getattr(NOTICE, name) for name in Notice.__struct_fields__} | {"rule_name": hostile})
    settings = MailConfig(server="h:25", sender="binwire@example.com")
    message = message_for(settings, "ops@example.com", notice)
    assert message["Subject"] == "[Binwire] ALERT: late Bcc: everybody@example.com (readers of Shop 🛒)"
    assert message["Bcc"] is None
    assert message["Message-ID"] == "<incident_1.begun@binwire.invalid>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content().startswith("group readers is 61 s behind\n\nRule: late")
    assert "Consumer group: readers (dts1)\n" in message.get_content()


async def test_a_mail_is_sent_with_starttls_and_a_login(trusted: Certificates) -> None:
    mailbox = Mailbox()
    options: dict[str, Any] = {
        "tls_context": server_context(trusted),
        "require_starttls": True,
        "auth_required": True,
        "authenticator": _authenticate,
    }
    async with mail_server(mailbox, **options) as port:
        ways = mail(port, username="binwire", password=Secret("Mail-secret1"))
        assert await told("email", "ops@example.com", ways) is None
        wrong = mail(port, username="binwire", password=Secret("Other-secret1"))
        found = await told("email", "ops@example.com", wrong)
        words = "it answered 535 5.7.8 Authentication credentials invalid"
        assert found == f"localhost:{port} did not take the mail: {words}"
    [(sender, recipients, message, is_over_tls)] = mailbox.mails
    assert (sender, recipients, is_over_tls) == ("binwire@example.com", ["ops@example.com"], True)
    assert message["To"] == "ops@example.com"


async def test_a_mail_is_sent_over_tls_from_the_start(trusted: Certificates) -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox, tls=server_context(trusted)) as port:
        assert await told("email", "ops@example.com", mail(port, security="tls")) is None
    assert len(mailbox.mails) == 1


async def test_a_server_without_starttls_gets_nothing_in_the_clear() -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        found = await told("email", "ops@example.com", mail(port))
        assert found is not None
        assert "STARTTLS" in found
        assert mailbox.mails == []
        assert await told("email", "ops@example.com", mail(port, security="none")) is None
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_mail_servers_certificate_is_verified(certificates: Certificates, security: str) -> None:
    mailbox, context = Mailbox(), server_context(certificates)
    options: dict[str, Any] = {"tls" if security == "tls" else "tls_context": context}
    async with mail_server(mailbox, **options) as port:
        found = await told("email", "ops@example.com", mail(port, security=security))
    assert found is not None
    assert "its certificate is not valid" in found
    assert mailbox.mails == []


async def test_what_a_mail_server_refuses_is_told_in_its_words() -> None:
    async with mail_server(Mailbox("554 5.7.1 no such\tluck")) as port:
        found = await told("email", "ops@example.com", mail(port, security="none"))
        assert found == f"localhost:{port} did not take the mail: it answered 554 5.7.1 no such luck"
    found = await told("email", "ops@example.com", mail(port, security="none"))
    assert found == f"localhost:{port} did not take the mail: Connection refused"
    assert await told("email", "ops@example.com") == "the configuration file has no [mail] any more"


@pytest.mark.usefixtures("impatient")
async def test_a_mail_server_that_says_nothing_is_given_up_in_time_and_its_connection_ended() -> None:
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.set()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await told("email", "ops@example.com", mail(port)) == "it was not done after 0.2 s"
        await ended.wait()


# --- commands ---------------------------------------------------------------------------------------------------------


def program(folder: Path, text: str) -> list[str]:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return [str(path)]


async def test_a_command_gets_the_facts_and_its_arguments_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_PASSWORD", "Source-secret1")
    argv = [*program(tmp_path, 'env -0 > "$1"; printf %s "$2" > "$1.argument"'), str(tmp_path / "out"), "$(id); *"]
    assert await told("command", "page", Ways(None, {"page": argv})) is None
    environment = dict(line.split("=", 1) for line in (tmp_path / "out").read_text().split("\0") if line)
    assert environment["BINWIRE_EVENT"] == "begun"
    assert environment["BINWIRE_CHANNEL_NAME"] == "Shop 🛒"
    assert environment["BINWIRE_ENDED_MS"] == ""
    assert environment["PATH"] == os.environ["PATH"]
    assert "SOURCE_PASSWORD" not in environment
    assert (tmp_path / "out.argument").read_text() == "$(id); *"


async def test_hostile_facts_stay_facts(tmp_path: Path) -> None:
    argv = [*program(tmp_path, 'printf %s "$BINWIRE_SENTENCE" > "$1"'), str(tmp_path / "out")]
    hostile = "`id`; $(touch x)\n\0" + "x" * 10_000
    notice = Notice(**{name: getattr(NOTICE, name) for name in Notice.__struct_fields__} | {"sentence": hostile})
    assert await told("command", "page", Ways(None, {"page": argv}), notice) is None
    assert (tmp_path / "out").read_text() == hostile.replace("\0", "")[:4096]


@pytest.mark.parametrize(
    ("text", "failure"),
    [("exit 3", "the command page ended with status 3"), ("kill -9 $$", "the command page was ended by SIGKILL")],
)
async def test_how_a_command_ended_is_told(tmp_path: Path, text: str, failure: str) -> None:
    assert await told("command", "page", Ways(None, {"page": program(tmp_path, text)})) == failure


async def test_a_command_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    path = str(tmp_path / "nothing")
    found = await told("command", "page", Ways(None, {"page": [path]}))
    assert found == f"the command page cannot be run: {path}: No such file or directory"
    assert await told("command", "page") == "the configuration file has no command page any more"


@pytest.mark.usefixtures("impatient")
async def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = [*program(tmp_path, 'sleep 1000 > "$1" & wait'), str(fifo)]
    telling = asyncio.create_task(told("command", "page", Ways(None, {"page": argv})))
    ended = await asyncio.to_thread(fifo.read_bytes)  # ends when nobody has it open for writing any more
    assert ended == b""
    assert await telling == "it was not done after 0.2 s"
