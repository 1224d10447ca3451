"""Recordings: files with a stretch of a topic, as `binwire record` writes them and `binwire demo` and fixtures play.

A recording is an Avro object container file (Avro 1.11.1, "Object Container Files") of the records as they were in the
topic, so that every Avro library reads it:

    "Obj" 01 | metadata: map of bytes, 00 | sync marker of 16 bytes, then blocks of:
    count long | size long | that many bytes, by the codec | sync marker

Beside avro.schema and avro.codec the metadata has what `Facts` says, under `binwire.` and its names. Its numbers have
leading zeros: they are known when the file ends, and the head is written again then, in its place.

Invariant: a file has its name once it is whole, and in it are whole transactions. Nothing is read at once but one
block, and no block is larger than `BLOCK_BYTES_MAX`.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, Self

from msgspec import Struct, ValidationError, convert
from msgspec.structs import asdict, replace

from broker.capturing import record_schema
from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from types import TracebackType

MAGIC: Final = b"Obj\x01"
BLOCK_BYTES: Final = 64 << 10
"""A block is ended at the first end of a transaction behind so many bytes."""
BLOCK_BYTES_MAX: Final = 256 << 20
"""Twice what the largest record of a channel may have, and some."""

_SYNC_BYTES: Final = 16
_METADATA_BYTES_MAX: Final = 1 << 20
_PREFIX: Final = "binwire."
_DIGITS: Final = 15
_NUMBERS: Final = ("records", "first_timestamp_s", "last_timestamp_s")
_ENDS: Final = frozenset(("COMMIT", "ROLLBACK"))
_INSIDE: Final = frozenset(("BEGIN", "INSERT", "UPDATE", "DELETE"))


class RecordingError(StorageError):
    """A recording cannot be written, or a file is none; one sentence."""


class Facts(Struct, frozen=True, kw_only=True):
    """What a recording says of itself. Times are Unix epoch seconds at the source; `masks` are as they were asked for.

    An Avro file with such records that something else wrote says nothing.
    """

    topic: str = ""
    source_version: str = ""
    masks: tuple[str, ...] = ()
    written_by: str = ""
    records: int | None = None
    first_timestamp_s: int | None = None
    last_timestamp_s: int | None = None


class Tracker:
    """Where transactions end, from the operations of records that follow one another."""

    def __init__(self) -> None:
        self.is_open = False

    def ends(self, operation: str) -> bool:
        """Whether no transaction is open behind a record with this operation."""
        self.is_open = operation in _INSIDE or (self.is_open and operation not in _ENDS)
        return not self.is_open


# ---- writing ----


class RecordingWriter:
    """Writes one recording; a context manager that leaves no file behind unless `finish` was called.

    Raises RecordingError where the file cannot be written.
    """

    def __init__(self, path: Path, facts: Facts) -> None:
        if path.exists():
            raise RecordingError(f"{path} exists already; remove it, or name another file")
        self._path = path
        self.facts = replace(facts, records=0, first_timestamp_s=0, last_timestamp_s=0)
        """As of the last end of a transaction."""
        self._sync = secrets.token_bytes(_SYNC_BYTES)
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {error.strerror}; name a file in another place") from None
        self._unfinished: Path | None = Path(name)
        # Without a buffer: what could not be written would be tried again when the file is closed.
        self._file: FileIO = os.fdopen(descriptor, "wb", buffering=0)
        self._whole_bytes = 0
        """Where the last block with whole transactions ends in the file."""
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._whole = 0
        """How many of `_pending` belong to transactions that have ended."""
        self._count = 0
        self._last_s = 0

    def add(self, record: bytes, timestamp_s: int, source_version: str, *, ends: bool) -> None:
        """Write a record; `ends` says that no transaction is open behind it."""
        if not self._count:
            self.facts = replace(self.facts, source_version=source_version, first_timestamp_s=timestamp_s)
            self._write(self._head())
            self._whole_bytes = self._file.tell()
        self._pending.append(record)
        self._pending_bytes += len(record)
        self._count += 1
        self._last_s = timestamp_s
        if ends:
            self._whole = len(self._pending)
            self.facts = replace(self.facts, records=self._count, last_timestamp_s=self._last_s)
        if self._pending_bytes >= BLOCK_BYTES or (ends and self._file.tell() > self._whole_bytes):
            self._end_block(is_whole=ends)

    def finish(self) -> Facts:
        """Give the file its name; what it says of itself. A transaction that is open is left out."""
        if self._file.tell() == self._whole_bytes:
            del self._pending[self._whole :]
            self._end_block(is_whole=True)
        with self._on_its_medium():
            self._file.truncate(self._whole_bytes)
            self._file.seek(0)
            self._write(self._head())
            os.fsync(self._file.fileno())
            self._file.close()
            assert self._unfinished is not None
            self._unfinished.replace(self._path)
        self._unfinished = None
        return self.facts

    @property
    def size_bytes(self) -> int:
        """Of the finished file."""
        return self._path.stat().st_size

    def _end_block(self, *, is_whole: bool) -> None:
        """Write what is pending. What is whole of it ends a block of its own: the rest may have to go."""
        if not is_whole and self._whole:
            self._write_block(self._pending[: self._whole])
            self._whole_bytes = self._file.tell()
            del self._pending[: self._whole]
        self._write_block(self._pending)
        if is_whole:
            self._whole_bytes = self._file.tell()
        self._pending, self._pending_bytes, self._whole = [], 0, 0

    def _write_block(self, records: list[bytes]) -> None:
        if records:
            deflating = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            data = deflating.compress(b"".join(records)) + deflating.flush()
            self._write(_long(len(records)) + _long(len(data)) + data + self._sync)

    def _write(self, data: bytes) -> None:
        with self._on_its_medium():
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]

    @contextmanager
    def _on_its_medium(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RecordingError(f"{self._path} cannot be written: {error.strerror}; make room there") from None

    def _head(self) -> bytes:
        """The file's head, always of the same length."""
        texts = {"avro.schema": json.dumps(record_schema(), separators=(",", ":")), "avro.codec": "deflate"}
        for name, value in asdict(self.facts).items():
            if name in _NUMBERS:
                texts[_PREFIX + name] = f"{value or 0:0{_DIGITS}d}"
            else:
                texts[_PREFIX + name] = value if isinstance(value, str) else json.dumps(value)
        pairs = b"".join(_octets(key.encode()) + _octets(text.encode()) for key, text in texts.items())
        return MAGIC + _long(len(texts)) + pairs + _long(0) + self._sync

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._unfinished is not None:
            self._file.close()
            self._unfinished.unlink(missing_ok=True)


def _long(number: int) -> bytes:
    """A number of Avro's that is not negative."""
    number *= 2
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def _octets(data: bytes) -> bytes:
    return _long(len(data)) + data


# ---- reading ----


class Recorded(NamedTuple):
    """A record as it is in the file, and decoded."""

    value: bytes
    fields: dict[str, Any]


class Recording:
    """A recording that is read: its `facts` at once, its records as they are asked for.

    Raises RecordingError for a file that is none, or that is damaged, where that is found.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
            self._size = self._file.seek(0, io.SEEK_END)
            self._file.seek(0)
        except OSError as error:
            raise RecordingError(f"{path} cannot be read: {error.strerror}") from None
        try:
            self.facts = self._read_head()
        except BaseException:
            self._file.close()
            raise

    def records(self, decode_next: Callable[[io.BytesIO], dict[str, Any]]) -> Iterator[Recorded]:
        """All records, decoded by `decode_next`, which raises ValueError for what is no record."""
        count = 0
        for number, data in self._blocks():
            count += number
            stream = io.BytesIO(data)
            for _ in range(number):
                start = stream.tell()
                try:
                    fields = decode_next(stream)
                except ValueError as error:
                    raise self._damage(f"what it has in a block is no record: {error}") from None
                yield Recorded(data[start : stream.tell()], fields)
            if stream.tell() < len(data):
                raise self._damage(f"a block has {len(data) - stream.tell()} bytes more than its records")
        if self.facts.records not in (None, count):
            raise self._damage(f"it has {count} of the {self.facts.records} records that it says it has")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_head(self) -> Facts:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise RecordingError(f"{self.path} is no recording; `binwire record TOPIC -o FILE` makes one")
        metadata: dict[str, bytes] = {}
        while count := self._read_long():
            if count < 0:
                count = -count
                self._read_long()
            for _ in range(count):
                key = self._read_octets().decode("utf-8", "replace")
                metadata[key] = self._read_octets()
        self._sync = self._read(_SYNC_BYTES)
        self._codec = metadata.get("avro.codec", b"null").decode("ascii", "replace")
        if self._codec not in ("null", "deflate"):
            raise RecordingError(
                f"{self.path} is compressed by {self._codec}; of Avro's codecs deflate and null are read"
            )
        self._require_schema(metadata.get("avro.schema", b""))
        return self._facts(metadata)

    def _require_schema(self, text: bytes) -> None:
        ours = record_schema()
        try:
            written = json.loads(text)
            is_ours = written == ours or _canonical(written) == _canonical(ours)
        except (ValueError, RecursionError):
            is_ours = False
        if not is_ours:
            raise RecordingError(
                f"{self.path} is an Avro file of something else: its schema is not that of the records, which "
                f"`binwire schema` prints"
            )

    def _facts(self, metadata: dict[str, bytes]) -> Facts:
        found: dict[str, Any] = {}
        try:
            for name in Facts.__struct_fields__:
                text = metadata.get(_PREFIX + name)
                if text is not None:
                    read = text.decode()
                    found[name] = int(read) if name in _NUMBERS else json.loads(read) if name == "masks" else read
            return convert(found, Facts)
        except (ValueError, ValidationError, RecursionError) as error:
            raise self._damage(f"what it says of itself cannot be read: {error}") from None

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        """How many records each block has, and their bytes."""
        while self._file.tell() < self._size:
            count, size = self._read_long(), self._read_long()
            if count < 0 or not 0 <= size <= min(self._size - self._file.tell(), BLOCK_BYTES_MAX):
                raise self._damage(f"a block is said to have {count} records in {size} bytes")
            data = self._read(size)
            if self._read(_SYNC_BYTES) != self._sync:
                raise self._damage("a block does not end where it should")
            yield count, self._inflated(data) if self._codec == "deflate" else data

    def _inflated(self, data: bytes) -> bytes:
        inflating = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        try:
            found = inflating.decompress(data, BLOCK_BYTES_MAX)
        except zlib.error as error:
            raise self._damage(f"a block cannot be decompressed: {error}") from None
        if not inflating.eof:
            raise self._damage(f"a block is cut short, or has more than {BLOCK_BYTES_MAX >> 20} MiB")
        return found

    def _read_long(self) -> int:
        number = shift = 0
        while shift < 64:
            (byte,) = self._read(1)
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (number >> 1) ^ -(number & 1)
            shift += 7
        raise self._damage("a number in it is too long")

    def _read_octets(self) -> bytes:
        size = self._read_long()
        if not 0 <= size <= _METADATA_BYTES_MAX:
            raise self._damage(f"its head is said to have a text of {size} bytes")
        return self._read(size)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise self._damage("it is cut short")
        return data

    def _damage(self, what: str) -> RecordingError:
        return RecordingError(f"{self.path} is damaged at byte {self._file.tell()}: {what}")


def _canonical(schema: Any) -> str:
    """What makes two schemas the same, however they are written."""
    import fastavro
    from fastavro.schema import SchemaParseException, UnknownType

    try:
        return str(fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(schema)))
    except (SchemaParseException, UnknownType, TypeError, KeyError, AttributeError) as error:
        raise ValueError(str(error)) from None
