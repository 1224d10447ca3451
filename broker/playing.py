"""Recordings played: their records in the order and, if wanted, at the pace in which they came.

Times are moved so that the recording happens now: at a pace it begins now, at full speed it ends now and its times keep
their distances. Moved are sourceTimestamp and bornTimestamp and what the tags say of times; values of columns, ids,
positions and all else stay as recorded. What is written at once is a piece: a transaction, or less of a large one; at
full speed several.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct

from broker.capturing import ReadyRecord, record_encoder, record_reader
from broker.recording import Recording, RecordingError, Tracker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from storage.clock import Clock

PIECE_BYTES: Final = 256 << 10
PIECE_RECORDS: Final = 500
"""Some 50 ms of work for a thread."""

_READ_TAG: Final = "readerThroughoutTime"
_COMMIT_TAG: Final = "commitTimestamp"
_LIVE_MS: Final = 2_000
"""Who reads a binlog as it is written reads an event so soon: the time of the reading tells it better than seconds."""


class Times(Struct, frozen=True):
    """Recorded times to those of the play: `origin_s` becomes `base_s`, and what lies between takes `1 / speed`."""

    base_s: int
    origin_s: int
    speed: float

    def moved_s(self, time_s: int) -> int:
        return self.base_s + int((time_s - self.origin_s) / self.speed)

    def moved_ms(self, time_ms: int) -> int:
        return self.base_s * 1000 + int((time_ms - self.origin_s * 1000) / self.speed)


class Piece(NamedTuple):
    """Records that are written at once, and when they came, in ms since the recording's first second."""

    came_ms: int
    records: list[ReadyRecord]


def bounds_s(recording: Recording) -> tuple[int, int]:
    """The earliest and the latest time in a recording, read all through if it does not say so. RecordingError if there
    is no record.
    """
    facts = recording.facts
    if facts.first_timestamp_s is None or facts.last_timestamp_s is None:
        with Recording(recording.path) as again:
            times = [fields["sourceTimestamp"] for _, fields in again.records(record_reader())]
        if not times:
            raise RecordingError(f"{recording.path} has no record")
        return min(times), max(times)
    return facts.first_timestamp_s, facts.last_timestamp_s


def pieces(recording: Recording, origin_s: int, times: Times | None, *, by_transaction: bool) -> Iterator[Piece]:
    """The whole recording, with its times moved by `times`; takes time, for a thread."""
    encode, tracker = record_encoder(), Tracker()
    piece: list[ReadyRecord] = []
    size = came_ms = 0
    for value, record in recording.records(record_reader()):
        came_ms = max(came_ms, _came_ms(record) - origin_s * 1000)
        if times is not None:
            _move(record, times)
            value = encode(record)
        piece.append(ReadyRecord(record["id"], value, record["sourceTimestamp"] * 1000))
        size += len(value)
        ends = tracker.ends(record["operation"])
        if (ends and by_transaction) or size >= PIECE_BYTES or len(piece) >= PIECE_RECORDS:
            yield Piece(came_ms, piece)
            piece, size = [], 0
    if piece:
        yield Piece(came_ms, piece)


async def play(
    recording: Recording,
    write: Callable[[Sequence[ReadyRecord]], Awaitable[object]],
    pause: Callable[[int], Awaitable[object]],
    clock: Clock,
    *,
    speed: float | None,
    moves_times: bool,
) -> int:
    """Write a recording piece by piece, and how many records it had; `pause` waits for so many ms.

    `speed` is 1.0 for the recorded pace, None for as fast as it goes. Raises RecordingError.
    """
    first_s, last_s = await asyncio.to_thread(bounds_s, recording)
    start_ms = clock.now_ms()
    pace = speed or 1.0
    base_s, origin_s = (start_ms // 1000, last_s if speed is None else first_s)
    times = Times(base_s, origin_s, pace) if moves_times else None
    iterator = pieces(recording, first_s, times, by_transaction=speed is not None)
    count = 0
    while (piece := await asyncio.to_thread(next, iterator, None)) is not None:
        if speed is not None:
            due_ms = start_ms + int(piece.came_ms / speed)
            await pause(max(0, due_ms - clock.now_ms()))
        await write(piece.records)
        count += len(piece.records)
    if not count:
        raise RecordingError(f"{recording.path} has no record")
    return count


def _came_ms(record: dict[str, Any]) -> int:
    """When a record came: its time at the source, to the millisecond where whoever read it then noted it."""
    time_ms: int = record["sourceTimestamp"] * 1000
    read = record["tags"].get(_READ_TAG, "")
    if read.isascii() and read.isdecimal() and 0 <= int(read) - time_ms < _LIVE_MS:
        return int(read)
    return time_ms


def _move(record: dict[str, Any], times: Times) -> None:
    tags = record["tags"]
    for tag, moved in ((_READ_TAG, times.moved_ms), (_COMMIT_TAG, times.moved_s)):
        text = tags.get(tag, "")
        if text.isascii() and text.isdecimal():
            tags[tag] = str(moved(int(text)))
    for field in ("sourceTimestamp", "bornTimestamp"):
        record[field] = times.moved_s(record[field])
