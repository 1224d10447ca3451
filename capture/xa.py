"""XA transaction ids, and the event that prepares one.

An id is three parts: a format number, a global and a branch qualifier (X/Open's XID). Servers write it in statements as
`X'6f6e65',X'62',7`, people as `'one','b',7` too, format 1 where it is left out.

Body of XA_PREPARE (38): one phase u8 | format i32 | size of the global part u32 | size of the branch part u32 | both
(`XA_prepare_event` in MySQL's control_events.h; the same in MariaDB from 10.5 on). MariaDB's GTID names it too: format
u32 | the two sizes u8 each | both. What an XA transaction is for the stream is decided in `capture/transactions.py`.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from capture.errors import MalformedEvent

DEFAULT_FORMAT = 1

_PREPARE = struct.Struct("<BiII")
_IN_GTID = struct.Struct("<iBB")
_PART_BYTES_MAX = 64
"""Of each of the two parts (MAXGTRIDSIZE, MAXBQUALSIZE)."""


class Xid(NamedTuple):
    """The id of an XA transaction."""

    format: int
    global_part: bytes
    branch_part: bytes

    def __str__(self) -> str:
        """As the server writes it."""
        return f"X'{self.global_part.hex()}',X'{self.branch_part.hex()}',{self.format}"


class XaPrepareEvent(NamedTuple):
    """The rows before it are prepared, or, in `one_phase`, committed."""

    xid: Xid
    one_phase: bool


def decode_xa_prepare(body: bytes) -> XaPrepareEvent:
    """The body of XA_PREPARE. Raises struct.error or IndexError where it is cut short."""
    one_phase, number, global_bytes, branch_bytes = _PREPARE.unpack_from(body)
    if global_bytes > _PART_BYTES_MAX or branch_bytes > _PART_BYTES_MAX:
        raise MalformedEvent(
            f"an XA id has parts of {global_bytes} and {branch_bytes} bytes, {_PART_BYTES_MAX} at most"
        )
    xid, end = _parts(body, _PREPARE.size, number, global_bytes, branch_bytes)
    if end != len(body):
        raise IndexError
    return XaPrepareEvent(xid, bool(one_phase))


def read_xid_in_gtid(body: bytes, position: int) -> tuple[Xid, int]:
    """The id in MariaDB's GTID event, and the position behind it."""
    number, global_bytes, branch_bytes = _IN_GTID.unpack_from(body, position)
    return _parts(body, position + _IN_GTID.size, number, global_bytes, branch_bytes)


def _parts(body: bytes, start: int, number: int, global_bytes: int, branch_bytes: int) -> tuple[Xid, int]:
    middle, end = start + global_bytes, start + global_bytes + branch_bytes
    if end > len(body):
        raise IndexError
    return Xid(number, body[start:middle], body[middle:end]), end


_PART = r"(?:[xX]'(?:[0-9a-fA-F]{2})*'|0[xX](?:[0-9a-fA-F]{2})+|'(?:[^'\\]|'')*'|\"(?:[^\"\\]|\"\")*\")"
_XID = re.compile(
    rf"\s*({_PART})\s*(?:,\s*({_PART})\s*(?:,\s*(\d+|0[xX][0-9a-fA-F]+)\s*)?)?(?:ONE\s+PHASE\s*)?\Z", re.IGNORECASE
)


def parse_xid(text: str) -> Xid:
    """Read an id as it stands behind XA COMMIT. Raises ValueError."""
    match = _XID.match(text)
    if match is None:
        raise ValueError(f"the XA id {text!r} is not understood")
    global_part, branch_part, number = match.groups()
    return Xid(
        DEFAULT_FORMAT if number is None else int(number, 0),
        _part(global_part),
        b"" if branch_part is None else _part(branch_part),
    )


def _part(text: str) -> bytes:
    if text[0] in "xX":
        return bytes.fromhex(text[2:-1])
    if text[0] == "0":
        return bytes.fromhex(text[2:])
    return text[1:-1].replace(text[0] * 2, text[0]).encode()
