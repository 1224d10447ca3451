"""What opening a log costs does not depend on how much it holds: bytes read and files opened are counted, not timed.

Two logs, a thousand times apart in size, are made of sparse segments (bench/synthetic.py) and end with the same tail,
which the store itself appended. What is asked first of a log that was just opened is counted likewise. Counted are the
calls of `storage.files`; of a mapping that it was made, not which of its pages are touched.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from bench.synthetic import STEP_MS, Template, first_ms, write_closed_segments
from broker.channels import ServedChannel
from broker.consumption import Consumption
from broker.offsets import OffsetStore
from storage.config import LogConfig
from storage.disk_meter import HISTORY_SEGMENTS_MAX
from storage.encoding import encode_batch
from storage.segment_log import SegmentLog
from storage.state import state_path
from storage.verify import verify
from tests.fakes import ManualClock
from tests.storage.faults import CountingFiles
from tests.storage.samples import FIRST_TIME_MS, Sample, open_log, position, read_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from broker.control import ChannelView, PrecheckItem

SEGMENT_BYTES = 96 * 1000**2
TEMPLATE = Template.sparse(SEGMENT_BYTES // 4 - 256)
SMALL_BYTES = 100 * 1000**2
LARGE_BYTES = 100 * 1000**3
CONFIG = LogConfig(segment_bytes=SEGMENT_BYTES, flush_bytes=10**9)
TRANSACTIONS = 40
FLUSHED_TRANSACTIONS = 15
TAIL_TIME_MS = 2 * FIRST_TIME_MS

OPENS_PER_LOOK = 12
BYTES_PER_LOOK = 96 * 1024 + SEGMENT_BYTES // 4096 * 20
"""A look into a segment: the head and the end of its `.source`, a page of its `.log`, and its indexes whole."""


class NotingFiles(CountingFiles):
    """Counts, and notes which files were opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened_names: list[str] = []

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        self.opened_names.append(path.name)
        return super().open(path, create=create, write=write)

    def forget(self) -> None:
        """Count from here on."""
        self.calls = Counter()
        self.read_bytes = 0
        self.opened_names = []

    @property
    def opened_segments(self) -> set[str]:
        return {name.partition(".")[0] for name in self.opened_names if name[0].isdigit()}


@dataclass
class Opened:
    """A log that was made, ended in some way, and opened again."""

    log: SegmentLog
    files: NotingFiles
    boot_id: str
    batch_count: int
    """Of the closed segments, which lie before the tail."""
    segment_count: int
    tail: list[Sample]

    def reopen(self) -> None:
        """Have a log again that has not been looked into."""
        self.log.release()
        self.files = NotingFiles()
        self.log = open_log(self.log.directory, CONFIG, boot_id=self.boot_id, files=self.files)
        self.files.forget()

    def first_cost(self, ask: Callable[[SegmentLog], object]) -> dict[str, int]:
        """What the first question makes the system do."""
        self.reopen()
        ask(self.log)
        return self.spent()

    def spent(self) -> dict[str, int]:
        return {**self.files.calls, "read_bytes": self.files.read_bytes, "segments": len(self.files.opened_segments)}


def end_orderly(log: SegmentLog) -> str:
    asyncio.run(log.close())
    return "boot-1"


def kill(log: SegmentLog) -> str:
    log.append(encode_batch(log.end_offset, [b"of a transaction that goes on"], [TAIL_TIME_MS]))
    log.release()
    return "boot-1"


def lose_power(log: SegmentLog) -> str:
    kill(log)
    return "boot-2"


ENDINGS = [end_orderly, kill, lose_power]


Histories = dict[int, "History"]


@dataclass(frozen=True)
class History:
    """A log of closed segments, which nothing changes, and the state in which it ended."""

    directory: Path
    batch_count: int
    state: bytes

    def restore(self) -> None:
        """Have nothing behind the closed segments, as at first."""
        for path in self.directory.iterdir():
            if path.stem.isdigit() and int(path.stem) >= self.batch_count:
                path.unlink()
        state_path(self.directory).write_bytes(self.state)


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Histories]:
    """The closed segments of both logs, by their bytes; thousands of files, so they are made once and not kept."""
    folder = tmp_path_factory.mktemp("histories")
    made = {}
    for log_bytes in (SMALL_BYTES, LARGE_BYTES):
        directory, batch_count = folder / str(log_bytes), -(-log_bytes // TEMPLATE.size_bytes)
        appended_ms = ManualClock().now_ms() - 1000
        write_closed_segments(directory, TEMPLATE, batch_count, SEGMENT_BYTES, append_ms=appended_ms)
        made[log_bytes] = History(directory, batch_count, state_path(directory).read_bytes())
    yield made
    shutil.rmtree(folder)


def opened(history: History, end: Callable[[SegmentLog], str]) -> Opened:
    """A log with a tail behind its history, the end of which is not flushed, opened again after `end`."""
    history.restore()
    directory, batch_count = history.directory, history.batch_count
    log = open_log(directory, CONFIG)
    assert (log.high_watermark, log.notes) == (batch_count, ())
    tail = []
    for number in range(TRANSACTIONS):
        offset, time_ms, values = log.end_offset, TAIL_TIME_MS + number * STEP_MS, [b"%04d" % number * 300] * 3
        log.append(encode_batch(offset, values, [time_ms] * 3))
        log.commit([position(number + 1)])
        tail += [Sample(offset + index, time_ms, value) for index, value in enumerate(values)]
        if number == FLUSHED_TRANSACTIONS:
            log.flush()
    boot_id = end(log)
    segment_count = len(list(directory.glob("*.source")))
    files = NotingFiles()
    log = open_log(directory, CONFIG, boot_id=boot_id, files=files)
    return Opened(log, files, boot_id, batch_count, segment_count, tail)


def both(histories: Histories, end: Callable[[SegmentLog], str]) -> tuple[Opened, Opened]:
    small, large = (opened(histories[log_bytes], end) for log_bytes in (SMALL_BYTES, LARGE_BYTES))
    assert small.segment_count == 3
    assert large.segment_count > LARGE_BYTES / SEGMENT_BYTES
    return small, large


@pytest.mark.parametrize("end", ENDINGS)
def test_opening_a_thousand_times_as_much_reads_no_more_bytes_and_opens_no_more_files(
    histories: Histories, end: Callable[[SegmentLog], str]
) -> None:
    small, large = both(histories, end)
    assert large.spent() == small.spent()
    assert large.files.calls["open"] > 0
    assert large.files.read_bytes < 200 * 1024
    for made in (small, large):
        assert read_all(made.log, offset=made.batch_count) == made.tail
        assert made.log.log_start_offset == 0


@pytest.mark.parametrize("end", ENDINGS)
def test_what_is_asked_first_costs_no_more_of_a_larger_log(
    histories: Histories, end: Callable[[SegmentLog], str]
) -> None:
    small, large = both(histories, end)
    for what, ask in FIRST_QUESTIONS.items():
        cost = large.first_cost(ask)
        assert cost == small.first_cost(ask), what
        assert cost["segments"] <= 1, what


FIRST_QUESTIONS: dict[str, Callable[[SegmentLog], object]] = {
    "the newest records": lambda log: log.read(log.high_watermark - 1, 1 << 20),
    "the oldest records": lambda log: log.read(0, 1 << 20),
    "the oldest time": lambda log: log.log_start_timestamp_ms,
    "the newest time": lambda log: log.last_timestamp_ms,
    "the source's position": lambda log: log.recovered,
    "what has had its time": lambda log: log.retire(),
}


@dataclass
class IdleChannel:
    """A channel of capture that does nothing."""

    state: str = "Not Started"
    reason: str | None = None
    retried_until_ms: int | None = None
    position: str | None = None
    source_time_ms: int | None = None
    behind: bool = True
    silent_ms: int | None = None
    records: int = 0
    transactions: int = 0
    reconnects: int = 0
    objects: tuple[str, ...] = ()
    refused_objects: str | None = None
    prechecked: None = None
    whitelist_addresses: tuple[str, ...] = ()
    is_running: bool = False
    ended: bool = False
    progress: None = None

    async def take_objects(self, objects: tuple[str, ...], data_types: frozenset[str] | None = None) -> None: ...

    async def take_source(self, address: object) -> None: ...

    async def withdraw_objects(self, objects: tuple[str, ...], data_types: frozenset[str] | None = None) -> None: ...

    async def start(self) -> None: ...

    async def try_again(self) -> None: ...

    async def stop(self) -> None: ...

    async def end(self) -> None: ...

    def status(self) -> IdleChannel:
        return self

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        return callback


async def nothing_to_check() -> list[PrecheckItem]:
    return []


def status(log: SegmentLog) -> ChannelView:
    """What `binwire status` asks of a channel that no group was made for."""
    served = ServedChannel("shop", "shop", "mysql://", IdleChannel(), log, nothing_to_check, ManualClock())
    return served.view(Consumption(OffsetStore.__new__(OffsetStore), ManualClock()), {})


@pytest.mark.parametrize("end", ENDINGS)
def test_the_first_status_costs_no_more_of_a_larger_log(histories: Histories, end: Callable[[SegmentLog], str]) -> None:
    small, large = both(histories, end)
    cost = large.first_cost(status)
    assert cost == small.first_cost(status)
    assert cost["segments"] == 2
    view = status(large.log)
    assert (view.start_timestamp_ms, view.end_timestamp_ms) == (first_ms(0), large.tail[-1].timestamp_ms)


def test_retention_by_bytes_opens_no_file_to_see_how_much_there_is(
    histories: Histories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CONFIG", replace(CONFIG, retention_bytes=10**15))
    small, large = both(histories, kill)
    cost = large.first_cost(lambda log: log.retire())
    assert cost == small.first_cost(lambda log: log.retire())
    assert cost["segments"] <= 1
    assert large.log.log_start_offset == 0


def test_a_look_at_all_segments_keeps_none_of_them_open(histories: Histories) -> None:
    """As where the clock was set back behind the time of all that was appended."""
    large = opened(histories[LARGE_BYTES], kill)
    large.reopen()
    for segment in large.log._segments.ordered:
        assert segment.visible.size_bytes
    assert len(large.files.open_paths) < 20


def test_what_a_log_takes_of_its_disk_is_seen_without_looking_into_all_of_it(histories: Histories) -> None:
    """That is a listing and a `stat` per file, on a thread; opened are the newest segments only."""
    large = opened(histories[LARGE_BYTES], kill)
    cost = large.first_cost(lambda log: log.measure_disk()())
    assert large.log.disk is not None
    assert cost["segments"] <= HISTORY_SEGMENTS_MAX < large.segment_count / 10
    assert cost["open"] <= HISTORY_SEGMENTS_MAX


def test_the_first_lookup_of_a_time_looks_into_as_many_segments_as_the_logarithm_says(histories: Histories) -> None:
    """It halves the segments until one is left, and reads in that one: of 1,000 it looks into 10."""
    large = opened(histories[LARGE_BYTES], kill)
    looks_max = large.segment_count.bit_length()
    for batch in (0, 1, large.batch_count // 3, large.batch_count - 1):
        cost = large.first_cost(partial(SegmentLog.offset_for_timestamp, timestamp_ms=first_ms(batch)))
        assert large.log.offset_for_timestamp(first_ms(batch)) == (batch, first_ms(batch))
        assert 0 < cost["segments"] <= looks_max
        assert cost["open"] <= OPENS_PER_LOOK * looks_max
        assert cost["read_bytes"] <= BYTES_PER_LOOK * looks_max + TEMPLATE.size_bytes


def test_a_synthetic_log_verifies(tmp_path: Path) -> None:
    """Else the counts above would be those of a log that no store has written."""
    for name, template in (("sparse", Template.sparse(200_000)), ("dense", Template.dense(100))):
        end_offset = write_closed_segments(tmp_path / name, template, 50, 1 << 20)
        log = open_log(tmp_path / name)
        assert log.high_watermark == end_offset
        found = log.offset_for_timestamp(first_ms(30))
        assert found == (30 if name == "sparse" else 30 * 100 - 50, first_ms(30))
        log.release()
        assert verify(tmp_path / name).problems == []
