"""The login as it goes over the wire, byte for byte: what each kind of client sends, and what a 1.1 broker answers.

Each row is one sentence of the protocol notes, section 3 (SaslServerAuthenticator@1.1.1 and the clients themselves).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from broker import client as client_module
from broker.apis import APIS
from broker.listener import Address, Listener, Security
from broker.server import BrokerServer
from tests.broker.fakes import PASSWORD, USERNAME, make_broker
from tests.broker.raw_client import RawClient

pytestmark = pytest.mark.timeout(60)


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def request(key: int, version: int, correlation_id: int, body: bytes = b"", client_id: str | None = "c") -> bytes:
    named = hexed("ffff") if client_id is None else len(client_id).to_bytes(2, "big") + client_id.encode()
    head = key.to_bytes(2, "big") + version.to_bytes(2, "big") + correlation_id.to_bytes(4, "big", signed=True)
    return framed(head + named + body)


def token(authzid: str, username: str, password: str) -> bytes:
    return f"{authzid}\0{username}\0{password}".encode()


def as_bytes(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def listed() -> bytes:
    """The body of ApiVersions v0: no error, and the whole table."""
    rows = b"".join(hexed(f"{api.key:04x} {api.min_version:04x} {api.max_version:04x}") for api in APIS.values())
    return hexed("0000") + len(APIS).to_bytes(4, "big") + rows


PLAIN, PLAIN_LIST = hexed("0005 504c41494e"), hexed("00000001 0005 504c41494e")
SCRAM = hexed("000d") + b"SCRAM-SHA-256"
MINUS_1, ILLEGAL = hexed("ffffffff"), hexed("0022")
REFUSED = f"Authentication failed: Invalid username or password, username:{USERNAME}".encode()
# librdkafka 2's: client software name and version in the compact form, tagged fields
FLEXIBLE = b"\0\x0alibrdkafka\x062.3.0\0"
METADATA_NONE = hexed("00000000")


class Talk(NamedTuple):
    """Pieces sent, each with what comes back for it; and whether the broker closes then."""

    pieces: tuple[tuple[bytes, bytes], ...]
    closes: bool = False


TALKS = {
    "Java 0.10 and 0.11, ruby-kafka: handshake 0 and a bare token; correlation ids start at -1": Talk(
        (
            (request(17, 0, -1, PLAIN), framed(MINUS_1 + hexed("0000") + PLAIN_LIST)),
            (framed(token("", USERNAME, PASSWORD)), hexed("00000000")),
            (request(18, 0, 0), framed(hexed("00000000") + listed())),
        )
    ),
    "Java 1.0: versions, handshake 1, SaslAuthenticate, versions again in v1": Talk(
        (
            (request(18, 0, -1), framed(MINUS_1 + listed())),
            (request(17, 1, -1, PLAIN), framed(MINUS_1 + hexed("0000") + PLAIN_LIST)),
            (
                request(36, 0, -1, as_bytes(token("", USERNAME, PASSWORD))),
                framed(MINUS_1 + hexed("0000 ffff 00000000")),
            ),
            (request(18, 1, 0), framed(hexed("00000000") + listed() + hexed("00000000"))),
        )
    ),
    "librdkafka from 1.4 on: versions 3 are answered in v0 with 35, then it asks in v0": Talk(
        (
            (request(18, 3, 1, FLEXIBLE), hexed("0000000a 00000001 0023 00000000")),
            (request(18, 0, 2), framed(hexed("00000002") + listed())),
        )
    ),
    "kafkajs: versions 2, then 1": Talk(
        (
            (request(18, 2, 0), hexed("0000000a 00000000 0023 00000000")),
            (request(18, 1, 1), framed(hexed("00000001") + listed() + hexed("00000000"))),
        )
    ),
    "librdkafka 0.9.5 to 1.3: four bytes too many behind versions 0": Talk(
        ((request(18, 0, 1, bytes(4)), framed(hexed("00000001") + listed())),)
    ),
    "kafka-python: the user name as authorization id, and everything at once": Talk(
        (
            (
                request(17, 0, 1, PLAIN, "kafka-python-2.0.2")
                + framed(token(USERNAME, USERNAME, PASSWORD))
                + request(18, 0, 2)
                + request(18, 0, 3, b"", None),
                framed(hexed("00000001 0000") + PLAIN_LIST)
                + hexed("00000000")
                + framed(hexed("00000002") + listed())
                + framed(hexed("00000003") + listed()),
            ),
        )
    ),
    "a token of GSSAPI as the first frame": Talk(((framed(hexed("6082020106092a864886f71201")), b""),), closes=True),
    "a request before the handshake": Talk(((request(3, 1, 1, METADATA_NONE), b""),), closes=True),
    "SaslAuthenticate before the handshake": Talk(((request(36, 0, 1, as_bytes(b"x")), b""),), closes=True),
    "handshake 2, which there is not": Talk(((request(17, 2, 1, PLAIN), b""),), closes=True),
    "a mechanism that there is not: 33 with those that there are": Talk(
        ((request(17, 1, 1, SCRAM), framed(hexed("00000001 0021") + PLAIN_LIST)),), closes=True
    ),
    "a second handshake instead of the token: 34": Talk(
        (
            (request(17, 1, 1, PLAIN), framed(hexed("00000001 0000") + PLAIN_LIST)),
            (request(17, 1, 2, PLAIN), framed(hexed("00000002") + ILLEGAL + hexed("00000000"))),
        ),
        closes=True,
    ),
    "another request instead of the token: 34 in its own layout": Talk(
        (
            (request(17, 1, 1, PLAIN), framed(hexed("00000001 0000") + PLAIN_LIST)),
            (request(12, 1, 2, hexed("0001 67 00000001 0001 6d")), framed(hexed("00000002 00000000") + ILLEGAL)),
        ),
        closes=True,
    ),
    "a wrong password in SaslAuthenticate: 58, its words, an empty token, then the end": Talk(
        (
            (request(17, 1, 1, PLAIN), framed(hexed("00000001 0000") + PLAIN_LIST)),
            (
                request(36, 0, 2, as_bytes(token("", USERNAME, "wr0ng"))),
                framed(hexed("00000002 003a") + len(REFUSED).to_bytes(2, "big") + REFUSED + hexed("00000000")),
            ),
        ),
        closes=True,
    ),
    "a wrong password as a bare token: not a byte": Talk(
        (
            (request(17, 0, 1, PLAIN), framed(hexed("00000001 0000") + PLAIN_LIST)),
            (framed(token("", USERNAME, "wr0ng")), b""),
        ),
        closes=True,
    ),
    "another's authorization id as a bare token": Talk(
        (
            (request(17, 0, 1, PLAIN), framed(hexed("00000001 0000") + PLAIN_LIST)),
            (framed(token("admin", USERNAME, PASSWORD)), b""),
        ),
        closes=True,
    ),
    "once logged in both SASL calls are 34 and change nothing": Talk(
        (
            (request(17, 0, 1, PLAIN), framed(hexed("00000001 0000") + PLAIN_LIST)),
            (framed(token("", USERNAME, PASSWORD)), hexed("00000000")),
            (request(17, 1, 2, PLAIN), framed(hexed("00000002") + ILLEGAL + hexed("00000000"))),
            (
                request(36, 0, 3, as_bytes(token("", "other-group", "x"))),
                framed(hexed("00000003") + ILLEGAL + hexed("ffff 00000000")),
            ),
            (request(18, 0, 4), framed(hexed("00000004") + listed())),
        )
    ),
}


@contextlib.asynccontextmanager
async def connected(security: Security) -> AsyncIterator[RawClient]:
    server = BrokerServer(make_broker(), [Listener("public", Address("127.0.0.1", 0), security)])
    address = (await server.start())["public"]
    try:
        async with RawClient(address) as client:
            yield client
    finally:
        await server.close()


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS.keys())
@pytest.mark.parametrize("step_bytes", [1 << 20, 1], ids=["whole", "byte by byte"])
async def test_a_login_goes_as_in_kafka(talk: Talk, step_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FAILED_LOGIN_DELAY_MS", 1)
    async with connected(Security.SASL_PLAINTEXT) as client:
        for sent, expected in talk.pieces:
            for start in range(0, len(sent), step_bytes):
                client.writer.write(sent[start : start + step_bytes])
                await client.writer.drain()
            assert await client.read(len(expected)) == expected
        if talk.closes:
            assert await client.expect_close() == b""
        else:
            client.writer.write(request(18, 0, 99))
            assert await client.read(8) == framed(hexed("00000063") + listed())[:8]


async def test_on_a_listener_without_login_both_sasl_calls_are_34() -> None:
    async with connected(Security.PLAINTEXT) as client:
        client.writer.write(request(17, 0, 1, PLAIN) + request(36, 0, 2, as_bytes(b"x")) + request(18, 0, 3))
        expected = framed(hexed("00000001") + ILLEGAL + hexed("00000000"))
        expected += framed(hexed("00000002") + ILLEGAL + hexed("ffff 00000000")) + framed(hexed("00000003") + listed())
        assert await client.read(len(expected)) == expected
