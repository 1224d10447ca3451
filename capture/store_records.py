"""Records as the service's store makes or moves them, where no binlog event stands for it: for embedded channels.

A record has its head in this order (capture/record.avsc): version | id | sourceTimestamp | sourcePosition |
safeSourcePosition | sourceTxid | source: type, version | operation | ... Only so much of it is read here; ids change
without the rest being touched.

    NOOP    what a filter at the service leaves of data that is all filtered, to push a consumer's offset on: not above
            `NOOP_BYTES_MAX` bytes, by which the service's demo knows that it can skip it unread
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from capture.avro_text import string, string_map, to_bytes, zigzag
from capture.envelope import Operation
from capture.errors import MalformedEvent
from capture.position import ResumePoint, SourceSnapshot

if TYPE_CHECKING:
    from storage.log import RecoveredSource

NOOP = 15
"""The symbol of the record's operation enum."""

NOOP_BYTES_MAX = 48
"""The converters of LioRoger/subscribe_example; the service's SDK itself skips only what has at most two bytes."""

_STRINGS_BEFORE_TYPE = 3
_NULL = zigzag(0)
_INSIDE = frozenset({Operation.INSERT, Operation.UPDATE, Operation.DELETE, Operation.COMMIT})
"""Operations of records that stand behind the BEGIN of their transaction."""


class Head(NamedTuple):
    """The id of a record, and the number of its operation."""

    record_id: int
    operation: int

    @property
    def begins(self) -> bool:
        """Whether a consumer may begin with this record: no transaction is open before it."""
        return self.operation not in _INSIDE


def head(value: bytes) -> Head:
    """What is read of a record. Raises MalformedEvent if it is cut short in there."""
    try:
        _, id_start = _long(value, 0)
        record_id, position = _long(value, id_start)
        _, position = _long(value, position)
        for _ in range(_STRINGS_BEFORE_TYPE):
            position = _behind_string(value, position)
        _, position = _long(value, position)
        operation, _ = _long(value, _behind_string(value, position))
    except IndexError:
        raise MalformedEvent(f"{len(value)} bytes are not a DTS record: its head is cut short") from None
    return Head(record_id, operation)


def with_id(value: bytes, record_id: int) -> bytes:
    """The same record under another id."""
    try:
        _, start = _long(value, 0)
        _, end = _long(value, start)
    except IndexError:
        raise MalformedEvent(f"{len(value)} bytes are not a DTS record: its head is cut short") from None
    return value[:start] + to_bytes(zigzag(record_id)) + value[end:]


def noop(record_id: int, timestamp_s: int) -> bytes:
    """A NOOP record: no position, no version of a source, no object, no tags."""
    positions = string("") * 2
    source = string("0") + zigzag(0) + string("")
    return to_bytes(
        f"{zigzag(0)}{zigzag(record_id)}{zigzag(timestamp_s)}{positions}{source}{zigzag(NOOP)}{_NULL}{_NULL}"
        f"{string_map({})}{_NULL}{_NULL}{_NULL}{zigzag(timestamp_s)}"
    )


def snapshot_behind(recovered: RecoveredSource) -> bytes:
    """The snapshot of a source as of the end of a log."""
    snapshot = SourceSnapshot.from_bytes(recovered.snapshot)
    return replace(snapshot, gtid_set=str(ResumePoint.from_recovered(recovered).gtid_set)).to_bytes()


def _long(value: bytes, position: int) -> tuple[int, int]:
    """An Avro int or long, and where it ends."""
    number = shift = 0
    while True:
        byte = value[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), position
        shift += 7


def _behind_string(value: bytes, position: int) -> int:
    length, start = _long(value, position)
    return start + length
