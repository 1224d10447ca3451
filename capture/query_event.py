"""QUERY: a statement in the log, with what of its session decides its effect.

Body: thread id u32 | execution time u32, seconds | database length u8 | error code u16 | status length u16 | status
variables | database | NUL | statement. Status variables are a code u8 each and a value whose size the code implies
(`enum Query_event_status_vars` in MySQL's statement_events.h; from 128 on MariaDB's, in sql/log_event.h). What the
statement means is decided by `capture.ddl`.
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

_FIXED = struct.Struct("<IIBHH")


class QueryStatus(NamedTuple):
    """Session variables a statement ran under; None = not in the event. Character set and collations are numbers.

    `updated_databases` are those that the statement changed, or a trigger or function of it; None too if there are more
    than the event lists.
    """

    flags2: int | None = None
    sql_mode: int | None = None
    charset_client: int | None = None
    collation_connection: int | None = None
    collation_server: int | None = None
    time_zone: str | None = None
    collation_database: int | None = None
    microseconds: int | None = None
    explicit_defaults_for_timestamp: bool | None = None
    default_collation_for_utf8mb4: int | None = None
    updated_databases: tuple[str, ...] | None = None


class QueryEvent(NamedTuple):
    """A statement: transaction control, DDL, administration — or DML that was not logged as rows."""

    thread_id: int
    execution_seconds: int
    error_code: int
    status: QueryStatus
    database: str
    sql: bytes


def decode_query(raw: bytes, start: int, end: int) -> QueryEvent:
    """The body `raw[start:end]` of a Query event. Raises IndexError or struct.error where it is cut short."""
    thread_id, seconds, database_bytes, error_code, status_bytes = _FIXED.unpack_from(raw, start)
    status_start = start + _FIXED.size
    status_end = status_start + status_bytes
    sql_start = status_end + database_bytes + 1
    if sql_start > end or raw[sql_start - 1]:
        raise IndexError
    status = _decode_status(raw[status_start:status_end])
    database = raw[status_end : sql_start - 1].decode("utf-8", "surrogateescape")
    return QueryEvent(thread_id, seconds, error_code, status, database, raw[sql_start:end])


_LOAD_DATA_BYTES = 13


def decode_execute_load(raw: bytes, start: int, end: int) -> QueryEvent:
    """EXECUTE_LOAD_QUERY: the statement of a LOAD DATA. Behind the fixed part stand file id, places and how duplicates
    are treated, 13 bytes; the file's content came before.
    """
    fixed = start + _FIXED.size
    if fixed + _LOAD_DATA_BYTES > end:
        raise IndexError
    body = raw[start:fixed] + raw[fixed + _LOAD_DATA_BYTES : end]
    return decode_query(body, 0, len(body))


def _skip_text(block: bytes, position: int) -> int:
    """Position after a text with its length in front."""
    return position + 1 + block[position]


_NAMES_NOT_LISTED = 254


def _read_names(block: bytes, position: int) -> tuple[tuple[str, ...] | None, int]:
    """Updated database names, and the position after: count, then that many texts ended by NUL; 254: not listed."""
    count = block[position]
    position += 1
    if count >= _NAMES_NOT_LISTED:
        return None, position
    names = []
    for _ in range(count):
        end = block.index(b"\0", position)
        names.append(block[position:end].decode("utf-8", "surrogateescape"))
        position = end + 1
    return tuple(names), position


_STATUS_FIXED: dict[int, tuple[struct.Struct, tuple[str, ...]]] = {
    0: (struct.Struct("<I"), ("flags2",)),
    1: (struct.Struct("<Q"), ("sql_mode",)),
    3: (struct.Struct("<4x"), ()),
    4: (struct.Struct("<HHH"), ("charset_client", "collation_connection", "collation_server")),
    7: (struct.Struct("<2x"), ()),
    8: (struct.Struct("<H"), ("collation_database",)),
    9: (struct.Struct("<8x"), ()),
    10: (struct.Struct("<4x"), ()),
    14: (struct.Struct("<4x"), ()),
    16: (struct.Struct("<?"), ("explicit_defaults_for_timestamp",)),
    17: (struct.Struct("<8x"), ()),
    18: (struct.Struct("<H"), ("default_collation_for_utf8mb4",)),
    19: (struct.Struct("<x"), ()),
    20: (struct.Struct("<x"), ()),
    128: (struct.Struct("<3x"), ()),
    129: (struct.Struct("<8x"), ()),
}
"""Status variables of a fixed size (`enum Query_event_status_vars`, from 128 on MariaDB's): layout and names."""

_STATUS_SKIPPED: dict[int, Callable[[bytes, int], int]] = {
    2: lambda block, position: _skip_text(block, position) + 1,
    6: _skip_text,
    11: lambda block, position: _skip_text(block, _skip_text(block, position)),
}
_STATUS_TIME_ZONE, _STATUS_UPDATED_DATABASES, _STATUS_MICROSECONDS = 5, 12, 13


@lru_cache(maxsize=1024)
def _decode_status(block: bytes) -> QueryStatus:
    """The status variables of a Query event. As in the server, what follows an unknown one is not read."""
    found: dict[str, int | str | bool | tuple[str, ...] | None] = {}
    position = 0
    while position < len(block):
        code = block[position]
        position += 1
        if code in _STATUS_FIXED:
            layout, names = _STATUS_FIXED[code]
            found.update(zip(names, layout.unpack_from(block, position), strict=True))
            position += layout.size
        elif code == _STATUS_TIME_ZONE:
            start, position = position + 1, _skip_text(block, position)
            found["time_zone"] = block[start:position].decode("ascii")
        elif code == _STATUS_UPDATED_DATABASES:
            found["updated_databases"], position = _read_names(block, position)
        elif code == _STATUS_MICROSECONDS:
            found["microseconds"] = int.from_bytes(block[position : position + 3], "little")
            position += 3
        elif code in _STATUS_SKIPPED:
            position = _STATUS_SKIPPED[code](block, position)
        else:
            break
    if position > len(block):
        raise IndexError
    return QueryStatus(**found)  # type: ignore[arg-type]  # the names are QueryStatus's own
