"""Which of the hosts in a source's address a session uses, and the way from one server to another by GTID.

With one host there is no choice, and a server that is not the one captured is refused (`capture/identity.py`). With
several, the server that was captured last is looked for first. Only if no host leads to it, or it cannot go on, another
takes over, and only one that is proven to be of the same history:

    MySQL      executed there is everything captured, and purged is nothing that was not
    MariaDB    its binlog has, in every domain, the very last transaction that was captured, and from before the first
               one that was not

Positions mean nothing on another server. Capture goes on in front of the first transaction that was not captured; those
behind it that were, in another order than on the first server, are passed over by name (`ResumePoint.taken_over`).
A server that lacks what was captured is behind, which may pass, or has gone another way, which does not.

Order on disk: the log is flushed; the files of prepared XA transactions are brought to where it ends, whose places the
next server cannot compare; position, GTIDs and the definitions, which hold there as they held where the log
ends, become durable in the catalog in one transaction; then the next record begins a segment that names the new server.
Until it does, the catalog is ahead of the log, and `known_point` takes the later of the two.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec.structs import replace

from capture.errors import NEW_CHANNEL, CaptureError, SourceRefused, SourceUnavailable
from capture.identity import is_same_server, require_same_source
from capture.position import GtidSet, ResumePoint
from capture.scan import scan
from capture.source import Flavour
from capture.start import binlog_files, current_end
from capture.transactions import StepKind
from capture.two_phase import settle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from capture.binlog_files import BinlogFile
    from capture.position import BinlogPosition
    from capture.source import ServerInfo, Source
    from capture.transactions import BinlogWalker, Step
    from storage.catalog import Catalog, ChannelRow
    from storage.log import Log, RecoveredSource


def known_point(recovered: RecoveredSource | None, start: str | None) -> ResumePoint | None:
    """Where a channel stands by its log and its catalog; None for a new one.

    The catalog's start is where the log began, or where another server took over. Until that server's first record is
    in the log, the log still names the server before: same transactions, another server's position.
    """
    started = ResumePoint.from_json(start)
    if recovered is None:
        return started
    logged = ResumePoint.from_recovered(recovered)
    if started is None or started.taken_over is None:
        return logged
    if started.server == logged.server:
        is_later = started.position.order > logged.position.order
    else:
        is_later = logged.gtid_set.issubset(started.gtid_set)
    return started if is_later else replace(logged, taken_over=started.taken_over)


async def reach(source: Source, log: Log, catalog: Catalog, channel_id: str) -> tuple[Source, ServerInfo]:
    """The host to read from, connected, and who it is; with what it takes to go on there made durable.

    Raises SourceUnavailable, SourceRefused: each host with its reason.
    """
    hosts = source.hosts()
    if len(hosts) < 2:
        return source, await source.connect()
    row = next(row for row in await catalog.run(catalog.channels) if row.id == channel_id)
    try:
        known = known_point(log.recovered, row.start)
        chosen, info, point = await _choose(source, hosts, known)
        if known is not None and point is not None:
            await log.flushed()
            await asyncio.to_thread(settle, log, known)
            await catalog.run(_take_over, catalog, row, known, point)
    except BaseException:
        for host in hosts:
            await host.close()
        raise
    for host in hosts:
        if host is not chosen:
            await host.close()
    return chosen, info


async def rehearse(source: Source, known: ResumePoint) -> tuple[str, BinlogPosition]:
    """The host a session would use and where it would go on, with nothing changed. Raises as `reach` does."""
    hosts = source.hosts()
    try:
        chosen, _, point = await _choose(source, hosts, known)
        return chosen.address, (point or known).position
    finally:
        for host in hosts:
            await host.close()


def _take_over(catalog: Catalog, row: ChannelRow, before: ResumePoint, point: ResumePoint) -> None:
    """Have the definitions where the log ends hold at `point`, and the channel start there."""
    moved = replace(row, start=point.to_json())
    if catalog.has_lost_definitions(row.id):
        catalog.put_channel(moved)
        return
    catalog.drop_schema_versions_after(row.id, *before.position.order)
    number, position = point.position.order
    newest = catalog.newest_schema_versions(row.id)
    versions = [replace(version, file_number=number, position=position) for version in newest]
    catalog.renew_definitions(moved, [version for version in versions if version.definition is not None])


# ---- which host ----


async def _choose(
    source: Source, hosts: list[Source], known: ResumePoint | None
) -> tuple[Source, ServerInfo, ResumePoint | None]:
    """The host, who it is, and the point at which it takes over from another."""
    failures: list[CaptureError] = []
    others: list[tuple[Source, ServerInfo]] = []
    for host in hosts:
        try:
            info = await host.connect()
            if known is not None and not is_same_server(info, known):
                others.append((host, info))
                continue
            if known is not None:
                await require_same_source(host, info, known)
        except (SourceUnavailable, SourceRefused) as error:
            failures.append(error)
        else:
            return host, info, None
    for host, info in others:
        assert known is not None
        try:
            return host, info, await point_on(host, info, known)
        except (SourceUnavailable, SourceRefused) as error:
            failures.append(error)
    raise _none_can(source, failures)


def _none_can(source: Source, failures: list[CaptureError]) -> CaptureError:
    """One sentence for all hosts; tried again if that may help with one of them."""
    reasons = "; ".join(dict.fromkeys(str(failure).removesuffix(f"; {NEW_CHANNEL}") for failure in failures))
    if any(isinstance(failure, SourceUnavailable) for failure in failures):
        return SourceUnavailable(f"none of the hosts of {source.address} can go on: {reasons}")
    return SourceRefused(f"none of the hosts of {source.address} can go on: {reasons}; {NEW_CHANNEL}")


# ---- the same history on another server ----


async def point_on(source: Source, info: ServerInfo, known: ResumePoint) -> ResumePoint:
    """Where another server goes on from `known`. Raises SourceUnavailable if it is behind, SourceRefused."""
    captured = known.gtid_set
    if info.flavour != known.flavour:
        raise _unproven(source, f"it is {info.flavour}, captured was {known.flavour}")
    if not captured:
        raise _unproven(source, "no transaction that was captured had a GTID")
    if info.flavour is Flavour.MARIADB:
        position, recaptured = await _mariadb_position(source, info, captured)
    else:
        position, recaptured = await _mysql_position(source, info, captured), captured
    return ResumePoint(position, captured, info.server_uuid, info.server_id, info.flavour, recaptured)


def _unproven(source: Source, why: str) -> SourceRefused:
    return SourceRefused(
        f"nothing proves that {source.address} has the history of the server this channel captured: {why}; "
        f"{NEW_CHANNEL}"
    )


def _diverged(source: Source, lacking: str, own: str) -> SourceRefused:
    return SourceRefused(
        f"{source.address} has gone another way than the server this channel captured: it lacks {lacking}, which were "
        f"captured, and has {own}; {NEW_CHANNEL}"
    )


def _behind(source: Source, lacking: str) -> SourceUnavailable:
    return SourceUnavailable(f"{source.address} does not have {lacking} yet, which were captured")


def _gap(source: Source, purged: str) -> SourceRefused:
    return SourceRefused(
        f"{source.address} has purged {purged} from its binlog, which were not captured: they would be lost to this "
        f"channel; {NEW_CHANNEL}"
    )


async def _mysql_position(source: Source, info: ServerInfo, captured: GtidSet) -> BinlogPosition:
    if info.variables.get("gtid_mode") != "ON":
        raise _unproven(source, f"its gtid_mode is {info.variables.get('gtid_mode', 'OFF')}")
    rows = await source.query("SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged")
    executed, purged = (GtidSet.parse(text or "") for text in rows[0])
    if lacking := captured.minus(executed):
        own = executed.of_server(UUID(info.server_uuid).bytes).minus(captured) if info.server_uuid else GtidSet()
        raise _diverged(source, str(lacking), f"{own} of its own") if own else _behind(source, str(lacking))
    if missed := purged.minus(captured):
        raise _gap(source, str(missed))
    end, _ = await current_end(source, info)
    for file in reversed(await binlog_files(source)):
        before = await head_set(source, info, file)
        if before is not None and before.issubset(captured):
            return await _first_uncaptured(source, info, file, end, captured)
    raise _unproven(source, "none of its binlog files begins before the end of what was captured")


async def head_set(source: Source, info: ServerInfo, file: BinlogFile) -> GtidSet | None:
    """The GTID set at a file's head, None if it names none."""
    async with aclosing(scan(source, info, file.beginning, file.end)) as steps:
        async for walker, step in steps:
            if walker.previous_gtids is not None:
                return walker.previous_gtids
            if not step.ends_transaction:
                break
    return None


async def _first_uncaptured(
    source: Source, info: ServerInfo, file: BinlogFile, end: BinlogPosition, captured: GtidSet
) -> BinlogPosition:
    boundary = file.beginning
    async with aclosing(scan(source, info, file.beginning, end)) as steps:
        async for walker, step in steps:
            if walker.gtid is not None and not captured.contains(walker.gtid.key, walker.gtid.number):
                break
            _require_named(source, walker, step)
            boundary = walker.position
    return boundary


_CAPTURED = frozenset({StepKind.COMMIT, StepKind.STATEMENT, StepKind.PREPARE, StepKind.XA_COMMIT})


def _require_named(source: Source, walker: BinlogWalker, step: Step) -> None:
    """Whether a transaction without a GTID was captured from the other server nobody can tell."""
    if step.ends_transaction and walker.gtid is None and step.kind in _CAPTURED:
        raise _unproven(source, f"its binlog has a transaction without a GTID at {walker.file}:{step.start}")


# ---- MariaDB ----


async def _mariadb_position(source: Source, info: ServerInfo, captured: GtidSet) -> tuple[BinlogPosition, GtidSet]:
    """A domain's number alone proves nothing: any server may have counted so far."""
    rows = await source.query("SELECT @@GLOBAL.gtid_binlog_pos")
    reached = GtidSet.parse(rows[0][0] or "")
    if not captured.issubset(reached):
        raise _behind(source, f"all of {captured}, and is at {reached or 'no transaction'}")
    end, _ = await current_end(source, info)
    for file in reversed(await binlog_files(source)):
        before = await head_set(source, info, file) or GtidSet()
        if before.issubset(captured):
            return await _behind_captured(source, info, file, end, captured, before)
    raise _gap(source, f"transactions behind {captured}")


async def _behind_captured(
    source: Source, info: ServerInfo, file: BinlogFile, end: BinlogPosition, captured: GtidSet, before: GtidSet
) -> tuple[BinlogPosition, GtidSet]:
    """The boundary before the first transaction that was not captured, once every domain's last one was seen; and the
    captured ones of the domains whose last one stands behind that boundary.

    Behind its last one everything of a domain is new, also what has a lower number (gtid_strict_mode=OFF).
    """
    boundary: BinlogPosition | None = None
    recaptured, gtid = GtidSet(), None
    position = file.beginning
    unseen = {domain_of(key): (key, number) for key, number in captured.last()}
    for key, number in before.last():
        if unseen.get(domain_of(key)) == (key, number):
            del unseen[domain_of(key)]
    async with aclosing(scan(source, info, file.beginning, end)) as steps:
        async for walker, step in steps:
            if walker.gtid is not None and walker.gtid is not gtid:
                gtid = walker.gtid
                domain = domain_of(gtid.key)
                if domain not in unseen or not captured.contains(gtid.key, gtid.number):
                    if boundary is None:
                        boundary, recaptured = position, _set_of(unseen.values())
                elif unseen[domain] == (gtid.key, gtid.number):
                    del unseen[domain]
            if boundary is None:
                _require_named(source, walker, step)
            elif not unseen:
                return boundary, recaptured
            position = walker.position
    if unseen:
        raise _diverged(source, str(_set_of(unseen.values())), "other transactions of these numbers")
    return boundary or position, recaptured


def _set_of(gtids: Iterable[tuple[bytes, int]]) -> GtidSet:
    found = GtidSet()
    for key, number in gtids:
        found.add(key, number)
    return found


def domain_of(key: bytes) -> bytes:
    """The first four bytes of a MariaDB key (`capture/position.py`)."""
    return key[:4]
