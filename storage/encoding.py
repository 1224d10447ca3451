"""Values to record batches of Kafka's message format 2, in one pass in C where it can be.

Written are: CreateTime, no producer, null keys, no headers; offsets without gaps inside a batch; compressed if that was
asked and makes the batch smaller. A record beside its value is a few bytes that recur: they come out of tables, and a
batch is four lists put together.

Left to others: the layout, and reading it (`storage.records`).
"""

from __future__ import annotations

import struct
from itertools import groupby
from typing import TYPE_CHECKING, Final

from storage.checksum import crc32c
from storage.compiled import load
from storage.compression import NONE, Codec
from storage.records import HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC, NO_LEADER_EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

_framing: Final = load("storage._framing")

_CHECKED: Final = struct.Struct(">hiqqqhii")
_UNCHECKED: Final = struct.Struct(">qiibI")
"""The header in two parts: the CRC, last of the first, is of the second and what follows."""


def encode_varint(value: int) -> bytes:
    """Zigzag varint of a signed 64-bit integer."""
    rest = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


class _Table(dict[int, bytes]):
    """Encodings computed at first use. Only small keys are kept, so that rare large values do not grow it."""

    KEPT: Final = 1 << 14

    def _encode(self, key: int) -> bytes:
        return encode_varint(key)

    def __missing__(self, key: int) -> bytes:
        encoded = self._encode(key)
        if key < self.KEPT:
            self[key] = encoded
        return encoded


class _Prefixes(_Table):
    """Value length -> header count of the record before (none), then the record's length varint.

    `overhead_bytes` are the record's bytes beside value length and value.
    """

    def __init__(self, overhead_bytes: int) -> None:
        super().__init__()
        self._overhead_bytes = overhead_bytes

    def _encode(self, key: int) -> bytes:
        return b"\0" + encode_varint(self._overhead_bytes + len(_VARINTS[key]) + key)


class _Middles(_Table):
    """Offset delta -> attributes, timestamp delta, offset delta, null key."""

    def __init__(self, timestamp_delta: bytes) -> None:
        super().__init__()
        self._before = b"\0" + timestamp_delta

    def _encode(self, key: int) -> bytes:
        return self._before + _VARINTS[key] + b"\1"


_VARINTS: Final = _Table()
_PREFIXES: Final[dict[int, _Prefixes]] = {}
_MIDDLES_SAME_TIME: Final = _Middles(b"\0")
_VARINT_WIDTH_ENDS: Final = (1 << 6, 1 << 13, 1 << 20, 1 << 27, 1 << 31)
"""Offset deltas below these take one, two, three … bytes: zigzag leaves 6 bits of the first byte, 7 of the others."""


def encode_batch(base_offset: int, values: Sequence[bytes], timestamps_ms: Sequence[int], codec: Codec = NONE) -> bytes:
    """One batch of records at `base_offset` and the offsets after it: value i at time i, null keys, no headers.

    With a codec the records are compressed, unless that makes them no smaller.

    Raises:
        ValueError: no values, a count of timestamps that differs, or a batch beyond the format's 2 GiB.
    """
    count = len(values)
    if count == 0 or count != len(timestamps_ms):
        raise ValueError(f"a batch needs as many timestamps as values and at least one: {count}, {len(timestamps_ms)}")
    first_timestamp_ms = timestamps_ms[0]
    if _framing is not None and not codec.number:

        def header(batch: memoryview, max_timestamp_ms: int) -> bytes:
            return _header(base_offset, 0, count, first_timestamp_ms, max_timestamp_ms, batch[HEADER_BYTES:])

        made: bytes = _framing.batch(values, timestamps_ms, HEADER_BYTES, header)
        return made
    encode = encode_records if _framing is None else _framing.frame
    records, max_timestamp_ms = encode(values, timestamps_ms)
    attributes = 0
    if codec.number:
        compressed = codec.compress(records)
        if len(compressed) < len(records):
            attributes, records = codec.number, compressed
    head = _header(base_offset, attributes, count, first_timestamp_ms, max_timestamp_ms, records)
    return b"".join((head, records))


def _header(
    base_offset: int,
    attributes: int,
    count: int,
    first_timestamp_ms: int,
    max_timestamp_ms: int,
    records: bytes | memoryview,
) -> bytes:
    """What stands before the records. Raises ValueError for a batch that is too large."""
    length = HEADER_BYTES - LENGTH_PREFIX_BYTES + len(records)
    if length >= 1 << 31:
        raise ValueError(f"a batch of {length} bytes exceeds the 2 GiB of the record format")
    checked = _CHECKED.pack(attributes, count - 1, first_timestamp_ms, max_timestamp_ms, -1, -1, -1, count)
    crc = crc32c(records, crc32c(checked))
    return _UNCHECKED.pack(base_offset, length, NO_LEADER_EPOCH, MAGIC, crc) + checked


def encode_records(values: Sequence[bytes], timestamps_ms: Sequence[int]) -> tuple[bytes, int]:
    """The records of a batch, and the largest timestamp: what `storage/_framing.c` makes where it is there."""
    # A batch seldom crosses a second of the binlog: then every delta is zero and one pass in C encodes all records.
    first_timestamp_ms = timestamps_ms[0]
    if timestamps_ms.count(first_timestamp_ms) == len(values):
        max_timestamp_ms = first_timestamp_ms
        parts = _encode_run(values, 0, b"\0", _MIDDLES_SAME_TIME)
    else:
        max_timestamp_ms = max(timestamps_ms)
        parts = _encode_runs(values, timestamps_ms)
    parts[0] = parts[0][1:]
    parts.append(b"\0")
    return b"".join(parts), max_timestamp_ms


def _encode_runs(values: Sequence[bytes], timestamps_ms: Sequence[int]) -> list[bytes]:
    parts: list[bytes] = []
    start = 0
    for timestamp_ms, same in groupby(timestamps_ms):
        stop = start + sum(1 for _ in same)
        delta = encode_varint(timestamp_ms - timestamps_ms[0])
        middles = _MIDDLES_SAME_TIME if delta == b"\0" else _Middles(delta)
        parts += _encode_run(values[start:stop], start, delta, middles)
        start = stop
    return parts


def _encode_run(values: Sequence[bytes], start: int, timestamp_delta: bytes, middles: _Middles) -> list[bytes]:
    """Four parts per record of one timestamp; `start` is the offset delta of the first."""
    stop = start + len(values)
    parts: list[bytes] = []
    position = start
    for width, end in enumerate(_VARINT_WIDTH_ENDS, 1):
        if position >= end:
            continue
        until = min(stop, end)
        part = values if until - position == len(values) else values[position - start : until - start]
        overhead_bytes = 3 + len(timestamp_delta) + width
        prefixes = _PREFIXES.get(overhead_bytes) or _PREFIXES.setdefault(overhead_bytes, _Prefixes(overhead_bytes))
        lengths = [*map(len, part)]
        quads = [b""] * (4 * len(lengths))
        quads[0::4] = map(prefixes.__getitem__, lengths)
        quads[1::4] = map(middles.__getitem__, range(position, until))
        quads[2::4] = map(_VARINTS.__getitem__, lengths)
        quads[3::4] = part
        parts = parts + quads if parts else quads
        position = until
        if position == stop:
            break
    return parts
