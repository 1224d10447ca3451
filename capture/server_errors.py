"""What a server's errors mean to people, and whether trying again can help.

Errors come from asyncmy's queries, from a connection that breaks, and as error packets in the dump stream. Each becomes
one sentence of the capture tree: SourceUnavailable is tried again, SourceRefused waits for somebody. None holds a
password. Codes are those of MySQL's and MariaDB's errmsg files; error 1236 covers everything that can be wrong with a
dump and is told apart by its text. What keeps a connection from coming about is `capture/connecting.py`'s business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from capture.connecting import in_words, system_reason
from capture.errors import NEW_CHANNEL, CaptureError, SourceUnavailable
from capture.packets import EndOfStream, ServerError
from capture.source import ServerRefusal, StreamEnded

if TYPE_CHECKING:
    from capture.position import BinlogPosition

HOST_NOT_ADMITTED = 1130
LOGIN_DENIED = frozenset({1045, 1698})
ACCOUNT_LOCKED = frozenset({3118, 3955, 4151})
"""3118, 3955 of MySQL, 4151 of MariaDB."""

ACCESS_DENIED = frozenset({1044, 1142, 1143, 1227, 1370, 2059, HOST_NOT_ADMITTED, *LOGIN_DENIED, *ACCOUNT_LOCKED})

RETRIABLE = frozenset(
    {1040, 1053, 1129, 1158, 1159, 1160, 1161, 1203, 1205, 1226, 1317, 1927, 2002, 2003, 2006, 2013, 4031}
)
"""1129: the host is blocked until somebody runs FLUSH HOSTS; 1040, 1203, 1226: too many connections, for now."""

PASSWORD_EXPIRED = frozenset({1820, 1862})
DUMP_FATAL = frozenset({1236, 4052})
"""4052: MariaDB's own number for a second reader with the same server_id."""


class _DumpFailure(Struct, frozen=True):
    """One reason for which a server refuses a dump with error 1236: a part of its text, and what to tell people."""

    text: str
    sentence: str


_DUMP_FAILURES = (
    _DumpFailure(
        "same server_uuid/server_id",
        "another reader with server_id {server_id} took over the binlog stream of {address}; give one of them another "
        "server_id",
    ),
    _DumpFailure(
        "Could not find first log file name",
        "the binlog file {position.file} is no longer on {address}: it was purged, so changes since {position} are "
        f"lost to this channel; {NEW_CHANNEL}, and a start that exists",
    ),
    _DumpFailure(
        "position > file size",
        "the position {position} is past the end of that binlog file on {address}: the server lost the end of its "
        f"binlog or is another server; {NEW_CHANNEL}",
    ),
    _DumpFailure(
        "from impossible position",
        "the position {position} is past the end of that binlog file on {address}: the server lost the end of its "
        f"binlog or is another server; {NEW_CHANNEL}",
    ),
    *(
        _DumpFailure(
            text,
            "{address} finds no event in its binlog that it can send behind {position}: the file was damaged, or is "
            f"another one than the one captured, as after a reset or a restore; {NEW_CHANNEL}",
        )
        for text in ("exceeded max_allowed_packet", "bogus data in log event", "read failed", "checksum verification")
    ),
    _DumpFailure("Binary log is not open", "binary logging is off on {address}; set log_bin in my.cnf and restart it"),
)


def translate(error: Exception, address: str, position: BinlogPosition | None, server_id: int) -> CaptureError:
    """The error in words: of the source at `address`, for a dump from `position` by the reader `server_id`."""
    if isinstance(error, ServerError) and error.code in DUMP_FATAL:
        return _dump_failure(error, address, position, server_id)
    if isinstance(error, ServerError):
        return _refusal(error.code, error.message, address)
    if isinstance(error, EndOfStream):
        return StreamEnded(
            f"the source {address} ended the binlog stream: it shuts down, somebody killed the dump, or another reader "
            f"with server_id {server_id} took it over"
        )
    if isinstance(error, CaptureError):
        return error
    reason = system_reason(error)
    if reason is not None:
        return SourceUnavailable(f"the connection to the source {address} was lost: {in_words(reason)}")
    code = error_code(error)
    return _refusal(code, str(error.args[1]) if code and len(error.args) > 1 else str(error), address)


def _dump_failure(error: ServerError, address: str, position: BinlogPosition | None, server_id: int) -> CaptureError:
    for row in _DUMP_FAILURES:
        if row.text in error.message:
            return ServerRefusal(
                row.sentence.format(address=address, position=position, server_id=server_id), error.code
            )
    return ServerRefusal(f"the source {address} cannot send its binlog: {error.message}", error.code)


def _refusal(code: int, text: str, address: str) -> CaptureError:
    if code in RETRIABLE or code == 0:
        return SourceUnavailable(f"the source {address} is not available: {text}")
    if code in PASSWORD_EXPIRED:
        text = f"the password of its account has expired; ALTER USER … IDENTIFIED BY renews it ({text})"
    if code in ACCESS_DENIED or code in PASSWORD_EXPIRED:
        return ServerRefusal(f"the source {address} denies access: {text}", code)
    return ServerRefusal(f"the source {address} answered with error {code}: {text}", code)


def is_lost(error: Exception) -> bool:
    """Whether a connection that raised this cannot be used any more."""
    return isinstance(error, OSError) or error_code(error) in RETRIABLE


def error_code(error: Exception) -> int:
    """The number of an error of asyncmy, 0 for one without."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def lost(error: Exception | None) -> SourceUnavailable:
    """What a connection that ended by itself means; None: the server closed it."""
    if error is None:
        return SourceUnavailable("the binlog stream was cut: the connection was closed")
    reason = in_words(error) if isinstance(error, OSError) else str(error)
    return SourceUnavailable(f"the binlog stream was cut: {reason}")
