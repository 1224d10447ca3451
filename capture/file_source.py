"""Binlog files as a source: read to their end, or followed as they grow.

What comes out is what a server sends in a dump: an artificial ROTATE that names file and position, the file's format
description, then its events as they are. A file's own ROTATE is not sent; the next file is announced in the same way.

Which files an address means and what they are called is the business of `capture/binlog_files.py`, playing them at
another time that of `capture/replay_source.py`. Reading happens in a thread: a cold page blocks nobody.

A file that ends without a ROTATE was closed by a crash, or is still being written: followed, it has ended once the next
one is there. What a server knows and its binlog does not (`capture.source.FILE_VARIABLES`) can stand in the address.
"""

from __future__ import annotations

import asyncio
import struct
from typing import IO, TYPE_CHECKING

from capture.binlog_files import BinlogFile, binlog_names, find_files
from capture.encode import EventEncoder
from capture.errors import MalformedEvent, SourceRefused, SourceUnavailable, UnsupportedEvent
from capture.events import (
    HEADER_BYTES,
    Checksum,
    EventType,
    FormatDescriptionEvent,
    check_magic,
    decode_header,
)
from capture.format_description import decode_format_description
from capture.position import BINLOG_MAGIC_BYTES, BinlogPosition, file_name
from capture.rewrite import rewrite_header
from capture.source import HEARTBEAT_PERIOD_MS, Flavour, ServerInfo, Source
from storage.scheduler import LoopScheduler, Scheduler, sleep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PIECE_BYTES = 1 << 16
"""What one `read` hands over: about 2 ms of work."""

FOLLOW_POLL_MS = 200
"""How often a file that is being written is looked at for more; the standard library has no way to be told."""

_TYPE_CODE_OFFSET = 4
_U32 = struct.Struct("<I")
_SIZE_OFFSET, _END_POSITION_OFFSET, _FLAGS_OFFSET = 9, 13, 17
_RELAY_LOG_FLAG = 0x40
"""LOG_EVENT_RELAY_LOG_F: a replica wrote this event into its relay log (5.6+)."""


class BinlogFileReader:
    """One open file: whole events from a position on. Blocking; made and used in threads."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises SourceRefused if it cannot be read, MalformedEvent, UnsupportedEvent if it is no binlog."""
        self.path = path
        self.rotated_to: str | None = None
        self.head = b""
        try:
            self._file: IO[bytes] = path.open("rb", buffering=1 << 20)
        except OSError as error:
            raise SourceRefused(f"the binlog file {path} cannot be read: {error.strerror}") from None
        try:
            check_magic(self._file.read(BINLOG_MAGIC_BYTES), str(path))
            self.head = self._read_head()
            self.format: FormatDescriptionEvent = decode_format_description(self.head)
        except (IndexError, struct.error):
            self._file.close()
            raise MalformedEvent(f"the format description of the binlog file {path} is cut short or damaged") from None
        except BaseException:
            self._file.close()
            raise

    def _read_head(self) -> bytes:
        first = self.read_piece(1)
        kind = first[0][_TYPE_CODE_OFFSET] if first else None
        if kind == EventType.START_V3:
            raise UnsupportedEvent(
                f"the binlog file {self.path} is in the format of MySQL 4.1 or older; 5.1 or later is needed"
            )
        if kind != EventType.FORMAT_DESCRIPTION:
            raise MalformedEvent(
                f"the binlog file {self.path} does not begin with a whole format description (binlog version 4)"
            )
        if first[0][_FLAGS_OFFSET] & _RELAY_LOG_FLAG:
            raise self._relay_log()
        return first[0]

    def _relay_log(self) -> UnsupportedEvent:
        return UnsupportedEvent(
            f"{self.path} is a replica's relay log: what stands in it has the positions of another server's binlog; "
            f"name that server's binlog files, or those of the replica (log_replica_updates)"
        )

    @property
    def has_checksums(self) -> bool:
        return self.format.checksum is Checksum.CRC32

    def begin(self, position: BinlogPosition, checksum: Checksum) -> list[bytes]:
        """Go to a position and return what a server sends first: ROTATE and the format description.

        `checksum` is that of the stream so far. From the middle of a file the description takes no room, as a server's.
        """
        rotate = EventEncoder(checksum=checksum).artificial_rotate(position.file, position.position)
        if position.position == BINLOG_MAGIC_BYTES:
            return [rotate, self.head]
        self._file.seek(position.position)
        return [rotate, rewrite_header(self.head, has_checksum=self.has_checksums, end_position=0)]

    def read_piece(self, size_bytes: int) -> list[bytes]:
        """The next whole events, at least `size_bytes` of them unless the file ends before."""
        events: list[bytes] = []
        while size_bytes > 0:
            header = self._file.read(HEADER_BYTES)
            size = _U32.unpack_from(header, _SIZE_OFFSET)[0] if len(header) == HEADER_BYTES else HEADER_BYTES
            if size < HEADER_BYTES:
                raise MalformedEvent(f"the binlog file {self.path} has an event of {size} bytes, less than its header")
            raw = header + self._file.read(size - HEADER_BYTES) if len(header) == HEADER_BYTES else header
            if len(raw) < size or len(header) < HEADER_BYTES:
                self._file.seek(-len(raw), 1)
                break
            size_bytes -= size
            if raw[_TYPE_CODE_OFFSET] == EventType.ROTATE and self.head:
                if not _U32.unpack_from(raw, _END_POSITION_OFFSET)[0]:
                    raise self._relay_log()
                self.rotated_to = _rotated_to(raw, self.has_checksums)
            else:
                events.append(raw)
        return events

    def rest_bytes(self) -> int:
        """Bytes behind what was read: the beginning of an event that is not whole."""
        here = self._file.tell()
        end = self._file.seek(0, 2)
        self._file.seek(here)
        return end - here

    def whole_bytes(self) -> int:
        """Where the last whole event of the file ends; what is read next is not changed."""
        here = self._file.tell()
        end, position = self._file.seek(0, 2), BINLOG_MAGIC_BYTES
        while position + HEADER_BYTES <= end:
            self._file.seek(position + _SIZE_OFFSET)
            (size,) = _U32.unpack(self._file.read(_U32.size))
            if size < HEADER_BYTES or position + size > end:
                break
            position += size
        self._file.seek(here)
        return position

    def close(self) -> None:
        self._file.close()


def _rotated_to(raw: bytes, has_checksums: bool) -> str:
    return raw[HEADER_BYTES + 8 : len(raw) - 4 * has_checksums].decode("utf-8", "surrogateescape")


async def read_info(paths: Sequence[Path], variables: Mapping[str, str] | None = None) -> ServerInfo:
    """Who wrote the files, as far as the first one's format description says and `variables` of the server add."""
    names = binlog_names(paths)
    reader = await _opened(paths[0])
    reader.close()
    version = reader.format.server_version
    known = variables or {}
    return ServerInfo(
        version=version,
        flavour=Flavour.MARIADB if reader.format.is_mariadb else Flavour.MYSQL,
        server_id=decode_header(reader.head).server_id,
        server_uuid=None,
        lower_case_table_names=int(known.get("lower_case_table_names", "0")),
        beginning=BinlogPosition(names[0], BINLOG_MAGIC_BYTES),
        files=await asyncio.to_thread(_sizes, paths, names),
        variables=known,
    )


def _sizes(paths: Sequence[Path], names: Sequence[str]) -> tuple[BinlogFile, ...]:
    """The files as a server would list them; only the last one may end within an event."""
    sizes = [path.stat().st_size for path in paths[:-1]]
    last = BinlogFileReader(paths[-1])
    sizes.append(last.whole_bytes())
    last.close()
    return tuple(map(BinlogFile, names, sizes))


def _next_name(name: str) -> str:
    position = BinlogPosition(name, BINLOG_MAGIC_BYTES)
    return file_name(position.base, position.number + 1)


async def _opened(path: Path) -> BinlogFileReader:
    """Open a file in a thread; one that is open only after its opener was cancelled is closed again."""
    opening = asyncio.get_running_loop().run_in_executor(None, BinlogFileReader, path)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)
        raise


def _close_unwanted(opening: asyncio.Future[BinlogFileReader]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class FileSource:
    """One or several binlog files, an index, or a folder; with `follow` also what is written to them later.

    `variables` are global variables of the server that wrote them, as far as they are known.
    """

    paced_heartbeats = False
    queryable = False
    heartbeat_period_ms = HEARTBEAT_PERIOD_MS

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        follow: bool = False,
        variables: Mapping[str, str] | None = None,
        scheduler: Scheduler | None = None,
    ) -> None:
        self._given = list(paths)
        self._paths: list[Path] = []
        self._names: list[str] = []
        self._variables = variables
        self._follow = follow
        self._scheduler = scheduler or LoopScheduler()
        self._reader: BinlogFileReader | None = None
        self._index = 0
        self._announced = Checksum.NONE
        self._announcement: list[bytes] = []

    @property
    def address(self) -> str:
        return f"file://{','.join(map(str, self._given))}"

    def hosts(self) -> list[Source]:
        return [self]

    def sibling(self) -> FileSource:
        return FileSource(self._given, variables=self._variables)

    async def connect(self) -> ServerInfo:
        await self._find()
        return await read_info(self._paths, self._variables)

    async def _find(self) -> None:
        self._paths = await asyncio.to_thread(find_files, self._given)
        self._names = binlog_names(self._paths)

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        raise SourceRefused(f"{self.address} are files, which answer no queries")

    async def start(self, position: BinlogPosition) -> None:
        await self.close()
        self._announced = Checksum.NONE
        if not self._paths:
            await self._find()
        if position.file not in self._names:
            raise SourceRefused(
                f"the position {position} is in none of the files of {self.address}, which go from {self._names[0]} to "
                f"{self._names[-1]}"
            )
        await self._open(self._names.index(position.file), position.position)

    async def _open(self, index: int, position: int) -> None:
        """Open a file and announce it as a server does."""
        self._index = index
        self._reader = reader = await _opened(self._paths[index])
        self._announcement = reader.begin(BinlogPosition(self._names[index], position), self._announced)
        self._announced = reader.format.checksum

    async def read(self) -> list[bytes]:
        while True:
            if self._announcement:
                announcement, self._announcement = self._announcement, []
                return announcement
            reader = self._reader
            if reader is None:
                raise SourceUnavailable(f"{self.address} is not open")
            if events := await asyncio.to_thread(reader.read_piece, PIECE_BYTES):
                return events
            if not await self._next_file(reader):
                if not self._follow:
                    return []
                await sleep(self._scheduler, FOLLOW_POLL_MS)

    async def _next_file(self, reader: BinlogFileReader) -> bool:
        """Go on with the next file, if this one has ended and there is one."""
        if self._follow and self._index + 1 == len(self._paths):
            successor = reader.path.with_name(reader.rotated_to or _next_name(self._names[-1]))
            if not await asyncio.to_thread(successor.exists):
                return False
            if late := await asyncio.to_thread(reader.read_piece, PIECE_BYTES):
                self._announcement = late  # written between the last look and the next file's beginning
                return True
            self._paths.append(successor)
            self._names.append(successor.name)
        if self._index + 1 == len(self._paths):
            self._require_whole(reader)
            return False
        self._require_whole(reader)
        reader.close()
        await self._open(self._index + 1, BINLOG_MAGIC_BYTES)
        return True

    @staticmethod
    def _require_whole(reader: BinlogFileReader) -> None:
        if rest := reader.rest_bytes():
            raise MalformedEvent(f"the binlog file {reader.path} ends {rest} bytes into an event")

    def pending(self) -> bool:
        return bool(self._announcement)

    def committed(self, position: BinlogPosition) -> None:
        """Files stay where they are."""

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        self._announcement = []
        if reader is not None:
            reader.close()
