"""TLS of one connection without its socket: bytes from the peer in, what they say out, and the way back.

The server counts, times and cuts a connection from its first byte, so the handshake is not left to the loop's own TLS
but runs inside the connection, under the limits of every stranger. Nothing is buffered here beyond one incomplete
record: what comes is opened at once and handed on, and what goes is sealed piece by piece, when the socket takes it.

A peer that may not go on gets its alert: `take()` after an error gives the bytes to send before the connection ends.

`TlsTransport` is a socket's transport with the session in front of it, for those who only write and close.

Left to others: which certificate (`certificate.py`), the socket (`client.py`).
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from broker.wire import Buffer

HANDSHAKE_RECORD: Final = 0x16
"""First byte of everything that speaks TLS; a Kafka frame begins with the high byte of its size, 0."""
HELLO: Final = b"\x16\x03"
"""How a TLS client begins: a handshake record of any version from SSL 3 on."""
READ_BYTES: Final = 64 * 1024
REPLY_BYTES_MAX: Final = 64 * 1024
"""What the peer may make TLS itself answer (key updates, alerts) while it reads nothing."""

_REASONS: Final = {
    "UNSUPPORTED_PROTOCOL": "it offers no TLS version from 1.2 on",
    "VERSION_TOO_LOW": "it offers no TLS version from 1.2 on",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it wants another TLS version than 1.2 and 1.3",
    "NO_SHARED_CIPHER": "it offers no cipher suite that this server accepts",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "it accepts no signature that the certificate's key can make",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the certificate; give it the CA's certificate as truststore",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": (
        "it does not accept the certificate; it needs the CA's certificate as truststore, and the certificate must "
        "name the host it connects to"
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept the certificate; does it name the host it connects to?",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that the certificate has expired",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it found no common ground in the handshake",
}


class TlsError(Exception):
    """The connection cannot go on; the message says of the peer what went wrong."""


class NotTlsError(TlsError):
    """The peer does not speak TLS at all."""


class TlsSession:
    """The server's side of one TLS connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._has_begun = False
        self.is_established = False
        self.is_ended = False

    def receive(self, data: bytes) -> bytes:
        """Open what came; "" while the handshake or a record is incomplete. `is_ended` once the peer said good-bye.

        Raises:
            TlsError: the connection cannot go on.
        """
        if not self._has_begun and data:
            self._has_begun = True
            if data[0] != HANDSHAKE_RECORD:
                raise NotTlsError("it does not speak TLS; set its security protocol to SASL_SSL")
        self._incoming.write(data)
        opened: list[bytes] = []
        try:
            if not self.is_established:
                self._object.do_handshake()
                self.is_established = True
            while chunk := self._object.read(READ_BYTES):
                opened.append(chunk)
            self.is_ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            reason = error.reason or "unknown"
            raise TlsError(_REASONS.get(reason, f"TLS: {reason.replace('_', ' ').lower()}")) from None
        return b"".join(opened)

    def seal(self, data: Buffer) -> bytes:
        """Return what to send for `data`, which is all of it; only after the handshake."""
        with memoryview(data) as view:
            sealed_bytes = 0
            while sealed_bytes < len(view):
                # OpenSSL takes one record at a time.
                sealed_bytes += self._object.write(view[sealed_bytes:])
        return self._outgoing.read()

    def take(self) -> bytes:
        """Return what TLS itself has to send: its part of the handshake, answers, an alert."""
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return the good-bye, without which the peer takes the end of the connection for an attack."""
        if self.is_established:
            # It ends wanting the peer's own good-bye, which is not waited for.
            with contextlib.suppress(ssl.SSLError):
                self._object.unwrap()
        return self._outgoing.read()


class TlsTransport:
    """An asyncio transport whose writing goes through a session. The limits and sizes are those of sealed bytes."""

    def __init__(self, transport: Any, session: TlsSession) -> None:
        self._transport = transport
        self._session = session
        self.abort = transport.abort
        self.get_write_buffer_size = transport.get_write_buffer_size
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.set_write_buffer_limits = transport.set_write_buffer_limits

    def write(self, data: Buffer) -> None:
        """Seal and send."""
        self._transport.write(self._session.seal(data))

    def reply(self) -> None:
        """Send what TLS itself has to say."""
        if reply := self._session.take():
            self._transport.write(reply)

    def close(self) -> None:
        """Say good-bye and close when everything is sent."""
        if not self._transport.is_closing() and (farewell := self._session.end()):
            self._transport.write(farewell)
        self._transport.close()
