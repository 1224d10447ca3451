"""A binlog file made ready for dumps: its packets, made once, and where its transactions begin.

`Packets` are whole packets of a dump, one behind the other, so that a server sends them by large writes. Their sequence
numbers and GTIDs can be changed where they stand: the same bytes serve for the next file of a binlog, whose
transactions go on. Who sends them is `bench/synthetic_server.py`'s business.
"""

from __future__ import annotations

import struct
import threading
import zlib
from bisect import bisect_left
from pathlib import Path
from typing import Final
from uuid import UUID

from bench import mysql_protocol as protocol
from bench.mysql_protocol import SqlError

MAGIC_BYTES: Final = 4
FIRST_SEQUENCE: Final = 3
"""Behind the artificial ROTATE and the format description."""
_SIZE_AT: Final = 9
_TYPE_AT: Final = 4
_UUID_BYTES: Final = 16
_NUMBER_AT: Final = 19 + 1 + _UUID_BYTES
"""A GTID event's transaction number: behind header, flags and UUID."""
_PACKET_HEADER: Final = 5
"""Length, sequence number, and the byte that says: an event."""
_TABLE_MAP, _GTID = 19, 33


class Packets:
    """The packets of a binlog file from an event on, and where each of them and each GTID event begins."""

    def __init__(self, data: bytes, start: int) -> None:
        parts: list[bytes] = []
        self._packets_at: list[int] = []
        self._gtids_at: list[int] = []
        at = 0
        for event_start, end in _events(data, start):
            packet, _ = protocol.framed(b"\0" + data[event_start:end], 0)
            if len(packet) > protocol.PACKET_BYTES_MAX:
                raise ValueError(f"the event at {event_start} is larger than a packet")
            if data[event_start + _TYPE_AT] == _GTID:
                self._gtids_at.append(at)
            self._packets_at.append(at)
            parts.append(packet)
            at += len(packet)
        self.buffer = bytearray(b"".join(parts))

    @property
    def next_sequence(self) -> int:
        return self._first_sequence + len(self._packets_at) & 0xFF

    def stamp(self, first_sequence: int) -> None:
        """Number the packets from there on."""
        self._first_sequence = first_sequence
        buffer = self.buffer
        for sequence, at in enumerate(self._packets_at, first_sequence):
            buffer[at + 3] = sequence & 0xFF

    def renumber(self, added: int) -> None:
        """Give each transaction the number that is so much higher."""
        buffer = self.buffer
        for at in self._gtids_at:
            event = at + _PACKET_HEADER
            (number,) = struct.unpack_from("<q", buffer, event + _NUMBER_AT)
            struct.pack_into("<q", buffer, event + _NUMBER_AT, number + added)
            end = event + int.from_bytes(buffer[event + _SIZE_AT : event + _SIZE_AT + 4], "little")
            struct.pack_into("<I", buffer, end - 4, zlib.crc32(buffer[event : end - 4]))

    @property
    def transactions(self) -> int:
        return len(self._gtids_at)


def _events(data: bytes, start: int) -> list[tuple[int, int]]:
    """Start and end of the events of a file from `start` on."""
    found = []
    while start < len(data):
        end = start + int.from_bytes(data[start + _SIZE_AT : start + _SIZE_AT + 4], "little")
        found.append((start, end))
        start = end
    return found


def first_rows(data: bytes) -> int:
    """Where the first transaction with rows begins."""
    gtid = MAGIC_BYTES
    for start, _ in _events(data, MAGIC_BYTES):
        if data[start + _TYPE_AT] == _GTID:
            gtid = start
        elif data[start + _TYPE_AT] == _TABLE_MAP:
            return gtid
    raise ValueError("the binlog has no rows")


class Binlog:
    """What is streamed: a file, sent once or several times."""

    def __init__(self, path: Path, files: int) -> None:
        self.data = path.read_bytes()
        self.name, self.files = path.name, files
        self.start = first_rows(self.data)
        self.starts = [start for start, _ in _events(self.data, MAGIC_BYTES)]
        self.head = self.data[MAGIC_BYTES : self.starts[1]]
        self.server_id = int.from_bytes(self.head[5:9], "little")
        self._prepared = {start: self._prepare(start) for start in {self.start, self.starts[1]}}
        self._lock = threading.Lock()

    def file_name(self, number: int) -> str:
        stem, _, digits = self.name.rpartition(".")
        return f"{stem}.{int(digits) + number:0{len(digits)}d}"

    def _prepare(self, start: int) -> Packets:
        packets = Packets(self.data, start)
        packets.stamp(FIRST_SEQUENCE)
        return packets

    def packets(self, start: int) -> Packets:
        """The packets of the events from `start` on, of which the format description is none."""
        start = max(start, self.starts[1])
        with self._lock:
            if start not in self._prepared:
                self._prepared[start] = self._prepare(start)
            return self._prepared[start]

    def beginning(self, name: str, position: int) -> int:
        """The event at which a dump begins. Raises SqlError as a server refuses."""
        if name not in ("", self.name):
            raise _fatal("Could not find first log file name in binary log index file")
        at = bisect_left(self.starts, position)
        if position != len(self.data) and (at == len(self.starts) or self.starts[at] != position):
            raise _fatal("bogus data in log event; the first event starts inside another")
        return position

    def behind_set(self, payload: bytes) -> int:
        """Where a reader begins that has a GTID set: this server's transactions up to a number, or none."""
        (count,) = struct.unpack_from("<Q", payload)
        if not count:
            return MAGIC_BYTES
        number = struct.unpack_from("<Q", payload, 8 + 16 + 8 + 8)[0]
        for start in self.starts:
            if self.data[start + _TYPE_AT] == _GTID:
                (found,) = struct.unpack_from("<q", self.data, start + _NUMBER_AT)
                if found >= number:
                    return start
        return len(self.data)

    @property
    def executed(self) -> str:
        """The GTIDs before `start`."""
        (number,) = struct.unpack_from("<q", self.data, self.start + _NUMBER_AT)
        return f"{self.server_uuid}:1-{number - 1}" if number > 1 else ""

    @property
    def server_uuid(self) -> str:
        """Whose transactions they are."""
        uuid_at = self.start + _NUMBER_AT - _UUID_BYTES
        return str(UUID(bytes=self.data[uuid_at : uuid_at + _UUID_BYTES]))


def _fatal(message: str) -> SqlError:
    return SqlError(1236, "HY000", message)
