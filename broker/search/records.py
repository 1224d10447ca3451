"""Records of a batch looked through: which are wanted, what their cells are, and under which keys they are found.

Owns reading a record's Avro as far as a search needs it (layout: capture/record.avsc), over the bytes of a batch's
records. `_scan.c` has `find` and `note` once more, compiled; this is what it is held against, what says what is wrong,
and what works where it was not built.

A cell is kept as its bytes: the number of its class in the union, zigzag, and its fields. The key of a cell is a hash
of its column's name, FF, a family and its content:

    n   Integer, Decimal: the digits without what does not change the value (12.50 is 12.5)
    b   Character, geometries and objects: the bytes as they are, in whatever character set
    f   Float: eight bytes      T   Timestamp: its bytes      D   DateTime: its bytes

NULL, absent cells and contents of more than `CONTENT_BYTES_MAX` bytes have no key. A record's kind (`k`), database
(`d`) and table (`t`) are keys, too. The hash is FNV-1a, 64 bits, and the finalizer of MurmurHash3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, Final, NamedTuple

from storage.compiled import load
from storage.errors import CorruptLog

CONTENT_BYTES_MAX: Final = 256
COLUMNS_MAX: Final = 64
KINDS: Final = (
    "INSERT", "UPDATE", "DELETE", "DDL", "BEGIN", "COMMIT", "ROLLBACK", "ABORT", "HEARTBEAT", "CHECKPOINT", "COMMAND",
    "FILL", "FINISH", "CONTROL", "RDB", "NOOP", "INIT",
)  # fmt: skip
"""The symbols of the record's operation, in their order."""

_DIGITS_MAX: Final = 126
_FIELDS_MAX: Final = 4096
_FNV_BASIS: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_MASK: Final = (1 << 64) - 1
_DELTA_MAX: Final = 1 << 62


class CellClass(IntEnum):
    """The classes of a cell, by their number in the union."""

    NULL = 0
    INTEGER = 1
    CHARACTER = 2
    DECIMAL = 3
    FLOAT = 4
    TIMESTAMP = 5
    DATETIME = 6
    TIMESTAMP_WITH_TIME_ZONE = 7
    BINARY_GEOMETRY = 8
    TEXT_GEOMETRY = 9
    BINARY_OBJECT = 10
    TEXT_OBJECT = 11
    EMPTY_OBJECT = 12


class Wanted(NamedTuple):
    """Which records are wanted, and which cells of them; None is any. Time deltas count from the batch's first."""

    kinds: int
    """A bit per number of `KINDS`."""
    database: bytes | None = None
    table: bytes | None = None
    columns: tuple[bytes, ...] = ()
    contents: tuple[tuple[bytes, ...] | None, ...] = ()
    """Of each column, family and content in one, of which a wanted image has one; None says nothing. It is a hint: what
    has none may come all the same.
    """
    from_delta: int = -_DELTA_MAX
    to_delta: int = _DELTA_MAX


class Change(NamedTuple):
    """A record that is wanted: where its value lies, and the cells of its images (None: no such image, or column)."""

    offset_delta: int
    time_delta: int
    start: int
    end: int
    kind: int
    before: tuple[bytes | None, ...] | None
    after: tuple[bytes | None, ...] | None


class Reader:
    """Avro's primitives, one behind the other; ValueError where the bytes end."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes | memoryview, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end

    def number(self) -> int:
        data, position, value = self.data, self.position, 0
        for shift in range(0, 70, 7):
            if position >= self.end:
                break
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                self.position = position
                value &= _MASK
                return (value >> 1) ^ -(value & 1)
        raise ValueError("a number is cut off")

    def span(self, size: int) -> tuple[int, int]:
        """Where the next `size` bytes lie."""
        start = self.position
        if size < 0 or size > self.end - start:
            raise ValueError(f"{size} bytes do not fit")
        self.position = start + size
        return start, self.position

    def text(self) -> tuple[int, int]:
        """Where the bytes of the next string lie."""
        return self.span(self.number())

    def take(self) -> bytes:
        """The bytes of the next string."""
        start, end = self.text()
        return bytes(self.data[start:end])


def skip_cell(reader: Reader) -> tuple[bytes, int, int] | None:
    """Pass a cell by; its family and where its content lies."""
    match reader.number():
        case CellClass.NULL:
            return None
        case CellClass.INTEGER:
            reader.number()
            return (b"n", *reader.text())
        case 2 | 8 | 9 | 10 | 11:
            reader.text()
            return (b"b", *reader.text())
        case CellClass.DECIMAL:
            content = reader.text()
            reader.number()
            reader.number()
            return (b"n", *content)
        case CellClass.FLOAT:
            content = reader.span(8)
            reader.number()
            reader.number()
            return (b"f", *content)
        case CellClass.TIMESTAMP:
            start = reader.position
            reader.number()
            reader.number()
            return b"T", start, reader.position
        case CellClass.DATETIME:
            return (b"D", *_skip_datetime(reader))
        case CellClass.EMPTY_OBJECT:
            reader.number()
            return None
    raise ValueError("a cell of an unknown class")


def _skip_datetime(reader: Reader) -> tuple[int, int]:
    start = reader.position
    for _ in range(7):
        has = reader.number()
        if has == 1:
            reader.number()
        elif has:
            raise ValueError("neither null nor a number")
    return start, reader.position


class Head(NamedTuple):
    """What a record begins with."""

    record_id: int
    timestamp_s: int
    position: tuple[int, int]
    kind: int
    object_name: bytes | None


def read_head(reader: Reader) -> Head:
    """The fields up to the object's name."""
    reader.number()
    record_id, timestamp_s = reader.number(), reader.number()
    position = reader.text()
    reader.text()
    reader.text()
    reader.number()
    reader.text()
    kind = reader.number()
    if not 0 <= kind < len(KINDS):
        raise ValueError(f"an operation of number {kind}")
    has = reader.number()
    if has not in {0, 1}:
        raise ValueError("an object's name that is neither null nor a string")
    return Head(record_id, timestamp_s, position, kind, reader.take() if has else None)


def read_tags(reader: Reader) -> dict[bytes, bytes]:
    """Process timestamps, which nothing writes, and the tags."""
    if reader.number():
        raise ValueError("process timestamps")
    count = reader.number()
    tags = {}
    for _ in range(_counted(count)):
        name = reader.take()
        tags[name] = reader.take()
    if count and reader.number():
        raise ValueError("tags in more than one block")
    return tags


def read_fields(reader: Reader) -> list[tuple[bytes, int]]:
    """Names and data type numbers of the columns; empty where there are none."""
    has = reader.number()
    if not has:
        return []
    if has != 2:
        raise ValueError("fields that are no array")
    count = _counted(reader.number())
    if count > _FIELDS_MAX:
        raise ValueError(f"{count} columns")
    fields = []
    for _ in range(count):
        name = reader.take()
        fields.append((name, reader.number()))
    if count and reader.number():
        raise ValueError("fields in more than one block")
    return fields


def begin_image(reader: Reader, count: int) -> bool:
    """Whether an image follows that has `count` cells."""
    has = reader.number()
    if not has:
        return False
    if has != 2 or (count and reader.number() != count):
        raise ValueError(f"an image that is no array of {count} cells")
    return True


def end_image(reader: Reader) -> None:
    """Where the cells of an image end."""
    if reader.number():
        raise ValueError("an image in more than one block")


def _counted(count: int) -> int:
    if count < 0:
        raise ValueError("a block with its size")
    return count


def split_name(object_name: bytes | None) -> tuple[bytes | None, bytes | None]:
    """Database and table of an object's name, as they stand there."""
    if object_name is None:
        return None, None
    database, dot, table = object_name.partition(b".")
    return database, table if dot else None


# ---- find ----


def find(records: bytes, count: int, wanted: Wanted) -> list[Change]:
    """The records of a batch that are wanted, oldest first.

    Raises:
        CorruptLog: they are no records that this version knows.
    """
    if _find is not None:
        found = _find(
            records, count, wanted.from_delta, wanted.to_delta, wanted.kinds, wanted.database, wanted.table,
            wanted.columns, wanted.contents or (None,) * len(wanted.columns),
        )  # fmt: skip
        if found is not None:
            return [Change._make(change) for change in found]
    return find_in_python(records, count, wanted)


def find_in_python(records: bytes, count: int, wanted: Wanted) -> list[Change]:
    """`find`, as this file does it."""
    found = []
    try:
        for offset_delta, time_delta, start, end in _iter_records(records, count):
            if not wanted.from_delta <= time_delta <= wanted.to_delta:
                continue
            reader = Reader(records, start, end)
            head = read_head(reader)
            if not _is_wanted(wanted, head):
                continue
            before, after = _images(reader, wanted.columns) if wanted.columns else (None, None)
            found.append(Change(offset_delta, time_delta, start, end, head.kind, before, after))
    except ValueError as error:
        raise CorruptLog(f"a record that is not of the known schema: {error}") from None
    return found


def _is_wanted(wanted: Wanted, head: Head) -> bool:
    if not wanted.kinds >> head.kind & 1:
        return False
    if wanted.database is None and wanted.table is None:
        return True
    database, table = split_name(head.object_name)
    return wanted.database in {None, database} and wanted.table in {None, table}


Image = tuple[bytes | None, ...] | None


def _images(reader: Reader, columns: tuple[bytes, ...]) -> tuple[Image, Image]:
    read_tags(reader)
    names = [name for name, _ in read_fields(reader)]
    if not names:
        return None, None
    wanted = {name: index for index, name in enumerate(names)}
    places = [wanted.get(column, -1) for column in columns]
    return _image(reader, len(names), places), _image(reader, len(names), places)


def _image(reader: Reader, count: int, places: list[int]) -> Image:
    if not begin_image(reader, count):
        return None
    cells: dict[int, bytes] = {}
    for index in range(count):
        start = reader.position
        skip_cell(reader)
        if index in places:
            cells[index] = bytes(reader.data[start : reader.position])
    end_image(reader)
    return tuple(cells.get(place) for place in places)


def _iter_records(records: bytes, count: int) -> Iterator[tuple[int, int, int, int]]:
    """Offset delta, time delta, and where the value lies, of every record of a batch."""
    reader = Reader(records)
    for _ in range(count):
        start, end = reader.text()
        record = Reader(records, start, end)
        record.span(1)
        time_delta, offset_delta = record.number(), record.number()
        key_bytes = record.number()
        if key_bytes >= 0:
            record.span(key_bytes)
        value_start, value_end = record.span(max(0, record.number()))
        yield offset_delta, time_delta, value_start, value_end


# ---- keys ----


def hashed(state: int, data: bytes) -> int:
    """FNV-1a, going on from a state."""
    for byte in data:
        state = ((state ^ byte) * _FNV_PRIME) & _MASK
    return state


def mixed(state: int) -> int:
    """The finalizer of MurmurHash3: what the filter takes."""
    state ^= state >> 33
    state = (state * 0xFF51AFD7ED558CCD) & _MASK
    state ^= state >> 33
    state = (state * 0xC4CEB9FE1A85EC53) & _MASK
    return state ^ state >> 33


def cell_key(column: bytes, family: bytes, content: bytes) -> int | None:
    """The hash under which a cell is entered, None if it is not."""
    if len(content) > CONTENT_BYTES_MAX:
        return None
    kept = normalized(content) if family == b"n" else content
    return mixed(hashed(_FNV_BASIS, column + b"\xff" + family + kept))


def kind_key(kind: int) -> int:
    """The hash under which records of a kind are entered."""
    return mixed(hashed(_FNV_BASIS, bytes((ord("k"), kind))))


def name_keys(object_name: bytes | None) -> list[int]:
    """The hashes under which an object's database and table are entered."""
    parts = zip((b"d", b"t"), split_name(object_name), strict=True)
    return [mixed(hashed(_FNV_BASIS, family + name)) for family, name in parts if name is not None]


def normalized(digits: bytes) -> bytes:
    """A number's digits without what does not change its value; what is no plain number as it is."""
    sign, rest = (b"-", digits[1:]) if digits[:1] == b"-" else (b"", digits)
    whole, _, fraction = rest.partition(b".")
    if len(digits) > _DIGITS_MAX or not rest or (whole + fraction).strip(b"0123456789"):
        return digits
    whole, fraction = whole.lstrip(b"0"), fraction.rstrip(b"0")
    if not whole and not fraction:
        return b"0"
    return sign + (whole or b"0") + (b"." + fraction if fraction else b"")


Enter = Callable[[int], Any]


class Times(NamedTuple):
    """The least and the greatest time delta of a batch's records."""

    least: int
    greatest: int


def note_in_python(records: bytes, count: int, enter: Enter) -> Times:
    """Give every key of a batch's records to `enter`, some more than once; `storage.search_filter` counts.

    Raises:
        CorruptLog: they are no records that this version knows.
    """
    times: list[int] = []
    seen: set[tuple[bytes, bytes, bytes]] = set()
    try:
        for _, time_delta, start, end in _iter_records(records, count):
            times.append(time_delta)
            reader = Reader(records, start, end)
            head = read_head(reader)
            enter(kind_key(head.kind))
            for key in name_keys(head.object_name):
                enter(key)
            read_tags(reader)
            names = [name for name, _ in read_fields(reader)]
            for _ in range(2 if names else 0):
                _note_image(reader, names, seen, enter)
    except ValueError as error:
        raise CorruptLog(f"a record that is not of the known schema: {error}") from None
    return Times(min(times, default=0), max(times, default=0))


def _note_image(reader: Reader, names: list[bytes], seen: set[tuple[bytes, bytes, bytes]], enter: Enter) -> None:
    if not begin_image(reader, len(names)):
        return
    for name in names:
        cell = skip_cell(reader)
        if cell is None or cell[2] - cell[1] > CONTENT_BYTES_MAX:
            continue
        family, start, end = cell
        content = bytes(reader.data[start:end])
        if (name, family, content) not in seen:
            seen.add((name, family, content))
            key = cell_key(name, family, content)
            assert key is not None
            enter(key)
    end_image(reader)


_compiled: Final = load("broker.search._scan")
_find: Final[Callable[..., list[tuple[Any, ...]] | None] | None] = getattr(_compiled, "find", None)
note_compiled: Final[Callable[..., tuple[int, int, int] | None] | None] = getattr(_compiled, "note", None)
"""note(records, count, rows, bit): how many keys were new, and the two times; None where Python is to look."""
is_compiled: Final = _find is not None
