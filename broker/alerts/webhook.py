"""A webhook: one HTTP POST of the notice as JSON, and whether the answer is of the two hundreds.

Invariants: HTTP goes to the address that was given and nowhere else (a redirect is a failure); https is verified by
the certificates that the system trusts (`SSL_CERT_FILE` names others, as for every program that uses OpenSSL); an
address at which clouds serve credentials of a machine (link-local ones, and `METADATA`) is never connected to, by
whichever name; of an answer the status alone is read and told. The caller bounds the time of all of it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import re
import socket
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from broker.alert_rules import host_and_port, login_of
from broker.alerts.notice import TellingFailedError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from broker.alerts.notice import Notice

ANSWER_LINE_BYTES_MAX: Final = 8 << 10
INTERIM_LINES_MAX: Final = 100
PORTS: Final = {"http": 80, "https": 443}
USER_AGENT: Final = "Binwire"
METADATA: Final = frozenset({"100.100.100.200", "192.0.0.192", "fd00:ec2::254"})
"""Those of Alibaba Cloud, of Oracle's, and of Amazon's over IPv6; the others use 169.254.169.254."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?:\s|\Z)")


async def tell(url: str, notice: Notice) -> None:
    """Post a notice. Raises TellingFailedError."""
    parts = urlsplit(url)
    where = host_and_port(parts)
    try:
        status = await _status(parts, _request(parts, notice))
    except ssl.SSLCertVerificationError as error:
        raise TellingFailedError(f"the certificate of {where} is not valid: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise TellingFailedError(f"{where} does not speak TLS as expected ({error.reason})") from None
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise TellingFailedError(f"{where} cannot be told: {_reason(error)}") from None
    if 300 <= status < 400:
        raise TellingFailedError(f"{where} answered {status}, a redirect, which is not followed; give its target")
    if not 200 <= status < 300:
        raise TellingFailedError(f"{where} answered {status}")


def _request(parts: SplitResult, notice: Notice) -> bytes:
    body = msgspec.json.encode(notice)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {_ascii(path)} HTTP/1.1",
        f"Host: {host_and_port(parts)}",
        f"User-Agent: {USER_AGENT}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Idempotency-Key: {notice.id}",
        "Connection: close",
    ]
    if (login := login_of(parts)) is not None:
        lines.append("Authorization: Basic " + base64.b64encode(":".join(login).encode()).decode())
    return "\r\n".join((*lines, "", "")).encode() + body


def _ascii(path: str) -> str:
    from urllib.parse import quote

    return quote(path, safe="!#$%&'()*+,/:;=?@[]~-._")


async def _status(parts: SplitResult, request: bytes) -> int:
    reader, writer = await _connect(parts)
    try:
        writer.write(request)
        await writer.drain()
        for _ in range(INTERIM_LINES_MAX):
            line = await reader.readuntil(b"\n")
            match = _STATUS.match(line)
            if match is not None and match[1] >= b"200":
                return int(match[1])
            if match is None and line.startswith(b"HTTP/"):
                break
        raise ValueError("its answer is not one of HTTP")
    finally:
        with contextlib.suppress(OSError):
            writer.transport.abort() if parts.scheme == "https" else writer.close()


async def _connect(parts: SplitResult) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first address of the host that takes a connection."""
    assert parts.hostname is not None
    port = parts.port or PORTS[parts.scheme]
    context = await asyncio.to_thread(ssl.create_default_context) if parts.scheme == "https" else None
    found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for address in dict.fromkeys(str(each[4][0]) for each in found):
        _require_allowed(address)
        try:
            return await asyncio.open_connection(
                address,
                port,
                ssl=context,
                server_hostname=parts.hostname if context is not None else None,
                limit=ANSWER_LINE_BYTES_MAX,
            )
        except ssl.SSLError:
            raise
        except OSError as error:
            failure = error
    raise failure or OSError("it has no address")


def _require_allowed(text: str) -> None:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_link_local or str(address) in METADATA:
        raise ValueError(f"{text} is where clouds serve credentials of a machine; webhooks do not go there")


def _reason(error: Exception) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "it closed the connection without an answer"
    if isinstance(error, asyncio.LimitOverrunError):
        return "its answer is not one of HTTP"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
