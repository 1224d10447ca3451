"""The GTIDs committed since a segment began, as intervals, and how they are laid into position entries.

Owns the chain: every entry carries the interval extended last and a link to an entry with the one before it. Where
transactions of several sources alternate, each switch adds a link; a chain longer than twice the intervals it stands
for (and than 256) is written anew as PART entries. So recovery follows at most max(256, 2 x intervals) links, and
rewriting costs less than one entry per 128 switches.

Intervals of one key that touch are joined, on either side, so that transactions committed out of order stay few
intervals. The order is that of the last extension: the newest is the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from storage.errors import CorruptLog
from storage.log import GtidInterval, SourcePosition
from storage.positions import Kind, PositionEntry, PositionFile

CHAIN_LENGTH_MIN: Final = 256


class IntervalChain:
    """The intervals of one segment and the state of their chain on disk."""

    def __init__(self) -> None:
        self._first_by_last: dict[tuple[bytes, int], int] = {}
        """In the order of extension: the newest interval is the last."""
        self._last_by_first: dict[tuple[bytes, int], int] = {}
        self._newest: GtidInterval | None = None
        self._previous = -1
        """The entry that the newest interval's entries link to."""
        self._length = 0

    @classmethod
    def load(cls, file: PositionFile, number: int) -> IntervalChain:
        """The chain as of COMMIT `number`.

        Raises:
            CorruptLog: an entry of the chain does not verify.
        """
        chain = cls()
        entry = _linked(file, number)
        if entry.interval is None:
            return chain
        newest_first = [entry.interval]
        previous = entry.previous
        while previous >= 0:
            linked = _linked(file, previous)
            if linked.interval is not None:
                newest_first.append(linked.interval)
            if linked.previous >= previous:
                raise CorruptLog(f"{file.path}: entry {previous} links forward to {linked.previous}")
            previous = linked.previous
        for interval in reversed(_without_contained(newest_first)):
            chain._newest = chain._join(interval)
        chain._previous = entry.previous
        chain._length = len(newest_first)
        return chain

    @property
    def intervals(self) -> tuple[GtidInterval, ...]:
        """All intervals, the one extended last at the end."""
        return tuple(GtidInterval(key, first, last) for (key, last), first in self._first_by_last.items())

    def entries(
        self, positions: Sequence[SourcePosition], number: int, make: Callable[..., PositionEntry]
    ) -> list[PositionEntry]:
        """The entries of one commit, the first of which gets `number`: PARTs as needed, then the COMMIT.

        `make(kind, previous, position, interval)` fills in what they have in common.
        """
        entries: list[PositionEntry] = []
        last = positions[-1]
        is_unwritten = False
        for position in positions:
            gtid = position.gtid
            if gtid is None:
                continue
            newest = self._newest
            if newest is not None and newest.last + 1 == gtid.first and newest.key == gtid.key:
                self._newest = self._grown(newest, gtid)
                is_unwritten = True
                continue
            if is_unwritten:
                entries.append(make(Kind.PART, self._previous, last, self._newest))
            self._previous = number + len(entries) - 1 if self._newest is not None else -1
            self._newest = self._join(gtid)
            self._length += 1
            is_unwritten = True
        if self._length > max(CHAIN_LENGTH_MIN, 2 * len(self._first_by_last)):
            entries += self._rewritten(number + len(entries), last, make)
        entries.append(make(Kind.COMMIT, self._previous, last, self._newest))
        return entries

    def _grown(self, newest: GtidInterval, gtid: GtidInterval) -> GtidInterval:
        """The newest interval with the one behind it: nearly every transaction of a server is that."""
        key, last = newest.key, gtid.last
        if (key, last + 1) in self._last_by_first:
            return self._join(gtid)
        self._first_by_last.pop((key, newest.last), None)
        self._first_by_last[key, last] = newest.first
        self._last_by_first[key, newest.first] = last
        return GtidInterval(key, newest.first, last)

    def _join(self, added: GtidInterval) -> GtidInterval:
        """Add an interval, joined with those it touches; returns the joined one."""
        key, first, last = added.key, added.first, added.last
        before = self._first_by_last.pop((key, first - 1), None)
        if before is not None:
            self._last_by_first.pop((key, before), None)
            first = before
        after = self._last_by_first.pop((key, last + 1), None)
        if after is not None:
            self._first_by_last.pop((key, after), None)
            last = after
        self._first_by_last[key, last] = first
        self._last_by_first[key, first] = last
        return GtidInterval(key, first, last)

    def _rewritten(self, number: int, last: SourcePosition, make: Callable[..., PositionEntry]) -> list[PositionEntry]:
        """PART entries of all intervals but the newest, linked among themselves alone."""
        entries: list[PositionEntry] = []
        self._previous = -1
        for interval in self.intervals[:-1]:
            entries.append(make(Kind.PART, self._previous, last, interval))
            self._previous = number + len(entries) - 1
        self._length = len(entries) + 1
        return entries


def _without_contained(newest_first: list[GtidInterval]) -> list[GtidInterval]:
    """Older links may hold what a later one grew out of; intervals never shrink, so overlap means containment."""
    ages = range(len(newest_first))
    contained: set[int] = set()
    outer: GtidInterval | None = None
    outer_age = 0
    for age in sorted(ages, key=lambda age: _outermost_first(newest_first[age])):
        inner = newest_first[age]
        if outer is None or outer.key != inner.key or outer.last < inner.last:
            outer, outer_age = inner, age
        elif outer_age < age:
            contained.add(age)
    return [newest_first[age] for age in ages if age not in contained]


def _outermost_first(interval: GtidInterval) -> tuple[bytes, int, int]:
    return interval.key, interval.first, -interval.last


def _linked(file: PositionFile, number: int) -> PositionEntry:
    entry = file.entry(number)
    if entry is None:
        raise CorruptLog(f"{file.path}: entry {number}, which a later one needs, does not verify")
    return entry
