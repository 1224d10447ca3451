"""The server's side of the MySQL protocol, sans-IO: what it greets with, answers, and makes up for a binlog dump.

    packet      payload length u24 | sequence number u8 | payload; 2^24-1 bytes at most, then another follows
    greeting    HandshakeV10; the reader answers with its user and a scrambled password
    answer      OK 00 | ERR ff | rows: column count, a packet per column, EOF, a packet per row, EOF
    dump        each packet is 00 and a binlog event: an artificial ROTATE, the file's format description, its events

(MySQL's client/server protocol documentation; sql/rpl_binlog_sender.cc.) All columns are texts. Who listens, which
statements are answered and what a binlog holds is left to the servers: `bench/synthetic_server.py`, and a scripted one
of the tests.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

COM_QUIT: Final = 0x01
COM_INIT_DB: Final = 0x02
COM_QUERY: Final = 0x03
COM_PING: Final = 0x0E
COM_BINLOG_DUMP: Final = 0x12
COM_REGISTER_SLAVE: Final = 0x15
COM_BINLOG_DUMP_GTID: Final = 0x1E

NATIVE: Final = "mysql_native_password"
CACHING_SHA2: Final = "caching_sha2_password"
DEPRECATE_EOF: Final = 1 << 24
SALT: Final = b"abcdefghijklmnopqrst"
PACKET_BYTES_MAX: Final = (1 << 24) - 1

OK: Final = b"\x00\x00\x00\x02\x00\x00\x00"
END_OF_DUMP: Final = b"\xfe\x00\x00\x02\x00"
"""EOF, which also ends a dump that is not to wait."""
_OK_BEHIND_ROWS: Final = b"\xfe\x00\x00\x02\x00\x00\x00"

_HEADER: Final = struct.Struct("<IBIIIH")
_HEADER_BYTES: Final = _HEADER.size
_U32: Final = struct.Struct("<I")
_ROTATE: Final = 4
_HEARTBEAT: Final = 27
_ARTIFICIAL: Final = 0x20
_IN_USE: Final = 0x01
_FLAGS_AT: Final = 17
_CREATED_AT: Final = _HEADER_BYTES + 2 + 50
_UTF8MB4: Final = 45
_VAR_STRING: Final = 253

Row = Sequence[str | None]


class SqlError(Exception):
    """An error packet: number, SQL state, message."""

    def __init__(self, code: int, state: str, message: str) -> None:
        super().__init__(message)
        self.code, self.state = code, state

    @property
    def payload(self) -> bytes:
        return b"\xff" + struct.pack("<H", self.code) + b"#" + self.state.encode() + str(self).encode()


def framed(payload: bytes, sequence: int) -> tuple[bytes, int]:
    """The packets of a payload, and the number the next one carries."""
    packets = []
    while True:
        piece, payload = payload[:PACKET_BYTES_MAX], payload[PACKET_BYTES_MAX:]
        packets.append(len(piece).to_bytes(3, "little") + bytes([sequence & 0xFF]) + piece)
        sequence += 1
        if len(piece) < PACKET_BYTES_MAX:
            return b"".join(packets), sequence & 0xFF


def rows_answer(names: Sequence[str], rows: Sequence[Row], *, ends_with_ok: bool) -> Iterator[bytes]:
    """The payloads of an answer in rows; `ends_with_ok` as the reader asked for by DEPRECATE_EOF."""
    yield bytes([len(names)])
    for name in names:
        texts = b"".join(map(_text, (b"def", b"", b"", b"", name.encode(), name.encode())))
        yield texts + struct.pack("<BHIBHBH", 12, _UTF8MB4, 1024, _VAR_STRING, 0, 0, 0)
    if not ends_with_ok:
        yield END_OF_DUMP
    for row in rows:
        yield b"".join(b"\xfb" if value is None else _text(value.encode()) for value in row)
    yield _OK_BEHIND_ROWS if ends_with_ok else END_OF_DUMP


def _text(value: bytes) -> bytes:
    """A length-encoded string."""
    size = len(value)
    if size < 0xFB:
        return bytes([size]) + value
    return b"\xfc" + struct.pack("<H", size) + value if size < 1 << 16 else b"\xfd" + size.to_bytes(3, "little") + value


# ---- logging in ----


def greeting(version: str, *, capabilities: int, charset: int, plugin: str) -> bytes:
    """HandshakeV10; before 5.5 upper capabilities and the scramble's length are zeros, and no plugin follows."""
    head = b"\x0a" + version.encode() + b"\0" + struct.pack("<I", 7) + SALT[:8] + b"\0"
    middle = struct.pack("<HBHH", capabilities & 0xFFFF, charset, 2, capabilities >> 16)
    tail = bytes([21 if plugin else 0]) + bytes(10) + SALT[8:] + b"\0"
    return head + middle + tail + (plugin.encode() + b"\0" if plugin else b"")


def read_login(response: bytes) -> tuple[int, str, bytes]:
    """Capabilities, user and scrambled password of the answer to a greeting."""
    user, _, rest = response[32:].partition(b"\0")
    return int.from_bytes(response[:4], "little"), user.decode(), rest[1 : 1 + rest[0]]


def scrambled(password: str, plugin: str) -> bytes:
    """What the reader must answer; a server without plugins wants the native one."""
    if plugin == CACHING_SHA2:
        first = hashlib.sha256(password.encode()).digest()
        return _xor(first, hashlib.sha256(hashlib.sha256(first).digest() + SALT).digest())
    first = hashlib.sha1(password.encode()).digest()  # noqa: S324 — the plugin's own
    return _xor(first, hashlib.sha1(SALT + hashlib.sha1(first).digest()).digest())  # noqa: S324


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


# ---- what a dump has that is in no file ----


def artificial_rotate(file: str, position: int, *, server_id: int, crc: bool) -> bytes:
    """The ROTATE that names the file whose events follow."""
    return _made(_ROTATE, server_id, 0, _ARTIFICIAL, struct.pack("<Q", position) + file.encode(), crc)


def heartbeat(file: str, position: int, *, server_id: int, crc: bool) -> bytes:
    """The server lives and its binlog ends there."""
    return _made(_HEARTBEAT, server_id, position, 0, file.encode(), crc)


def format_description_as_sent(head: bytes, position: int, *, crc: bool) -> bytes:
    """A format description as a dump sends it: not in use; from the middle of a file of no time and no place."""
    event = bytearray(head)
    event[_FLAGS_AT] &= ~_IN_USE
    if position != 4:
        event[13:17] = bytes(4)
        event[_CREATED_AT : _CREATED_AT + 4] = bytes(4)
    if crc:
        event[-4:] = _U32.pack(zlib.crc32(event[:-4]))
    return bytes(event)


def _made(kind: int, server_id: int, end: int, flags: int, body: bytes, crc: bool) -> bytes:
    raw = _HEADER.pack(0, kind, server_id, _HEADER_BYTES + len(body) + 4 * crc, end & 0xFFFFFFFF, flags) + body
    return raw + _U32.pack(zlib.crc32(raw)) if crc else raw
