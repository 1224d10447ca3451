"""From what a person asks for (`start = …`) to a position in the binlog.

    now                      the binlog's end at this moment
    earliest                 the beginning of the oldest file
    2026-11-20T08:00:00Z     the first transaction at or after that time; also Unix time in seconds or milliseconds
    mysql-bin.000078:72469   that position, if it is a transaction boundary
    uuid:1-7 or 0-1-7        behind these transactions, if it has them all and none behind that point is in the set

Whatever is asked, the answer is a transaction boundary with the GTID set that goes with it, or a sentence saying why
there is none. Nothing is approximated: a time before the oldest file is refused, not moved.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from capture.binlog_files import BinlogFile
from capture.dialect import Dialect
from capture.errors import NEW_CHANNEL, SourceRefused
from capture.position import BINLOG_MAGIC_BYTES, BinlogPosition, GtidSet, PositionError, ResumePoint
from capture.scan import scan
from capture.source import Flavour, ServerRefusal
from capture.transactions import StepKind

if TYPE_CHECKING:
    from capture.source import ServerInfo, Source
    from capture.transactions import Gtid

NOW = "now"
EARLIEST = "earliest"
SECONDS_BELOW = 10**11
"""A plain number below this is seconds, from here on milliseconds (the rule of ListOffsets)."""

SCANNED_BYTES_MAX = 64 << 20
"""Up to here a file is looked through for the set at its end, which takes a second or two."""

LOOKS_MAX = 20
"""On a server that rests, nothing behind the position comes to prove anything, and nothing is under way."""

LOOK_PAUSE_MAX_MS = 32
"""All pauses between looks are half a second together."""

_STATUS_RENAMED = (8, 2, 0)
_NO_BINARY_LOGGING, _NO_SUCH_FUNCTION = 1381, 1305

_OPENS = frozenset({StepKind.BEGIN, StepKind.XA_COMMIT, StepKind.XA_ROLLBACK})
"""Steps with which a transaction begins, beside statements that are one."""


async def resolve_start(source: Source, info: ServerInfo, text: str) -> ResumePoint:
    """Find the position for `text`. Raises SourceRefused (or PositionError) with the reason if there is none."""
    if text == NOW:
        position, gtid_set = await current_end(source, info)
        return point_at(info, position, gtid_set)
    files = list(info.files) or await binlog_files(source)
    if text == EARLIEST:
        return point_at(info, files[0].beginning, await _set_before(source, info, files[0]))
    if (time_s := _time_s(text)) is not None:
        return await _at_time(source, info, files, time_s)
    if (asked := _position(text)) is not None:
        return await _at_position(source, info, files, asked)
    return await _behind_set(source, info, files, GtidSet.parse(text))


def point_at(info: ServerInfo, position: BinlogPosition, gtid_set: GtidSet) -> ResumePoint:
    """A place in this server's binlog."""
    return ResumePoint(position, gtid_set, info.server_uuid, info.server_id, info.flavour)


# ---- what the server has ----


async def current_end(source: Source, info: ServerInfo) -> tuple[BinlogPosition, GtidSet]:
    """Where the next event will be written, and all transactions before it. Raises SourceRefused if binlog is off."""
    if info.files:
        end = info.files[-1].end
        return end, await gtid_set_at(source, info, end) or GtidSet()
    rows = await source.query(status_statement(info))
    if not rows:
        raise SourceRefused(f"binary logging is off on {source.address}; set log_bin in my.cnf and restart it")
    file, position, *rest = rows[0]
    end = BinlogPosition(file or "", int(position or 0))
    if info.flavour is Flavour.MARIADB:
        return end, await mariadb_set_at(source, end) or GtidSet()
    return end, GtidSet.parse(rest[2] or "" if len(rest) > 2 else "")


def status_statement(info: ServerInfo) -> str:
    """What shows the binlog's end, the databases it is limited to, those it leaves out, and its GTID set."""
    renamed = info.flavour is Flavour.MYSQL and Dialect.of(info.version).version >= _STATUS_RENAMED
    return "SHOW BINARY LOG STATUS" if renamed else "SHOW MASTER STATUS"


async def set_before(source: Source, info: ServerInfo, position: BinlogPosition) -> GtidSet:
    """All transactions before `position`, where the binlog ended a moment ago.

    A MySQL server counts a transaction as executed a moment after it stands in the binlog: the set it tells with a
    position lacks, while it is busy, the last ones before it, and another server could never prove to have them alone.
    They are executed in the order of the binlog: once one behind the position is, all before it are.
    """
    if info.flavour is Flavour.MARIADB:
        return await mariadb_set_at(source, position) or GtidSet()
    if position.position <= SCANNED_BYTES_MAX and (exact := await gtid_set_at(source, info, position)) is not None:
        return exact
    for look in range(LOOKS_MAX):
        # A commit may wait for its disk for longer than many looks take.
        await asyncio.sleep(min((1 << look) - 1, LOOK_PAUSE_MAX_MS) / 1000)
        end, executed = await current_end(source, info)
        behind = GtidSet()
        async with aclosing(scan(source, info, position, end)) as steps:
            async for walker, step in steps:
                _collect(behind, None, walker.gtid if step.ends_transaction else None)
        if behind.intersects(executed):
            break
    return executed.minus(behind)


async def mariadb_set_at(source: Source, position: BinlogPosition) -> GtidSet | None:
    """MariaDB's GTID position at a place in its binlog, None where it cannot tell: it has GTIDs since 10.0."""
    try:
        rows = await source.query(f"SELECT BINLOG_GTID_POS('{_escape(position.file)}', {position.position})")
    except ServerRefusal as refusal:
        if refusal.code != _NO_SUCH_FUNCTION:
            raise
        return None
    found = rows[0][0]
    return None if found is None else GtidSet.parse(found)


async def binlog_files(source: Source) -> list[BinlogFile]:
    """The binlog files the server has, oldest first. Raises SourceRefused if binary logging is off."""
    try:
        rows = await source.query("SHOW BINARY LOGS")
    except ServerRefusal as refusal:
        if refusal.code != _NO_BINARY_LOGGING:
            raise
        rows = []
    if not rows:
        raise SourceRefused(f"binary logging is off on {source.address}; set log_bin in my.cnf and restart it")
    return [BinlogFile(row[0] or "", int(row[1] or 0)) for row in rows]


def require_position(source: Source, files: list[BinlogFile], position: BinlogPosition) -> BinlogFile:
    """The file to resume from. Raises SourceRefused with the numbers if the server does not have the position."""
    oldest, newest = files[0], files[-1]
    found = _holding(files, position)
    if found is not None:
        return found
    if _was_purged(files, position):
        raise SourceRefused(
            f"the binlog file {position.file} was purged from {source.address}, whose oldest is {oldest.name}: changes "
            f"since {position} are lost to this channel; {NEW_CHANNEL}, and a start that exists"
        )
    raise SourceRefused(
        f"the position {position} does not exist on {source.address}, whose binlog ends at {newest.end}: "
        f"the server lost the end of its binlog or is another server; {NEW_CHANNEL}"
    )


def _holding(files: list[BinlogFile], position: BinlogPosition) -> BinlogFile | None:
    return next((file for file in files if file.name == position.file and position.position <= file.size_bytes), None)


def _was_purged(files: list[BinlogFile], position: BinlogPosition) -> bool:
    oldest = files[0].beginning
    return position.base == oldest.base and position.number < oldest.number


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "''")


# ---- the ways to ask ----


async def _set_before(source: Source, info: ServerInfo, file: BinlogFile) -> GtidSet:
    """The GTID set that stands at a file's head."""
    end = BinlogPosition(file.name, file.size_bytes)
    async with aclosing(scan(source, info, file.beginning, end)) as steps:
        async for walker, step in steps:
            if walker.previous_gtids is not None:
                return walker.previous_gtids
            if not step.ends_transaction and step.kind is not StepKind.HEARTBEAT:
                break
    return GtidSet()


async def _at_position(
    source: Source, info: ServerInfo, files: list[BinlogFile], position: BinlogPosition
) -> ResumePoint:
    file = _holding(files, position)
    if file is None:
        raise _no_such_start(source, files, position)
    if position == file.beginning:
        return point_at(info, position, await _set_before(source, info, file))
    gtid_set = await gtid_set_at(source, info, position)
    if gtid_set is None:
        raise SourceRefused(f"the start position {position} is inside a transaction or an event; give the end of one")
    return point_at(info, position, gtid_set)


def _no_such_start(source: Source, files: list[BinlogFile], position: BinlogPosition) -> SourceRefused:
    """A position that a person mistyped or that is too old: what the server has in its place."""
    named = next((file for file in files if file.name == position.file), None)
    if named is not None:
        why = f"the file ends at {named.end}, and "
    else:
        why = "the file was purged, and " if _was_purged(files, position) else "there is no such file, and "
    return SourceRefused(
        f"the start position {position} does not exist on {source.address}: {why}the binlog goes from "
        f"{files[0].beginning} to {files[-1].end}"
    )


async def gtid_set_at(source: Source, info: ServerInfo, position: BinlogPosition) -> GtidSet | None:
    """All transactions before a position, by what the binlog says; None if it is not the boundary of one."""
    gtid_set = GtidSet()
    async with aclosing(scan(source, info, position.at(BINLOG_MAGIC_BYTES), position)) as steps:
        async for walker, step in steps:
            _collect(gtid_set, walker.previous_gtids, walker.gtid if step.ends_transaction else None)
            if walker.position == position:
                return gtid_set
    return None


async def _at_time(source: Source, info: ServerInfo, files: list[BinlogFile], time_s: int) -> ResumePoint:
    wanted = datetime.fromtimestamp(time_s, UTC).isoformat()
    if time_s * 1000 > int(datetime.now(UTC).timestamp() * 1000) + max(0, info.clock_offset_ms):
        raise SourceRefused(f"the start time {wanted} is in the future; give a time that has passed, or now")
    low, high = 0, len(files)
    while low < high:
        middle = (low + high) // 2
        if await _first_time_s(source, info, files[middle]) < time_s:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        begins = datetime.fromtimestamp(await _first_time_s(source, info, files[0]), UTC).isoformat()
        raise SourceRefused(
            f"the start time {wanted} is before the oldest binlog of {source.address}, which begins at {begins}; "
            f"start = earliest takes all there is"
        )
    return await _first_transaction_at(source, info, files[low - 1], time_s)


async def _first_time_s(source: Source, info: ServerInfo, file: BinlogFile) -> int:
    """When a file was begun: the time of its first own event."""
    async with aclosing(scan(source, info, file.beginning, BinlogPosition(file.name, file.size_bytes))) as steps:
        async for _, step in steps:
            if step.start != step.end and step.header.timestamp:
                return step.header.timestamp
    raise SourceRefused(f"the binlog file {file.name} of {source.address} has no event to tell its time from")


async def _first_transaction_at(source: Source, info: ServerInfo, file: BinlogFile, time_s: int) -> ResumePoint:
    """The boundary before the first transaction at or after a time, or the binlog's end."""
    end, _ = await current_end(source, info)
    boundary, gtid_set = file.beginning, GtidSet()
    async with aclosing(scan(source, info, file.beginning, end)) as steps:
        async for walker, step in steps:
            opens = step.kind in _OPENS or (step.kind is StepKind.STATEMENT and step.ends_transaction)
            if opens and step.header.timestamp >= time_s:
                return point_at(info, boundary, gtid_set)
            boundary = walker.position
            _collect(gtid_set, walker.previous_gtids, walker.gtid if step.ends_transaction else None)
    return point_at(info, boundary, gtid_set)


async def _behind_set(source: Source, info: ServerInfo, files: list[BinlogFile], wanted: GtidSet) -> ResumePoint:
    """The boundary before the first transaction that is not in the set; nothing behind it may be in the set."""
    end, executed = await current_end(source, info)
    if not wanted.issubset(executed):
        raise SourceRefused(
            f"the GTID set {wanted} names transactions that {source.address} does not have; its own set is "
            f"{executed or 'empty'}"
        )
    file = None
    for candidate in reversed(files):
        before = await _set_before(source, info, candidate)
        if before.issubset(wanted):
            file = candidate
            break
    if file is None:
        raise SourceRefused(
            f"the GTID set {wanted} lacks transactions that {source.address} has purged from its binlog; "
            f"start from a set that includes them, or from earliest"
        )
    return await _first_transaction_outside(source, info, file, end, wanted)


async def _first_transaction_outside(
    source: Source, info: ServerInfo, file: BinlogFile, end: BinlogPosition, wanted: GtidSet
) -> ResumePoint:
    boundary, gtid_set = file.beginning, GtidSet()
    async with aclosing(scan(source, info, file.beginning, end)) as steps:
        async for walker, step in steps:
            if walker.gtid is not None and not wanted.contains(walker.gtid.key, walker.gtid.number):
                break
            boundary = walker.position
            _collect(gtid_set, walker.previous_gtids, walker.gtid if step.ends_transaction else None)
    if info.flavour is Flavour.MYSQL and wanted.minus(gtid_set):
        raise SourceRefused(
            f"the GTID set {wanted} has a gap: behind {boundary} the binlog of {source.address} holds transactions "
            f"that are in the set and others that are not; start from a set without gaps, or from a position"
        )
    return point_at(info, boundary, gtid_set)


def _collect(into: GtidSet, previous: GtidSet | None, gtid: Gtid | None) -> None:
    """Follow the set: what the file's head says, then every transaction that ends."""
    if previous is not None and not into:
        into.merge(previous)
    if gtid is not None:
        into.add(gtid.key, gtid.number)


# ---- reading what was asked ----


def _position(text: str) -> BinlogPosition | None:
    try:
        return BinlogPosition.parse(text)
    except PositionError:
        return None


def _time_s(text: str) -> int | None:
    """Unix seconds of an ISO 8601 time (without a zone: UTC) or of a plain number; None for anything else."""
    if text.isascii() and text.isdigit():
        number = int(text)
        return number if number < SECONDS_BELOW else -(-number // 1000)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return -int(-parsed.timestamp() // 1)
