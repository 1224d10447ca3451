"""What is changed by an XA transaction, kept until it is known whether it counts.

`HeldRows` collects the events of the open transaction as frames of `storage/prepared_file.py`; `HeldReader` turns
frames back into events with the table definitions of their own time. The session writes and reads them in between.

    kind  content
    1     TABLE: place | event TABLE_MAP | the table's definition as the catalog has it, JSON
    2     ROWS: place | event
    3     UNTRACKED: database, NUL, table: rows of it were left out

A place is start u64 | end u64 | start of its statement u64 | size of a table id u8, and, in TABLE, size of the event
u32. Events have no checksum. Invariant: what is read back is what a stream of the same events would have given,
whatever happened to the tables since.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from capture.errors import CaptureError
from capture.events import EventDecoder, RowsEvent, TableMapEvent
from storage.prepared_file import encode_frame

if TYPE_CHECKING:
    from capture.events import EventHeader
    from capture.table import TableVersion
    from capture.transactions import Step
    from capture.xa import Xid
    from storage.prepared_file import Frame

TABLE, ROWS, UNTRACKED = 1, 2, 3

_PLACE = struct.Struct("<QQQB")
_SIZE = struct.Struct("<I")


def xid_bytes(xid: Xid) -> bytes:
    """The id by which the store knows a transaction."""
    return struct.pack("<iB", xid.format, len(xid.global_part)) + xid.global_part + xid.branch_part


class SelectionChanged(CaptureError):
    """Rows were left out when a transaction was prepared, of a table that is tracked by now."""


class HeldRows:
    """The open XA transaction. `frames` are those not written yet; `cut_bytes` says that written ones are to go."""

    def __init__(self, xid: Xid, begin: Step) -> None:
        self.xid = xid
        self.begin = begin
        self.frames: list[bytes] = []
        self.waiting_bytes = 0
        self.written_bytes = 0
        self.cut_bytes: int | None = None
        self.tables: set[tuple[str, str]] = set()
        """Database and name of the tracked ones."""
        self._announced: dict[int, bytes] = {}
        self._untracked: set[tuple[str, str]] = set()
        self._savepoints: dict[str, int] = {}
        self._statement_start: int | None = None

    def table_map(self, step: Step, raw: bytes, table_id_bytes: int, version: TableVersion | None) -> None:
        """A table that rows follow of; `version` None: one that is not tracked."""
        event = step.event
        assert isinstance(event, TableMapEvent)
        if self._statement_start is None:
            self._statement_start = step.start
        if version is None:
            self._announced.pop(event.table_id, None)
            name = (event.database, event.table)
            if name not in self._untracked:
                self._untracked.add(name)
                self._add(UNTRACKED, "\0".join(name).encode("utf-8", "surrogateescape"))
        elif self._announced.get(event.table_id) != raw:
            self._announced[event.table_id] = raw
            self.tables.add((event.database, event.table))
            head = self._place(step, table_id_bytes) + _SIZE.pack(len(raw))
            self._add(TABLE, head + raw + version.to_json().encode("utf-8", "surrogatepass"))

    def rows(self, step: Step, raw: bytes, table_id_bytes: int) -> None:
        """Rows of a table that was announced; of one that is not tracked nothing is kept."""
        event = step.event
        assert isinstance(event, RowsEvent)
        if event.table_id in self._announced:
            self._add(ROWS, self._place(step, table_id_bytes) + raw)
        if event.ends_statement:
            self._statement_start = None

    def _place(self, step: Step, table_id_bytes: int) -> bytes:
        start = step.start if self._statement_start is None else self._statement_start
        return _PLACE.pack(step.start, step.end, start, table_id_bytes)

    def _add(self, kind: int, content: bytes) -> None:
        frame = encode_frame(kind, content)
        self.frames.append(frame)
        self.waiting_bytes += len(frame)

    def take(self) -> list[bytes]:
        """Hand over the frames that are not written."""
        frames, self.frames = self.frames, []
        self.written_bytes += self.waiting_bytes
        self.waiting_bytes = 0
        return frames

    # ---- savepoints ----

    def savepoint(self, name: str) -> None:
        self._savepoints[name] = self.written_bytes + self.waiting_bytes

    def rollback_to(self, name: str) -> bool:
        """Take back what came since a savepoint; False if there is none of that name."""
        keep = self._savepoints.get(name)
        if keep is None:
            return False
        while self.frames and self.written_bytes + self.waiting_bytes > keep:
            self.waiting_bytes -= len(self.frames.pop())
        if self.written_bytes > keep:
            self.written_bytes = self.cut_bytes = keep
        self._announced.clear()
        self._untracked.clear()
        return True


class HeldTable(NamedTuple):
    """A TABLE frame: the table map, and its table's definition when the rows were written; `key` stands for both."""

    event: TableMapEvent
    definition: str
    key: bytes


class HeldEvent(NamedTuple):
    """A ROWS frame, with its header and its own place."""

    header: EventHeader
    event: RowsEvent
    start: int
    end: int
    statement_start: int


def read_untracked(frame: Frame) -> tuple[str, str]:
    """The table of an UNTRACKED frame: database and name."""
    database, _, table = frame.content.decode("utf-8", "surrogateescape").partition("\0")
    return database, table


class HeldReader:
    """Decodes the frames of one transaction, in order."""

    def __init__(self) -> None:
        self._decoder = EventDecoder()

    def table(self, frame: Frame) -> HeldTable:
        content = frame.content
        _, _, _, self._decoder.table_id_bytes = _PLACE.unpack_from(content)
        (size,) = _SIZE.unpack_from(content, _PLACE.size)
        start = _PLACE.size + _SIZE.size
        _, event = self._decoder.decode(content[start : start + size])
        assert isinstance(event, TableMapEvent)
        return HeldTable(event, content[start + size :].decode("utf-8", "surrogatepass"), content[start:])

    def rows(self, frame: Frame) -> HeldEvent:
        start, end, statement_start, self._decoder.table_id_bytes = _PLACE.unpack_from(frame.content)
        header, event = self._decoder.decode(frame.content[_PLACE.size :])
        assert isinstance(event, RowsEvent)
        return HeldEvent(header, event, start, end, statement_start)
