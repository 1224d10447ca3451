"""Whether a source is the one a position came from, still has it, and still has everything before it.

Proven before anything is streamed; otherwise the channel stops with the numbers, never with a silent jump.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capture.errors import NEW_CHANNEL, SourceRefused
from capture.position import GtidSet, is_mariadb_key
from capture.source import Flavour
from capture.start import binlog_files, current_end, gtid_set_at, mariadb_set_at, require_position

if TYPE_CHECKING:
    from capture.position import ResumePoint
    from capture.source import ServerInfo, Source
    from capture.transactions import Gtid


class Recaptured:
    """Tells the transactions of a stream that were captured before it began.

    Where another server took over they may come in another order than on the first, and are passed over. On the server
    they came from they cannot come again: numbers that are given anew are those of a binlog that was reset or restored.
    """

    def __init__(self, source: Source, resume: ResumePoint) -> None:
        self._address = source.address
        self._captured = resume.gtid_set.copy() if source.queryable else GtidSet()
        self._taken_over = resume.taken_over or GtidSet()

    def __call__(self, gtid: Gtid | None) -> bool:
        """Whether the transaction is to be passed over. Raises SourceRefused if it cannot be the one captured."""
        if gtid is None:
            return False
        if self._taken_over and self._taken_over.contains(gtid.key, gtid.number):
            return True
        if not is_mariadb_key(gtid.key) and self._captured.contains(gtid.key, gtid.number):
            raise SourceRefused(
                f"the transaction {gtid.text} was captured before and comes again: the binlog of {self._address} was "
                f"reset, or restored from a backup, and its numbers are given anew; {NEW_CHANNEL}"
            )
        return False


async def require_same_source(source: Source, info: ServerInfo, point: ResumePoint) -> None:
    """Prove that the source is the one `point` came from and can go on from there. Raises SourceRefused."""
    if not is_same_server(info, point):
        raise SourceRefused(
            f"{source.address} is another server than the one this channel captured: it is "
            f"{_identity(info.flavour, info.server_uuid, info.server_id)}, it was "
            f"{_identity(point.flavour, point.server_uuid, point.server_id)}; a channel stays with its server, unless "
            f"the source's address names several hosts that replicate with GTIDs; {NEW_CHANNEL}"
        )
    if not source.queryable:
        return
    require_position(source, await binlog_files(source), point.position)
    if info.flavour is Flavour.MARIADB:
        await _require_mariadb_set(source, point)
    else:
        await _require_executed(source, info, point)


def is_same_server(info: ServerInfo, point: ResumePoint) -> bool:
    """Whether positions of `point` are positions there."""
    return point.flavour == info.flavour and point.server_uuid == info.server_uuid and not _other_id(info, point)


def _other_id(info: ServerInfo, point: ResumePoint) -> bool:
    """Without a uuid the server id has to do."""
    return info.server_uuid is None and point.server_id != info.server_id


def _identity(flavour: str | None, server_uuid: str | None, server_id: int | None) -> str:
    return f"{flavour} {server_uuid}" if server_uuid else f"{flavour} with server_id {server_id}"


async def _require_mariadb_set(source: Source, point: ResumePoint) -> None:
    """MariaDB has no uuid: the GTIDs before a position tell one binlog from another."""
    found = await mariadb_set_at(source, point.position)
    if found is None or (point.taken_over is not None and found.issubset(point.gtid_set)):
        return  # a server that took over may have some of what was captured behind this position
    if point.gtid_set and str(found) != str(point.gtid_set):
        raise SourceRefused(
            f"{source.address} is another server than the one this channel captured, or its binlog was reset: at "
            f"{point.position} it has the GTIDs {found}, captured were {point.gtid_set}; {NEW_CHANNEL}"
        )


async def _require_executed(source: Source, info: ServerInfo, point: ResumePoint) -> None:
    """A server that lost transactions it once had was restored from a backup: positions mean something else now.

    One that waits for a semi-synchronous replica stands in the binlog, and was captured, before it counts as executed.
    """
    _, executed = await current_end(source, info)
    lost = point.gtid_set.minus(executed)
    if lost:
        lost = lost.minus(await gtid_set_at(source, info, point.position) or GtidSet())
    if lost:
        raise SourceRefused(
            f"{source.address} has lost the transactions {lost} that this channel captured from it, as after a restore "
            f"from a backup; {NEW_CHANNEL}"
        )
