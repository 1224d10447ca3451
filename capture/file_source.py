"""Binlog files as a source: read to their end, or followed as they grow.

What comes out is what a server sends in a dump: an artificial ROTATE that names file and position, the file's format
description, then its events as they are. A file's own ROTATE is not sent; the next file is announced in the same way.

Files are named by their own names if all of them are numbered members of one binlog (`mysql-bin.000001` …); else they
are called `binlog.000001` and so on, in the order given. Reading happens in a thread: a cold page blocks nobody.
Playing files at another time is the business of `capture/replay_source.py`.
"""

from __future__ import annotations

import asyncio
import struct
from typing import IO, TYPE_CHECKING

from capture.dialect import Dialect
from capture.encode import EventEncoder
from capture.errors import MalformedEvent, SourceRefused, SourceUnavailable
from capture.events import (
    HEADER_BYTES,
    Checksum,
    EventType,
    FormatDescriptionEvent,
    check_magic,
    decode_header,
)
from capture.format_description import decode_format_description
from capture.position import BINLOG_MAGIC_BYTES, BinlogPosition, PositionError, file_name
from capture.rewrite import rewrite_header
from capture.source import HEARTBEAT_PERIOD_MS, Flavour, ServerInfo, Source
from storage.scheduler import LoopScheduler, Scheduler, sleep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PIECE_BYTES = 1 << 16
"""What one `read` hands over: about 2 ms of work."""

FOLLOW_POLL_MS = 200
"""How often a file that is being written is looked at for more; the standard library has no way to be told."""

_EXPLICIT_DEFAULTS, _EXPLICIT_DEFAULTS_MARIADB = (8, 0, 2), (10, 10, 0)
"""Versions from which explicit_defaults_for_timestamp is ON by default."""

_TYPE_CODE_OFFSET = 4
_U32 = struct.Struct("<I")
_SIZE_OFFSET = 9


class BinlogFileReader:
    """One open file: whole events from a position on. Blocking; made and used in threads."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises SourceRefused if it cannot be read, MalformedEvent, UnsupportedEvent if it is no binlog."""
        self.path = path
        self.rotated_to: str | None = None
        try:
            self._file: IO[bytes] = path.open("rb", buffering=1 << 20)
        except OSError as error:
            raise SourceRefused(f"the binlog file {path} cannot be read: {error.strerror}") from None
        try:
            check_magic(self._file.read(BINLOG_MAGIC_BYTES))
            self.head = self._read_head()
            self.format: FormatDescriptionEvent = decode_format_description(self.head)
        except BaseException:
            self._file.close()
            raise

    def _read_head(self) -> bytes:
        first = self.read_piece(1)
        if not first or first[0][_TYPE_CODE_OFFSET] != EventType.FORMAT_DESCRIPTION:
            raise MalformedEvent(
                f"the binlog file {self.path} does not begin with a format description (binlog version 4)"
            )
        return first[0]

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
            if raw[_TYPE_CODE_OFFSET] == EventType.ROTATE:
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

    def close(self) -> None:
        self._file.close()


def _rotated_to(raw: bytes, has_checksums: bool) -> str:
    return raw[HEADER_BYTES + 8 : len(raw) - 4 * has_checksums].decode("utf-8", "surrogateescape")


def binlog_names(paths: Sequence[Path]) -> list[str]:
    """What the files are called: their names if they are members of one binlog in order, else numbered from 1."""
    try:
        positions = [BinlogPosition(path.name, BINLOG_MAGIC_BYTES) for path in paths]
        numbers = [position.number for position in positions]
        if len({position.base for position in positions}) == 1 and numbers == sorted(set(numbers)):
            return [position.file for position in positions]
    except PositionError:
        pass
    return [file_name("binlog", number) for number, _ in enumerate(paths, start=1)]


async def read_info(path: Path, name: str) -> ServerInfo:
    """Who wrote a file, as far as its format description says."""
    reader = await _opened(path)
    reader.close()
    version = reader.format.server_version
    dialect = Dialect.of(version)
    explicit = dialect.version >= (_EXPLICIT_DEFAULTS_MARIADB if dialect.is_mariadb else _EXPLICIT_DEFAULTS)
    return ServerInfo(
        version=version,
        flavour=Flavour.MARIADB if reader.format.is_mariadb else Flavour.MYSQL,
        server_id=decode_header(reader.head).server_id,
        server_uuid=None,
        lower_case_table_names=0,
        beginning=BinlogPosition(name, BINLOG_MAGIC_BYTES),
        variables={"explicit_defaults_for_timestamp": "ON" if explicit else "OFF"},
    )


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
    """One or several binlog files in the order given; with `follow` also what is written to them later."""

    paced_heartbeats = False
    queryable = False
    heartbeat_period_ms = HEARTBEAT_PERIOD_MS

    def __init__(self, paths: Sequence[Path], *, follow: bool = False, scheduler: Scheduler | None = None) -> None:
        self._paths = list(paths)
        self._names = binlog_names(paths)
        self._follow = follow
        self._scheduler = scheduler or LoopScheduler()
        self._reader: BinlogFileReader | None = None
        self._index = 0
        self._announced = Checksum.NONE
        self._announcement: list[bytes] = []

    @property
    def address(self) -> str:
        return f"file://{','.join(map(str, self._paths))}"

    def hosts(self) -> list[Source]:
        return [self]

    def sibling(self) -> FileSource:
        return FileSource(self._paths)

    async def connect(self) -> ServerInfo:
        return await read_info(self._paths[0], self._names[0])

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        raise SourceRefused(f"{self.address} are files, which answer no queries")

    async def start(self, position: BinlogPosition) -> None:
        await self.close()
        self._announced = Checksum.NONE
        if position.file not in self._names:
            raise SourceRefused(f"the position {position} is in none of the files {', '.join(self._names)}")
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
        if self._follow and reader.rotated_to is not None and self._index + 1 == len(self._paths):
            successor = reader.path.with_name(reader.rotated_to)
            if not successor.exists():
                return False
            self._paths.append(successor)
            self._names.append(successor.name)
        if self._index + 1 == len(self._paths):
            if not self._follow and (rest := reader.rest_bytes()):
                raise MalformedEvent(f"the binlog file {reader.path} ends {rest} bytes into an event")
            return False
        reader.close()
        await self._open(self._index + 1, BINLOG_MAGIC_BYTES)
        return True

    def pending(self) -> bool:
        return bool(self._announcement)

    def committed(self, position: BinlogPosition) -> None:
        """Files stay where they are."""

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        self._announcement = []
        if reader is not None:
            reader.close()
