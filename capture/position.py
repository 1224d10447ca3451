"""Where the source is: binlog coordinates, GTID sets, and the snapshot that lets a log resume by itself.

A `BinlogPosition` is a file name and a byte offset in it. Storage and records carry the file's *number* (the digits
after the last dot) instead of its name; the name's stem is constant for a server's life and stands in the snapshot.

A `GtidSet` maps an opaque key to closed intervals of transaction numbers. The key is what `storage.log.GtidInterval`
carries, at most 52 bytes, told apart by its length:

    MySQL    16-byte UUID                       -> `uuid:1-7:9`
    MySQL    16-byte UUID, tag (1-32 ASCII)     -> `uuid:tag:1-7`       (tagged GTIDs, MySQL 8.3 on)
    MariaDB  8 bytes: domain, server id (u32 BE)-> `domain-server-sequence`

MySQL's sets are unions; MariaDB's position is the last transaction of each domain, so adding one there replaces it.

The snapshot (`SourceSnapshot`) is compact JSON with a version number; storage keeps it without reading it.
Invariant: every position handed to the log is a transaction boundary.
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from msgspec import Struct

from capture.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from storage.log import GtidInterval, RecoveredSource

BINLOG_MAGIC_BYTES = 4
"""Every binlog file opens with `fe 62 69 6e`; its first event starts behind that."""

_MARIADB_KEY = struct.Struct(">II")
_MARIADB_KEY_BYTES = _MARIADB_KEY.size
_SNAPSHOT_VERSION = 1


class PositionError(CaptureError):
    """A position, GTID set or snapshot that cannot be read."""


class BinlogPosition(Struct, frozen=True):
    """A byte offset (`position`) in the binlog file named `file`; `position` may exceed 32 bits."""

    file: str
    position: int

    @property
    def base(self) -> str:
        """The file name without its number: `mysql-bin` of `mysql-bin.000078`."""
        return self.file.rpartition(".")[0]

    @property
    def number(self) -> int:
        """The file's number: 78 of `mysql-bin.000078`. Raises PositionError for a name without one."""
        suffix = self.file.rpartition(".")[2]
        if not (suffix.isascii() and suffix.isdigit()) or suffix == self.file:
            raise PositionError(f"binlog file name {self.file!r} has no number after its last dot")
        return int(suffix)

    @property
    def order(self) -> tuple[int, int]:
        """The key that puts positions of one server in binlog order."""
        return self.number, self.position

    def at(self, position: int) -> BinlogPosition:
        return BinlogPosition(self.file, position)

    def __str__(self) -> str:
        return f"{self.file}:{self.position}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `file:pos`. Raises PositionError."""
        file, colon, position = text.rpartition(":")
        if not colon or not (position.isascii() and position.isdigit()):
            raise PositionError(
                f"{text!r} is not a binlog position; write it as file:position, such as mysql-bin.000078:4"
            )
        parsed = cls(file, int(position))
        if parsed.number < 0 or parsed.position < BINLOG_MAGIC_BYTES:
            raise PositionError(
                f"{text!r} is not a binlog position; the first position of a file is {BINLOG_MAGIC_BYTES}"
            )
        return parsed


def file_name(base: str, number: int) -> str:
    """The file name that MySQL makes of a stem and a number (at least six digits)."""
    return f"{base}.{number:06d}"


def mysql_key(sid: bytes, tag: str = "") -> bytes:
    """The interval key of a MySQL GTID: its 16-byte UUID, and its tag if it has one."""
    return sid + tag.encode("ascii") if tag else sid


def mariadb_key(domain: int, server_id: int) -> bytes:
    """The interval key of a MariaDB GTID."""
    return _MARIADB_KEY.pack(domain, server_id)


def is_mariadb_key(key: bytes) -> bool:
    """Whether a key is MariaDB's; the lengths of the two flavours never meet."""
    return len(key) == _MARIADB_KEY.size


def format_gtid(key: bytes, number: int) -> str:
    """One GTID as its server writes it."""
    if is_mariadb_key(key):
        domain, server_id = _MARIADB_KEY.unpack(key)
        return f"{domain}-{server_id}-{number}"
    return f"{_format_mysql_key(key)}:{number}"


def _format_mysql_key(key: bytes) -> str:
    uuid = str(UUID(bytes=key[:16]))
    return f"{uuid}:{key[16:].decode('ascii')}" if len(key) > 16 else uuid


class GtidSet(Struct):
    """A mutable GTID set of either flavour; `add` of the next number in turn costs a dict lookup and a comparison."""

    _intervals: dict[bytes, list[list[int]]] = {}

    def add(self, key: bytes, first: int, last: int | None = None) -> None:
        """Add the transactions first..last (closed; last defaults to first) of one key."""
        last = first if last is None else last
        if len(key) == _MARIADB_KEY_BYTES:
            self._replace_domain(key, last)
            return
        runs = self._intervals.get(key)
        if runs is None:
            self._intervals[key] = [[first, last]]
            return
        newest = runs[-1]
        if newest[1] + 1 == first:
            newest[1] = last
        else:
            _insert_run(runs, first, last)

    def _replace_domain(self, key: bytes, last: int) -> None:
        for other in [other for other in self._intervals if other[:4] == key[:4]]:
            del self._intervals[other]
        self._intervals[key] = [[last, last]]

    def update(self, intervals: Iterable[GtidInterval]) -> None:
        """Add what a log recovered, in the order the transactions were committed."""
        for interval in intervals:
            self.add(interval.key, interval.first, interval.last)

    def merge(self, other: GtidSet) -> None:
        """Add everything the other set has."""
        for key, runs in other._intervals.items():
            for first, last in runs:
                self.add(key, first, last)

    def contains(self, key: bytes, number: int) -> bool:
        """Whether the set has the transaction; for MariaDB, whether its domain has reached that sequence number."""
        if is_mariadb_key(key):
            return any(k[:4] == key[:4] and runs[-1][1] >= number for k, runs in self._intervals.items())
        runs = self._intervals.get(key, ())
        at = bisect_right(runs, number, key=lambda run: run[0]) - 1
        return at >= 0 and number <= runs[at][1]

    def issubset(self, other: GtidSet) -> bool:
        """Whether every transaction of this set is in the other; for MariaDB, whether no domain is ahead of it."""
        return all(
            any(mine[0] >= theirs[0] and mine[1] <= theirs[1] for theirs in other._intervals.get(key, ()))
            if not is_mariadb_key(key)
            else other.contains(key, mine[1])
            for key, runs in self._intervals.items()
            for mine in runs
        )

    def intersects(self, other: GtidSet) -> bool:
        """Whether the two MySQL sets have a transaction in common."""
        return any(
            mine[0] <= theirs[1] and theirs[0] <= mine[1]
            for key, runs in self._intervals.items()
            for mine in runs
            for theirs in other._intervals.get(key, ())
        )

    def minus(self, other: GtidSet) -> GtidSet:
        """The transactions of this MySQL set that are not in the other."""
        rest = GtidSet()
        for key, runs in self._intervals.items():
            for first, last in runs:
                for cut_first, cut_last in other._intervals.get(key, ()):
                    if cut_last < first or cut_first > last:
                        continue
                    if cut_first > first:
                        rest.add(key, first, cut_first - 1)
                    first = cut_last + 1
                if first <= last:
                    rest.add(key, first, last)
        return rest

    def of_server(self, sid: bytes) -> GtidSet:
        """The MySQL transactions that the server with this UUID was the first to execute, whatever their tags."""
        return GtidSet({key: [list(run) for run in runs] for key, runs in self._intervals.items() if key[:16] == sid})

    def last(self) -> Iterator[tuple[bytes, int]]:
        """The last transaction of each key."""
        return ((key, runs[-1][1]) for key, runs in self._intervals.items())

    def copy(self) -> GtidSet:
        return GtidSet({key: [list(run) for run in runs] for key, runs in self._intervals.items()})

    def __bool__(self) -> bool:
        return bool(self._intervals)

    def __str__(self) -> str:
        """The set as its server writes it, UUIDs in order, without line breaks."""
        return ",".join(_format_runs(key, runs) for key, runs in sorted(self._intervals.items()))

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Read a set of either flavour, as the server or a person writes it. Raises PositionError."""
        parsed = cls()
        for part in "".join(text.split()).split(","):
            if part:
                try:
                    _parse_part(parsed, part)
                except (ValueError, IndexError, struct.error) as error:
                    raise PositionError(
                        f"{part!r} is not a GTID set; write uuid:1-7 (MySQL) or 0-1-7 (MariaDB)"
                    ) from error
        return parsed


def _insert_run(runs: list[list[int]], first: int, last: int) -> None:
    """Merge first..last into sorted, disjoint, non-adjacent runs."""
    touching = [run for run in runs if run[0] <= last + 1 and first <= run[1] + 1]
    if touching:
        first, last = min(first, touching[0][0]), max(last, touching[-1][1])
    runs[:] = sorted([run for run in runs if run not in touching] + [[first, last]])


def _format_runs(key: bytes, runs: list[list[int]]) -> str:
    if is_mariadb_key(key):
        return format_gtid(key, runs[-1][1])
    text = ":".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"{_format_mysql_key(key)}:{text}"


def _parse_part(into: GtidSet, part: str) -> None:
    head, *rest = part.split(":")
    if not rest:
        domain, server_id, sequence = (int(number) for number in head.split("-"))
        into.add(mariadb_key(domain, server_id), sequence)
        return
    key = sid = UUID(head).bytes
    for piece in rest:
        if piece[0].isdigit():
            first, _, last = piece.partition("-")
            if not 1 <= int(first) <= int(last or first):
                raise ValueError(piece)
            into.add(key, int(first), int(last or first))
        elif len(piece) <= 32 and piece.isascii():
            key = mysql_key(sid, piece.lower())
        else:
            raise ValueError(piece)


class SourceSnapshot(Struct, frozen=True):
    """What a segment keeps of the source, so that a log alone says where to resume and on which server."""

    flavour: str
    server_uuid: str | None
    server_id: int
    base: str
    gtid_set: str

    def to_bytes(self) -> bytes:
        content = {
            "version": _SNAPSHOT_VERSION,
            "flavour": self.flavour,
            "server_uuid": self.server_uuid,
            "server_id": self.server_id,
            "base": self.base,
            "gtid_set": self.gtid_set,
        }
        return json.dumps(content, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a snapshot. Raises PositionError."""
        try:
            content: dict[str, Any] = json.loads(data)
            if content.pop("version") != _SNAPSHOT_VERSION:
                raise PositionError("the log's source snapshot was written by a newer version; upgrade to read it")
            return cls(**content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PositionError(f"the log's source snapshot cannot be read: {error}") from error


class ResumePoint(Struct, frozen=True):
    """Where the stream goes on: the boundary behind the last visible record, and all transactions up to it."""

    position: BinlogPosition
    gtid_set: GtidSet
    server_uuid: str | None = None
    server_id: int | None = None
    flavour: str | None = None
    taken_over: GtidSet | None = None
    """What had been captured from another server when this one took over: if it comes here, it is passed over."""

    @property
    def server(self) -> tuple[str | None, str | int | None]:
        """Which server the position is on; where there is no uuid the id has to do."""
        return self.flavour, self.server_uuid or self.server_id

    @classmethod
    def from_recovered(cls, recovered: RecoveredSource) -> ResumePoint:
        """Put together what the log recovered: the last segment's snapshot and the intervals behind it."""
        snapshot = SourceSnapshot.from_bytes(recovered.snapshot)
        gtid_set = GtidSet.parse(snapshot.gtid_set)
        gtid_set.update(recovered.intervals)
        position = BinlogPosition(file_name(snapshot.base, recovered.file_number), recovered.position)
        return cls(position, gtid_set, snapshot.server_uuid, snapshot.server_id, snapshot.flavour)

    def to_json(self) -> str:
        """The catalog's form of a resolved start."""
        content = {
            "file": self.position.file,
            "position": self.position.position,
            "gtid_set": str(self.gtid_set),
            "server_uuid": self.server_uuid,
            "server_id": self.server_id,
            "flavour": self.flavour,
        }
        if self.taken_over is not None:
            content["taken_over"] = str(self.taken_over)
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | None) -> ResumePoint | None:
        """Read what `to_json` wrote; None for None. Raises PositionError."""
        if text is None:
            return None
        try:
            content: dict[str, Any] = json.loads(text)
            position = BinlogPosition(content.pop("file"), content.pop("position"))
            taken_over = content.pop("taken_over", None)
            if taken_over is not None:
                content["taken_over"] = GtidSet.parse(taken_over)
            return cls(position, GtidSet.parse(content.pop("gtid_set")), **content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PositionError(f"the channel's start in the catalog cannot be read: {error}") from error
