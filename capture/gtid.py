"""The events that name transactions: MySQL's GTID, ANONYMOUS_GTID, GTID_TAGGED, PREVIOUS_GTIDS, and MariaDB's own two.

GTID and ANONYMOUS_GTID: flags u8 | source id 16 bytes | number i64 | type u8 = 2 | last committed i64 | sequence number
i64 | immediate commit time 7 bytes [| original commit time 7 bytes] …, later parts absent in older servers
(`Gtid_event` in MySQL's control_events.h). GTID_TAGGED has the same facts as numbered fields with variable-length
integers (libs/mysql/serialization). Times are microseconds since the Unix epoch.

Sets of GTIDs are only read here; arithmetic on them belongs to `capture.position`.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from capture.errors import MalformedEvent, UnsupportedEvent
from capture.xa import Xid, read_xid_in_gtid

_NUMBERED = struct.Struct("<B16sq")
_LOGICAL_CLOCK = struct.Struct("<Bqq")
_WITH_COMMIT_TIME = struct.Struct("<25xBqqIHB")
"""What both events have of the logical clock where there is one commit time, as nearly always; its 7 bytes in three."""
_HAS_ORIGINAL_IN_HIGH = 0x80
_MARIADB = struct.Struct("<QIB")
_U64 = struct.Struct("<Q")
MARIADB_SEQUENCE_MAX = (1 << 63) - 1
"""What the log's positions can keep. A server counts to 2^64, and gets there only by `SET gtid_seq_no`."""

_INTERVAL = struct.Struct("<QQ")

_LOGICAL_CLOCK_TYPE = 2
_COMMIT_TIME_BYTES = 7
_HAS_ORIGINAL_COMMIT_TIME = 1 << 55
_MAY_HAVE_STATEMENTS_FLAG = 1

MARIADB_STANDALONE = 1
"""Flag of MariadbGtidEvent: no COMMIT or XID follows, the group is one statement (DDL)."""
_MARIADB_GROUP_COMMIT_ID = 2
_MARIADB_PREPARED_XA = 64
_MARIADB_COMPLETED_XA = 128
_MARIADB_START_ALTER = 2
_MARIADB_ROLLBACK_ALTER = 8


class GtidEvent(Struct, frozen=True):
    """The GTID of the transaction that follows. `tag` is empty unless the server is 8.3+ and the GTID has one."""

    sid: bytes
    gno: int
    tag: str
    may_have_statements: bool
    last_committed: int | None
    sequence_number: int | None
    original_commit_us: int | None
    immediate_commit_us: int | None

    @property
    def source_id(self) -> str:
        """The server uuid, with `:tag` behind it if there is one: what comes before the number in a GTID."""
        return sid_text(self.sid, self.tag)

    @property
    def text(self) -> str:
        """`uuid:n` or `uuid:tag:n`, as the server writes it."""
        return f"{self.source_id}:{self.gno}"


class AnonymousGtidEvent(Struct, frozen=True):
    """A transaction without GTID (gtid_mode is OFF at the source)."""

    may_have_statements: bool
    last_committed: int | None
    sequence_number: int | None
    original_commit_us: int | None
    immediate_commit_us: int | None


class Interval(NamedTuple):
    """Transaction numbers `first` to `last`, both included."""

    first: int
    last: int


class SidIntervals(NamedTuple):
    """The transactions of one source (and tag) in a GTID set."""

    sid: bytes
    tag: str
    intervals: tuple[Interval, ...]


class PreviousGtidsEvent(Struct, frozen=True):
    """All GTIDs in the binlog files before this one."""

    sets: tuple[SidIntervals, ...]

    @property
    def text(self) -> str:
        """The set as the server writes it: `uuid:1-13:tag:1-2,uuid2:5`."""
        groups: dict[bytes, str] = {}
        for sid, tag, intervals in self.sets:
            label = f":{tag}" if tag else ""
            numbers = "".join(f":{first}" if first == last else f":{first}-{last}" for first, last in intervals)
            groups[sid] = groups.get(sid, sid_text(sid)) + label + numbers
        return ",".join(groups.values())


class MariadbGtidEvent(Struct, frozen=True):
    """MariaDB's GTID: starts an event group and stands in for BEGIN unless the group is `standalone`.

    `xid` is that of an XA transaction that is prepared by this group, or committed or rolled back by its statement.
    """

    domain_id: int
    server_id: int
    sequence: int
    flags: int
    extra_flags: int = 0
    xid: Xid | None = None

    @property
    def standalone(self) -> bool:
        return bool(self.flags & MARIADB_STANDALONE)

    @property
    def alters_nothing(self) -> bool:
        """An ALTER TABLE in two phases that only starts here, or failed; the phase that commits it has the effect."""
        return bool(self.extra_flags & (_MARIADB_START_ALTER | _MARIADB_ROLLBACK_ALTER))

    @property
    def text(self) -> str:
        """`domain-server-sequence`."""
        return f"{self.domain_id}-{self.server_id}-{self.sequence}"


class MariadbGtidListEvent(Struct, frozen=True):
    """The last GTID of each (domain, server) in the binlog files before this one: (domain, server, sequence)."""

    gtids: tuple[tuple[int, int, int], ...]


@lru_cache(maxsize=1024)
def sid_text(sid: bytes, tag: str = "") -> str:
    """A 16-byte source id as the server writes it, lower-case hexadecimal in groups of 8-4-4-4-12."""
    digits = sid.hex()
    uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return f"{uuid}:{tag}" if tag else uuid


def decode_gtid(body: bytes) -> GtidEvent:
    """Body of a GTID event."""
    flags, sid, gno = _NUMBERED.unpack_from(body)
    return GtidEvent(sid, gno, "", bool(flags & _MAY_HAVE_STATEMENTS_FLAG), *_logical_clock(body))


def decode_anonymous_gtid(body: bytes) -> AnonymousGtidEvent:
    """Body of an ANONYMOUS_GTID event."""
    flags, _, _ = _NUMBERED.unpack_from(body)
    return AnonymousGtidEvent(bool(flags & _MAY_HAVE_STATEMENTS_FLAG), *_logical_clock(body))


def _logical_clock(body: bytes) -> tuple[int | None, int | None, int | None, int | None]:
    """(last committed, sequence number, original and immediate commit time), None for what an older server left out."""
    if len(body) >= _WITH_COMMIT_TIME.size:
        kind, last_committed, sequence_number, low, middle, high = _WITH_COMMIT_TIME.unpack_from(body)
        if kind == _LOGICAL_CLOCK_TYPE and high < _HAS_ORIGINAL_IN_HIGH:
            commit_us = low | middle << 32 | high << 48
            return last_committed, sequence_number, commit_us, commit_us
    position = _NUMBERED.size
    if len(body) < position + _LOGICAL_CLOCK.size or body[position] != _LOGICAL_CLOCK_TYPE:
        return None, None, None, None
    _, last_committed, sequence_number = _LOGICAL_CLOCK.unpack_from(body, position)
    position += _LOGICAL_CLOCK.size
    if len(body) < position + _COMMIT_TIME_BYTES:
        return last_committed, sequence_number, None, None
    immediate = original = int.from_bytes(body[position : position + _COMMIT_TIME_BYTES], "little")
    if immediate & _HAS_ORIGINAL_COMMIT_TIME:
        immediate ^= _HAS_ORIGINAL_COMMIT_TIME
        position += _COMMIT_TIME_BYTES
        original = int.from_bytes(_take(body, position, _COMMIT_TIME_BYTES), "little")
    return last_committed, sequence_number, original, immediate


def _take(data: bytes, position: int, size: int) -> bytes:
    if position + size > len(data):
        raise IndexError
    return data[position : position + size]


def decode_previous_gtids(body: bytes) -> PreviousGtidsEvent:
    """Body of PREVIOUS_GTIDS: count u64, then source id, [tag,] interval count u64, (first, after the last) u64 pairs.

    Servers from 8.3 on that know tags write the count as `1 << 56 | count << 8 | 1` and a tag after each source id.
    """
    (count,) = _U64.unpack_from(body)
    tagged = count >> 56 == 1
    if tagged:
        count = count >> 8 & 0xFFFFFFFFFFFF
    position, sets = _U64.size, []
    for _ in range(count):
        sid, tag = _take(body, position, 16), ""
        position += 16
        if tagged:
            tag, position = _read_text(body, position)
        (interval_count,) = _U64.unpack_from(body, position)
        position += _U64.size
        block = _take(body, position, interval_count * _INTERVAL.size)
        position += len(block)
        intervals = tuple(Interval(first, after - 1) for first, after in _INTERVAL.iter_unpack(block))
        sets.append(SidIntervals(sid, tag, intervals))
    if position != len(body):
        raise MalformedEvent(f"PREVIOUS_GTIDS has {len(body)} bytes where its sets take {position}")
    return PreviousGtidsEvent(tuple(sets))


def _read_integer(data: bytes, position: int) -> tuple[int, int]:
    """MySQL's serialization integer, (value, position after): as many extra bytes as the first has trailing ones."""
    first = data[position]
    extra = (~first & first + 1).bit_length() - 1
    value = int.from_bytes(_take(data, position + 1, extra), "little")
    low_bits = max(0, 7 - extra)
    return value << low_bits | first >> extra + 1, position + 1 + extra


def _read_signed(data: bytes, position: int) -> tuple[int, int]:
    value, position = _read_integer(data, position)
    return value >> 1 ^ -(value & 1), position


def _read_text(data: bytes, position: int) -> tuple[str, int]:
    size, position = _read_integer(data, position)
    return _take(data, position, size).decode("ascii"), position + size


_TAGGED_GNO, _TAGGED_TAG, _TAGGED_LAST_COMMITTED, _TAGGED_SEQUENCE = 2, 3, 4, 5
_TAGGED_UUID, _TAGGED_LAST_FIELD = 1, 11
_TAGGED_IMMEDIATE, _TAGGED_ORIGINAL = 6, 7


def decode_gtid_tagged(body: bytes) -> GtidEvent:
    """Body of GTID_TAGGED: version, size, number of the last field a reader must know, then (number, value) fields."""
    version, position = _read_integer(body, 0)
    size, position = _read_integer(body, position)
    last_needed, position = _read_integer(body, position)
    if version != 1 or last_needed > _TAGGED_LAST_FIELD:
        raise UnsupportedEvent(f"A GTID_TAGGED event has encoding version {version}, of which only version 1 is known")
    if size != len(body):
        raise MalformedEvent(f"a GTID_TAGGED event of {len(body)} bytes says it has {size}")
    sid, tag = b"", ""
    numbers: dict[int, int] = {}
    while position < len(body):
        number, position = _read_integer(body, position)
        if number == _TAGGED_UUID:
            sid, position = _read_uuid(body, position)
        elif number == _TAGGED_TAG:
            tag, position = _read_text(body, position)
        elif number in {_TAGGED_GNO, _TAGGED_LAST_COMMITTED, _TAGGED_SEQUENCE}:
            numbers[number], position = _read_signed(body, position)
        elif number <= _TAGGED_LAST_FIELD:
            numbers[number], position = _read_integer(body, position)
        else:
            break
    if len(sid) != 16 or _TAGGED_GNO not in numbers:
        raise MalformedEvent("a GTID_TAGGED event has no source id or no number")
    immediate = numbers.get(_TAGGED_IMMEDIATE)
    original = numbers.get(_TAGGED_ORIGINAL, immediate)
    logical_clock = numbers.get(_TAGGED_LAST_COMMITTED), numbers.get(_TAGGED_SEQUENCE), original, immediate
    may_have_statements = bool(numbers.get(0, 0) & _MAY_HAVE_STATEMENTS_FLAG)
    return GtidEvent(sid, numbers[_TAGGED_GNO], tag, may_have_statements, *logical_clock)


def _read_uuid(body: bytes, position: int) -> tuple[bytes, int]:
    uuid = bytearray()
    for _ in range(16):
        byte, position = _read_integer(body, position)
        uuid.append(byte)
    return bytes(uuid), position


def decode_mariadb_gtid(body: bytes, server_id: int) -> MariadbGtidEvent:
    """Body of MariaDB's GTID; `server_id` is the event header's.

    Sequence u64 | domain u32 | flags u8 [| commit id u64] [| XA id] | extra flags u8 (10.8 on; zeros in older servers)
    … (`Gtid_log_event::write` in MariaDB's sql/log_event_server.cc).
    """
    sequence, domain_id, flags = _MARIADB.unpack_from(body)
    if sequence > MARIADB_SEQUENCE_MAX:
        raise UnsupportedEvent(f"the GTID {domain_id}-{server_id}-{sequence} has a number of more than 63 bits")
    at = _MARIADB.size + (_U64.size if flags & _MARIADB_GROUP_COMMIT_ID else 0)
    xid = None
    if flags & (_MARIADB_PREPARED_XA | _MARIADB_COMPLETED_XA):
        xid, at = read_xid_in_gtid(body, at)
    return MariadbGtidEvent(domain_id, server_id, sequence, flags, body[at] if at < len(body) else 0, xid)


def decode_mariadb_gtid_list(body: bytes) -> MariadbGtidListEvent:
    """Body of GTID_LIST: count in the low 28 bits of a u32, then domain u32, server u32, sequence u64 each."""
    count = int.from_bytes(_take(body, 0, 4), "little") & 0x0FFFFFFF
    entries = struct.Struct("<IIQ")
    return MariadbGtidListEvent(tuple(entries.iter_unpack(_take(body, 4, count * entries.size))))
