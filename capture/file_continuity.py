"""Whether the files of a stream are those that were captured: told from others of the same name, and without a hole.

A server whose binlog was reset counts its files from 1 again, and where it has no GTIDs (MySQL 5.6 without them, 5.5)
nothing but time tells the new `binlog.000001` from the old once it has grown beyond the position. Every file begins
with a format description, whose header keeps the second it was written in, also when a dump sends it again from the
middle. It is kept in the catalog's settings from the first sight of a file on, before anything of it is visible:

    binlog_files:<channel>   {"server": uuid or id, "began_s": {"<file number>": seconds, …}}, the last FILES_KEPT

A channel without one is of an earlier version: nothing is known of its file, and nothing is refused.

A server whose binlog is reset under a dump (MySQL 5.6, MariaDB) sends the deleted file to its end and goes on in the
second file of the new count: what is in the first is never sent. Such a file ends without a ROTATE, as does one that
ended by a crash; of this one the server still has just as much as was read.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from capture.errors import NEW_CHANNEL, SourceRefused
from capture.events import FormatDescriptionEvent, RotateEvent
from capture.start import binlog_files

if TYPE_CHECKING:
    from capture.position import BinlogPosition
    from capture.source import ServerInfo, Source
    from capture.transactions import BinlogWalker, Step
    from storage.catalog import Catalog

FILES_KEPT = 16
"""A loss of power takes the log back to what was flushed: by less than this many files."""

_SETTING = "binlog_files:"


ENCRYPTION_HEADER_BYTES = 512
"""What MySQL 8.0.14 adds in front of an encrypted file, and counts in SHOW BINARY LOGS."""


class FileContinuity:
    """Of one channel's session. Sources that are no server are not asked: they can play one file many times."""

    def __init__(self, catalog: Catalog, channel_id: str, info: ServerInfo, source: Source) -> None:
        self._catalog = catalog
        self._setting = _SETTING + channel_id
        self._server = str(info.server_uuid or info.server_id)
        self._source = source
        self._began_s: dict[int, int] | None = None

    async def check(self, walker: BinlogWalker, step: Step) -> None:
        """Note when the file that `step` opens began, or compare.

        Raises SourceRefused if it is another file, or if the one before it was.
        """
        if not self._source.queryable:
            return
        left = walker.left
        if isinstance(step.event, RotateEvent) and step.header.is_artificial and walker.number != left.number:
            await self._require_end(left)
        began_s = step.header.timestamp
        if began_s and isinstance(step.event, FormatDescriptionEvent):
            await self._require_time(walker, began_s)

    async def _require_end(self, end: BinlogPosition) -> None:
        for file in await binlog_files(self._source):
            if file.name == end.file and file.size_bytes - end.position not in (0, ENCRYPTION_HEADER_BYTES):
                raise SourceRefused(
                    f"the binlog file {end.file} of {self._source.address} was read to {end.position} and has "
                    f"{file.size_bytes} bytes: the binlog was reset meanwhile, and what the new file holds was not "
                    f"sent; {NEW_CHANNEL}"
                )

    async def _require_time(self, walker: BinlogWalker, began_s: int) -> None:
        if self._began_s is None:
            self._began_s = _read(await self._catalog.run(self._catalog.setting, self._setting), self._server)
        known_s = self._began_s.get(walker.number)
        if known_s is None:
            self._began_s[walker.number] = began_s
            kept = dict(sorted(self._began_s.items())[-FILES_KEPT:])
            text = json.dumps({"server": self._server, "began_s": kept}, separators=(",", ":"))
            await self._catalog.run(self._catalog.set_setting, self._setting, text)
        elif known_s != began_s:
            raise SourceRefused(
                f"the binlog file {walker.file} of {self._source.address} began at {_shown(began_s)}, the one that was "
                f"captured at {_shown(known_s)}: its binlog was reset, or is another server's; {NEW_CHANNEL}"
            )


def forget_files(catalog: Catalog, channel_id: str) -> None:
    """For a channel that begins: an earlier one of the same id may have known other files."""
    if catalog.setting(_SETTING + channel_id) is not None:
        catalog.set_setting(_SETTING + channel_id, "")


def _read(text: str | None, server: str) -> dict[int, int]:
    """What is kept for this server; nothing if it was another one's."""
    content: dict[str, Any] = json.loads(text) if text else {}
    if content.get("server") != server:
        return {}
    return {int(number): int(began_s) for number, began_s in content["began_s"].items()}


def _shown(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat().replace("+00:00", "Z")
