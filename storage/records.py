"""Record batches of Kafka's message format 2 (magic 2): the bytes on disk are the bytes on the wire.

Owns the layout, and walking, checking and decoding of batches; writing them is `storage.encoding`'s. All integers are
big-endian; varints are zigzag.

    batch   base_offset i64 @0, batch_length i32 @8 (bytes after this field), partition_leader_epoch i32 @12,
            magic i8 = 2 @16, crc u32 @17 (CRC-32C of @21 to the end), attributes i16 @21, last_offset_delta i32 @23,
            first_timestamp i64 @27, max_timestamp i64 @35, producer_id i64 @43, producer_epoch i16 @51,
            base_sequence i32 @53, record_count i32 @57, records @61
    record  length varint, attributes i8 = 0, timestamp_delta varlong, offset_delta varint,
            key_length varint (-1 null), key, value_length varint (-1 null), value,
            header_count varint, header_count x (key_length varint, key UTF-8, value_length varint (-1 null), value)

Layout: kafka clients/src/main/java/org/apache/kafka/common/record/DefaultRecordBatch.java and DefaultRecord.java @1.1.

Compression covers the records, all that follows record_count; attributes bits 0-2 say how (`storage.compression`).

Everything that the format allows is read, compressed records only once the batch's checksum verified, and never more
than `RECORDS_BYTES_MAX` of them. Where a batch lies in a file, and who may see it, is the segment's business.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.checksum import crc32c
from storage.compression import CODECS
from storage.errors import CorruptLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

HEADER_BYTES: Final = 61
MAGIC: Final = 2
NO_LEADER_EPOCH: Final = -1
LENGTH_PREFIX_BYTES: Final = 12
"""base_offset and batch_length: the part of a batch that batch_length does not count."""
CRC_START: Final = 21
BATCH_BYTES_MAX: Final = LENGTH_PREFIX_BYTES + 2**31 - 1
NO_TIMESTAMP_MS: Final = -1
RECORDS_BYTES_MAX: Final = (1 << 30) + (1 << 20)
"""Records of one batch, uncompressed: the largest row that may be configured, and its framing."""

_NULL: Final = 1
"""-1 as a zigzag varint."""
_COMPRESSION_MASK: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")


class BatchHeader(NamedTuple):
    """The fixed part of a batch, without the fields of producers, which are never set here."""

    base_offset: int
    batch_length: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    first_timestamp_ms: int
    max_timestamp_ms: int
    record_count: int

    @property
    def next_offset(self) -> int:
        """The first offset behind the batch."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole batch, header included."""
        return self.batch_length + LENGTH_PREFIX_BYTES

    @property
    def compression(self) -> int:
        """The number of a row of `storage.compression.CODECS`, or of a codec not known here."""
        return self.attributes & _COMPRESSION_MASK


class Batch(NamedTuple):
    """A batch in a buffer: its header, the position of its first byte, and a view of all its bytes."""

    header: BatchHeader
    position: int
    view: memoryview


class Record(NamedTuple):
    """One decoded record; `timestamp_ms` and `offset` are absolute."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def read_header(buffer: Buffer, position: int = 0) -> BatchHeader:
    """The header at `position`.

    Raises:
        CorruptLog: fewer than 61 bytes are left, or they are not the header of a magic 2 batch.
    """
    try:
        base_offset, length, _, magic, crc, attributes, last_delta, first_ms, max_ms, _, _, _, count = (
            _HEADER.unpack_from(buffer, position)
        )
    except struct.error as error:
        raise CorruptLog(f"a record batch header of {HEADER_BYTES} bytes is cut off at position {position}") from error
    if magic != MAGIC or length < HEADER_BYTES - LENGTH_PREFIX_BYTES or last_delta < 0 or base_offset < 0:
        raise CorruptLog(
            f"no record batch at position {position}: magic {magic}, length {length}, base offset {base_offset}, "
            f"last offset delta {last_delta}"
        )
    return BatchHeader(base_offset, length, magic, crc, attributes, last_delta, first_ms, max_ms, count)


def verify_crc(buffer: Buffer, position: int, header: BatchHeader) -> bool:
    """Whether the whole batch is in `buffer` and its bytes are what was written."""
    end = position + header.size_bytes
    with memoryview(buffer) as view, view[position + CRC_START : end] as checked:
        return end <= view.nbytes and crc32c(checked) == header.crc


def iter_batches(buffer: Buffer, position: int = 0) -> Iterator[Batch]:
    """The batches from `position` to the end of `buffer`.

    Raises:
        CorruptLog: the bytes do not end where a batch ends. Checksums are not looked at.
    """
    view = memoryview(buffer)
    while position < view.nbytes:
        header = read_header(view, position)
        end = position + header.size_bytes
        if end > view.nbytes:
            raise CorruptLog(
                f"the record batch at position {position} needs {header.size_bytes} bytes, "
                f"{view.nbytes - position} are there"
            )
        yield Batch(header, position, view[position:end])
        position = end


def iter_records(batch: Batch, bytes_max: int = RECORDS_BYTES_MAX) -> Iterator[Record]:
    """The records of a batch, in order; at most `bytes_max` of a compressed one's are held.

    Raises:
        CorruptLog: compressed records that cannot be had, a record that does not fit its length, or other than
            record_count records.
    """
    reader = _RecordReader(batch.header, records_of(batch, bytes_max))
    for _ in range(batch.header.record_count):
        yield reader.record()
    reader.expect_end()


def iter_values(
    header: BatchHeader, records: bytes | memoryview
) -> Iterator[tuple[int, int, bytes | memoryview | None, bytes | memoryview | None]]:
    """Offset, timestamp, key and value of every record among `records_of` a batch; headers are dropped.

    Keys and values are of the kind that `records` is. Many times as fast as `iter_records`, for those who read all.

    Raises:
        CorruptLog: as `iter_records`.
    """
    reader = _RecordReader(header, records)
    base_offset, base_ms = header.base_offset, header.first_timestamp_ms
    is_append_time = header.attributes & _LOG_APPEND_TIME
    end = 0
    try:
        for _ in range(header.record_count):
            start = end
            length, position = _unzigzagged(records, start)
            end = position + length
            delta_ms, position = _unzigzagged(records, position + 1)
            delta, position = _unzigzagged(records, position)
            key: bytes | memoryview | None = None
            if records[position] == _NULL:
                position += 1
            else:
                key_length, position = _unzigzagged(records, position)
                key = records[position : position + key_length]
                position += key_length
            value_length, position = _unzigzagged(records, position)
            value_end = position + value_length
            # What ends here with no headers is whole; whatever else there is, the patient reader looks at it.
            if value_length < 0 or value_end + 1 != end or records[value_end] or (key is not None and key_length < 0):
                record = reader.record_at(start)
                yield record.offset, record.timestamp_ms, record.key, record.value
                continue
            timestamp_ms = header.max_timestamp_ms if is_append_time else base_ms + delta_ms
            yield base_offset + delta, timestamp_ms, key, records[position:value_end]
    except IndexError:
        reader.record_at(start)
        raise
    reader.expect_end(end)


def iter_times(batch: Batch) -> Iterator[tuple[int, int]]:
    """Offset and timestamp of every record, in order; keys and values are skipped.

    Of a batch with one record the header says both, so that a large row is not decompressed for its time.

    Raises:
        CorruptLog: as `iter_records`, as far as the bytes are looked at.
    """
    header = batch.header
    if header.record_count == 1 and header.last_offset_delta == 0:
        is_append_time = header.attributes & _LOG_APPEND_TIME
        yield header.base_offset, header.max_timestamp_ms if is_append_time else header.first_timestamp_ms
        return
    reader = _RecordReader(header, records_of(batch))
    for _ in range(header.record_count):
        yield reader.time()
    reader.expect_end()


def first_at_or_after(batch: Batch, timestamp_ms: int) -> tuple[int, int] | None:
    """Offset and timestamp of the first record at or after a time, None if all are older; as `iter_times` finds it.

    Who seeks goes through half a batch, so its records are gone through in one loop, and small numbers, which is most
    of them, are read where they stand. What is not as it should be is left to `iter_times` to name.

    Raises:
        CorruptLog: as `iter_times`, of the records up to that one.
    """
    header = batch.header
    if header.record_count > 1 and not header.attributes & _LOG_APPEND_TIME:
        data, wanted = records_of(batch), timestamp_ms - header.first_timestamp_ms
        size, position = len(data), 0
        try:
            for _ in range(header.record_count):
                byte = data[position]
                if byte < 0x80:
                    length, at = (byte >> 1) ^ -(byte & 1), position + 1
                else:
                    length, at = _unzigzagged(data, position)
                position = at + length
                if length < 0 or position > size:
                    break
                byte = data[at + 1]  # behind the attributes
                if byte < 0x80:
                    time_delta, at = (byte >> 1) ^ -(byte & 1), at + 2
                else:
                    time_delta, at = _unzigzagged(data, at + 1)
                if time_delta >= wanted:
                    offset_delta, _ = _unzigzagged(data, at)
                    return header.base_offset + offset_delta, header.first_timestamp_ms + time_delta
        except IndexError:
            pass
    return next((each for each in iter_times(batch) if each[1] >= timestamp_ms), None)


def records_of(batch: Batch, bytes_max: int = RECORDS_BYTES_MAX) -> bytes:
    """The bytes of a batch's records, uncompressed.

    Raises:
        CorruptLog: they are compressed and the checksum does not verify, the codec is not known, what it finds is
            damaged, or more than `bytes_max` comes out.
    """
    header, _, view = batch
    number = header.compression
    if not number:
        return bytes(view[HEADER_BYTES:])
    if number >= len(CODECS):
        raise CorruptLog(
            f"the record batch at offset {header.base_offset} is compressed with codec {number}, unknown here"
        )
    codec = CODECS[number]
    if not verify_crc(view, 0, header):
        raise CorruptLog(f"the {codec.name} record batch at offset {header.base_offset} does not match its checksum")
    try:
        return codec.decompress(view[HEADER_BYTES:], bytes_max)
    except ValueError as error:
        raise CorruptLog(f"the {codec.name} record batch at offset {header.base_offset} is damaged: {error}") from None


def _unzigzagged(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """A zigzag varint and the position behind it; IndexError if it is cut off or longer than ten bytes."""
    byte = data[position]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), position + 1
    value = byte & 0x7F
    for shift in range(7, 70, 7):
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position + 1
    raise IndexError(position)


class _RecordReader:
    """Reads the records of one batch; every field is checked against the bytes that are there."""

    __slots__ = ("_data", "_header", "_position")

    def __init__(self, header: BatchHeader, data: bytes | memoryview) -> None:
        self._header = header
        self._data = data
        self._position = 0

    def record_at(self, position: int) -> Record:
        self._position = position
        return self.record()

    def record(self) -> Record:
        end, offset, timestamp_ms = self._head()
        key = self._bytes()
        value = self._bytes()
        headers = tuple(self._record_header() for _ in range(self._count()))
        if self._position != end:
            raise self._corrupt(f"a record ends at {self._position} where its length says {end}")
        return Record(offset, timestamp_ms, key, value, headers)

    def time(self) -> tuple[int, int]:
        end, offset, timestamp_ms = self._head()
        self._position = end
        return offset, timestamp_ms

    def _head(self) -> tuple[int, int, int]:
        """The record's end in the data, its offset, its timestamp."""
        header = self._header
        length = self._varint()
        end = self._position + length
        if length < 0 or end > len(self._data):
            raise self._corrupt(f"a record of {length} bytes does not fit")
        self._position += 1
        timestamp_ms = header.first_timestamp_ms + self._varint()
        offset = header.base_offset + self._varint()
        if header.attributes & _LOG_APPEND_TIME:
            timestamp_ms = header.max_timestamp_ms
        return end, offset, timestamp_ms

    def expect_end(self, position: int | None = None) -> None:
        self._position = self._position if position is None else position
        if self._position != len(self._data):
            raise self._corrupt(f"{len(self._data) - self._position} bytes follow the last record")

    def _record_header(self) -> tuple[str, bytes | None]:
        key = self._bytes()
        if key is None:
            raise self._corrupt("a header has no key")
        try:
            return key.decode(), self._bytes()
        except UnicodeDecodeError as error:
            raise self._corrupt("a header's key is not UTF-8") from error

    def _count(self) -> int:
        count = self._varint()
        # A header takes two bytes at least: a count beyond that is refused before anything is built for it.
        if not 0 <= count <= (len(self._data) - self._position) // 2:
            raise self._corrupt(f"a header count of {count} does not fit")
        return count

    def _bytes(self) -> bytes | None:
        length = self._varint()
        if length == -1:
            return None
        start, end = self._position, self._position + length
        if length < 0 or end > len(self._data):
            raise self._corrupt(f"a field of {length} bytes does not fit")
        self._position = end
        return bytes(self._data[start:end])

    def _varint(self) -> int:
        data, position = self._data, self._position
        value = shift = 0
        while True:
            if position >= len(data) or shift > 63:
                raise self._corrupt("a varint is cut off or longer than ten bytes")
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        self._position = position
        return (value >> 1) ^ -(value & 1)

    def _corrupt(self, what: str) -> CorruptLog:
        return CorruptLog(
            f"the record batch at offset {self._header.base_offset} is damaged: {what} "
            f"(byte {self._position} of its {len(self._data)} bytes of records)"
        )
