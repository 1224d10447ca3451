"""The log as the rest of Binwire sees it: an interface, so that another home than files stays possible.

Owns the words between the floors: what capture may do with a log (`Log`), what the broker may do (`LogReader`), and
the values that pass between them. Knows nothing of files; `storage.segment_log.SegmentLog` is the default home.

Offsets and visibility, the invariant everything rests on:

    log_start_offset <= high_watermark <= end_offset
    [log_start_offset, high_watermark)   visible: served, never changed, never reused
    [high_watermark, end_offset)         appended, invisible: one transaction in progress, dropped by rollback or crash

Offsets grow; a gap in them is legal (an offset that was served and then lost with the machine's power is not reused).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from msgspec import Struct

T = TypeVar("T")

GTID_KEY_BYTES_MAX: Final = 52
"""A source UUID (16 bytes) and a tag (at most 32 characters) with room for their framing."""


class GtidInterval(Struct, frozen=True):
    """Transactions `first` to `last`, both included, of one sequence named by `key` (opaque to the store)."""

    key: bytes
    first: int
    last: int


class SourcePosition(Struct, frozen=True):
    """Where the source stands after one transaction: binlog file number, byte position behind it, its GTID if any."""

    file_number: int
    position: int
    gtid: GtidInterval | None = None


class RecoveredSource(Struct, frozen=True):
    """Where capture goes on: the position of the last visible record.

    `snapshot` is what capture gave when the segment of that record began; `intervals` are the GTIDs committed since
    then, joined where they touch, the most recently extended one last. `timestamp_ms` is the Kafka timestamp of the
    last visible record, -1 if there is none.
    """

    snapshot: bytes
    file_number: int
    position: int
    intervals: tuple[GtidInterval, ...]
    timestamp_ms: int


class NotResident(Exception):
    """What was asked for lies on the medium and not in memory: reading it here and now would hold the event loop.

    No error: await `bring_in()` and ask again, as `resident` does. It ends when the reading has, well or not; what
    failed is raised by the next asking. What it gives is a hold on what was read: kept until there is an answer, it
    sees to it that no reading is asked for twice, however long another one takes.
    """

    def __init__(self, bring_in: Callable[[], Awaitable[object]]) -> None:
        super().__init__("the bytes asked for are not in memory")
        self.bring_in = bring_in


async def resident(ask: Callable[[], T]) -> T:
    """Ask, as often as it takes, with what is not in memory brought there in between."""
    holds = []
    while True:
        try:
            return ask()
        except NotResident as cold:
            bring_in = cold.bring_in
        holds.append(await bring_in())


class LogSlice:
    """Whole record batches, as the bytes that lie in the log; valid until closed.

    The view itself is the lease: the mapping under it lives until the last view of it is gone, so a transport that
    still holds a part of a closed slice keeps its bytes. When a slice is made its bytes are in memory; the system may
    take them out while a slow client reads, so who comes back to them later asks `require` first.
    """

    __slots__ = ("_require", "view")

    def __init__(self, view: memoryview, require: Callable[[int, int], None] | None = None) -> None:
        self.view = view
        self._require = require

    def require(self, start: int, end: int) -> None:
        """Return if the bytes `start` to `end` of the view may be touched without waiting for the medium.

        Raises:
            NotResident: not yet.
            LogReadError: the medium does not give them back.
            CorruptLog: what it gives back is not what was written.
        """
        if self._require is not None:
            self._require(start, end)

    def __len__(self) -> int:
        return self.view.nbytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the lease; closing twice is harmless."""
        view, self.view = self.view, _NOTHING
        self._require = None
        if view is not _NOTHING:
            try:
                view.release()
            except BufferError:
                # Somebody sends from a part of this view still; its last reference ends the lease.
                return


_NOTHING: Final = memoryview(b"")
EMPTY_SLICE: Final = LogSlice(_NOTHING)


class LogReader(Protocol):
    """What the broker may do. All calls are made on the event loop's thread.

    `read`, `size_between`, `offset_for_timestamp` and the two timestamps raise `NotResident` rather than wait for the
    medium, if the log was told to, and then `LogReadError` if that fails.
    """

    @property
    def topic(self) -> str: ...

    @property
    def log_start_offset(self) -> int:
        """The lowest offset that may be read."""
        ...

    @property
    def high_watermark(self) -> int:
        """The first offset that is not visible yet; never goes back."""
        ...

    @property
    def log_start_timestamp_ms(self) -> int | None:
        """Kafka timestamp of the first visible record, None if there is none."""
        ...

    @property
    def last_timestamp_ms(self) -> int | None:
        """Kafka timestamp of the last visible record, None if there is none."""
        ...

    def read(self, offset: int, max_bytes: int, *, at_least_one: bool = True) -> LogSlice:
        """Whole visible batches, the first of which holds `offset` or follows it, at most `max_bytes` together.

        With `at_least_one` the first batch comes even if it alone is larger. Empty if nothing is visible from
        `offset` on. A slice ends at the end of a segment file although more may be visible, and may end where what
        follows is not in memory, not verified yet, or damaged.

        Raises:
            OffsetOutOfRange: `offset` lies outside [log_start_offset, high_watermark].
            CorruptLog: the batch at `offset` is not what was written; its bytes are not served.
        """
        ...

    def size_between(self, offset: int, max_bytes: int) -> int:
        """Visible bytes from the batch that holds or follows `offset`, counted up to `max_bytes`.

        At a segment's end this may be more than one `read` gives: there is more to answer with, so that a fetch
        that waits for min_bytes has no reason to wait.

        Raises:
            OffsetOutOfRange: `offset` lies outside [log_start_offset, high_watermark].
        """
        ...

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        """The lowest visible offset whose timestamp is at or after `timestamp_ms`, and that record's timestamp."""
        ...

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called once per publish, on the loop; it must not raise. Returns what ends that."""
        ...


class Log(LogReader, Protocol):
    """What capture may do, beside reading."""

    @property
    def directory(self) -> Path:
        """Where what must be kept beside the log is kept: it is copied, moved and deleted with it."""
        ...

    @property
    def durable_offset(self) -> int:
        """Everything below was flushed."""
        ...

    @property
    def end_offset(self) -> int:
        """The offset that the next batch must start at."""
        ...

    @property
    def recovered(self) -> RecoveredSource | None:
        """The source position of the last visible record at this moment, None for a log without any."""
        ...

    def attach(self, snapshot: Callable[[], bytes]) -> None:
        """Name the source of snapshots, asked whenever a segment begins, before the first append.

        A snapshot describes the source as of the last `commit`: everything needed, with the positions that follow,
        to resume. It may be asked inside a transaction.
        """
        ...

    def roll(self) -> None:
        """Begin a new segment with the next append, so that its snapshot is asked: a new server or base name.

        Positions are committed to no older segment from then on, also when that append is rolled back.
        """
        ...

    def append(self, batch: bytes | Sequence[bytes]) -> None:
        """Write batches, the first of which starts at `end_offset`; they stay invisible.

        Raises:
            LogWriteError: nothing of the call remains; roll back and resume at `recovered`.
        """
        ...

    def commit(self, positions: Sequence[SourcePosition]) -> None:
        """Write the positions of the transactions completed since the last commit, oldest first, then publish.

        Everything appended becomes visible at once and subscribers are woken; with `flush_before_visible` that
        happens when it is durable, which may be after this call. Without new records only the position moves.

        Raises:
            LogWriteError: nothing was published; roll back and resume at `recovered`.
        """
        ...

    def rollback(self) -> None:
        """Drop what was appended and not committed.

        After a write that the system refused this tries whether it would still refuse it.

        Raises:
            LogWriteError: the log cannot be written yet; it stays readable, call again later.
        """
        ...

    async def settle(self) -> None:
        """Wait while more is unflushed than the log has room for; what ends the waiting otherwise, a write raises."""
        ...

    async def flushed(self) -> None:
        """Wait until everything committed is durable.

        Raises:
            LogWriteError: it cannot be flushed; roll back and resume at `recovered`.
        """
        ...

    async def shown(self) -> None:
        """Wait until everything committed is visible.

        Raises:
            LogWriteError: it cannot be flushed; roll back and resume at `recovered`.
        """
        ...
