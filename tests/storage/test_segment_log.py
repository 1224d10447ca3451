"""The log as capture and broker use it: order, visibility, rolling, reading, looking up times."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.encoding import encode_batch
from storage.errors import CorruptLog, LogWriteError, OffsetOutOfRange
from storage.log import GtidInterval, Log, RecoveredSource, SourcePosition
from storage.records import iter_batches
from storage.segment_log import SegmentLog
from storage.state import begin_at
from tests.fakes import ManualClock
from tests.storage.faults import CountingFiles, FailingFiles
from tests.storage.samples import (
    FIRST_TIME_MS,
    Sample,
    append,
    append_random,
    fill,
    open_log,
    position,
    read_all,
    release_all,
    reopen_copy,
    small,
)


def segment_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.log"))


def as_interface(log: Log) -> Log:
    """For the type checker: the segment log is a `Log`."""
    return log


def test_a_new_log_is_empty(tmp_path: Path) -> None:
    log = as_interface(open_log(tmp_path / "log"))
    assert (log.log_start_offset, log.high_watermark, log.end_offset) == (0, 0, 0)
    assert log.recovered is None
    assert log.last_timestamp_ms is None
    assert log.log_start_timestamp_ms is None
    assert log.offset_for_timestamp(0) is None
    assert len(log.read(0, 100)) == 0


def test_a_log_may_begin_at_any_offset(tmp_path: Path) -> None:
    files, begin = CountingFiles(), 1 << 40
    begin_at(files, tmp_path / "log", begin)
    log = open_log(tmp_path / "log")
    assert (log.log_start_offset, log.high_watermark, log.end_offset) == (begin, begin, begin)
    log.append(encode_batch(begin, [b"first"], [FIRST_TIME_MS]))
    log.commit([position(1)])
    assert read_all(log)[0].offset == begin
    with pytest.raises(OffsetOutOfRange):
        log.read(begin - 1, 1)
    log.release()
    again = open_log(tmp_path / "log")
    assert (again.log_start_offset, again.high_watermark) == (begin, begin + 1)


def test_records_become_visible_with_their_commit(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    wakes: list[int] = []
    log.subscribe(lambda: wakes.append(log.high_watermark))
    records = append(log, b"begin", b"row")
    assert (log.high_watermark, log.end_offset) == (0, 2)
    assert read_all(log) == []
    records += append(log, b"commit")
    log.commit([position(1)])
    assert (log.high_watermark, wakes) == (3, [3])
    assert read_all(log) == records
    assert (log.log_start_timestamp_ms, log.last_timestamp_ms) == (FIRST_TIME_MS, FIRST_TIME_MS + 2000)


def test_a_reader_never_sees_a_part_of_a_transaction(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    random = Random(1)
    committed = fill(log, random, 5)
    for _ in range(60):
        append_random(log, random)
        assert read_all(log) == committed
        assert log.offset_for_timestamp(FIRST_TIME_MS + 10**9) is None
        assert log.size_between(0, 10**9) == sum(map(len, read_slices(log)))
    assert len(segment_names(tmp_path / "log")) > 3


def read_slices(log: Log) -> list[bytes]:
    slices = []
    offset = log.log_start_offset
    while offset < log.high_watermark:
        with log.read(offset, 10**9) as part:
            slices.append(bytes(part.view))
        offset = [batch.header.next_offset for batch in iter_batches(slices[-1])][-1]
    return slices


def test_rollback_drops_what_is_uncommitted_also_across_segments(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    records = fill(log, Random(3), 4)
    before = segment_names(tmp_path / "log")
    for _ in range(100):
        append_random(log, Random(4))
    assert len(segment_names(tmp_path / "log")) > len(before)
    log.rollback()
    assert (log.end_offset, segment_names(tmp_path / "log")) == (log.high_watermark, before)
    assert read_all(log) == records
    records += fill(log, Random(5), 30, first_number=5)
    assert read_all(log) == records
    assert read_all(reopen_copy(log)) == records


def test_rollback_of_the_first_transaction_leaves_an_empty_log(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    append(log, b"x" * 3000)
    append(log, b"x" * 3000)
    log.rollback()
    assert (log.end_offset, segment_names(tmp_path / "log")) == (0, [])
    log.attach(lambda: b"later snapshot")
    append(log, b"value")
    log.commit([position(1)])
    assert log.recovered is not None
    assert log.recovered.snapshot == b"later snapshot"


def test_batches_of_one_call_are_written_together(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.append([encode_batch(offset, [b"v%d" % offset], [FIRST_TIME_MS]) for offset in range(50)])
    log.commit([position(1)])
    assert [record.value for record in read_all(log)] == [b"v%d" % offset for offset in range(50)]
    assert read_all(reopen_copy(log)) == read_all(log)


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(encode_batch(1, [b"v"], [0]), id="offset that does not follow"),
        pytest.param(encode_batch(0, [b"v"], [0])[:-1], id="cut batch"),
        pytest.param(encode_batch(0, [b"v"], [0]) + b"\0", id="trailing byte"),
        pytest.param(b"short", id="no header"),
        pytest.param([encode_batch(0, [b"v"], [0]), encode_batch(0, [b"v"], [0])], id="offset used twice"),
        pytest.param([], id="nothing"),
    ],
)
def test_what_is_not_the_next_batch_is_our_bug(tmp_path: Path, batch: bytes | list[bytes]) -> None:
    log = open_log(tmp_path / "log")
    with pytest.raises(ValueError, match="append"):
        log.append(batch)
    assert log.end_offset == 0


def test_reading_outside_the_log_names_the_range(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    append(log, b"a", b"b")
    log.commit([position(1)])
    append(log, b"uncommitted")
    assert len(log.read(2, 100)) == 0
    assert log.size_between(2, 100) == 0
    for offset in (-1, 3):
        with pytest.raises(OffsetOutOfRange, match=f"offset {offset} of topic .* 0 to 2;") as caught:
            log.read(offset, 100)
        assert (caught.value.log_start_offset, caught.value.high_watermark) == (0, 2)
        with pytest.raises(OffsetOutOfRange):
            log.size_between(offset, 100)


def test_limits_of_a_read(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=10**6))
    records = fill(log, Random(6), 60)
    random = Random(7)
    for _ in range(400):
        offset, max_bytes = random.randrange(log.high_watermark), random.randrange(1, 6000)
        with log.read(offset, max_bytes) as part:
            batches = [batch.header for batch in iter_batches(bytes(part.view))]
        assert batches[0].base_offset <= offset < batches[0].next_offset
        size = sum(batch.size_bytes for batch in batches)
        assert size <= max_bytes or len(batches) == 1
        assert log.size_between(offset, max_bytes) == min(max_bytes, sum(map(len, read_from(log, offset))))
        following = batches[-1].next_offset
        if following < log.high_watermark:
            with log.read(following, 1) as after:
                assert size + len(after) > max_bytes, "another whole batch would have fitted"
        with log.read(offset, max_bytes, at_least_one=False) as part:
            assert len(part) == (size if size <= max_bytes else 0)
    assert read_all(log) == records


def read_from(log: Log, offset: int) -> list[bytes]:
    with log.read(offset, 10**9) as part:
        return [bytes(part.view)]


@given(
    times=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=4), min_size=1, max_size=40),
    asked=st.lists(st.integers(-1, 42), min_size=1, max_size=8),
    uncommitted=st.integers(0, 3),
)
@settings(max_examples=120)
def test_time_lookup_is_right_though_time_goes_backwards(
    tmp_path_factory: pytest.TempPathFactory, times: list[list[int]], asked: list[int], uncommitted: int
) -> None:
    log = open_log(tmp_path_factory.mktemp("log"), small(segment_bytes=600, index_interval_bytes=100))
    records: list[Sample] = []
    for number, batch_times in enumerate(times):
        batch = append(log, *(b"value" for _ in batch_times), timestamps_ms=batch_times)
        if number < len(times) - uncommitted:
            log.commit([position(number)])
            records += batch
    for opened in (log, reopen_copy(log)):
        for time_ms in asked:
            expected = next(((r.offset, r.timestamp_ms) for r in records if r.timestamp_ms >= time_ms), None)
            assert opened.offset_for_timestamp(time_ms) == expected
    release_all()


def test_time_lookup_when_deleted_segments_had_later_times(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_bytes=500, retention_ms=1000), clock=clock)
    append(log, b"x" * 400, timestamps_ms=[FIRST_TIME_MS + 10**6])
    log.commit([position(1)])
    clock.advance(5000)
    records = []
    for number, time_ms in enumerate((30, 10, 20, 40), 2):
        records += append(log, b"x" * 400, timestamps_ms=[FIRST_TIME_MS + time_ms])
        log.commit([position(number)])
    log.flush()
    log.delete(log.retire())
    assert log.log_start_offset == 1
    for asked, expected in ((0, 0), (31, 3), (30, 0), (41, None)):
        found = log.offset_for_timestamp(FIRST_TIME_MS + asked)
        assert found == (None if expected is None else (records[expected].offset, records[expected].timestamp_ms))


def test_everything_before_the_newest_segment_can_be_expired(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    for number in range(1, 4):
        records = append(log, b"x" * 100)
        log.commit([position(number)])
        log.roll()
    log.flush()
    log.expire()
    assert (log.log_start_offset, log.high_watermark) == (2, 3)
    log.delete(log.retire())
    assert len(list((tmp_path / "log").glob("*.log"))) == 1
    with pytest.raises(OffsetOutOfRange):
        log.read(1, 1)
    assert log.read(2, 1000).view.nbytes > len(records[0].value or b"")
    log.expire()
    assert log.log_start_offset == 2


def test_a_segment_is_closed_by_bytes_by_age_and_on_demand(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_ms=60_000), clock=clock)
    snapshots = iter([b"first", b"by age", b"on demand", b"by bytes"])
    log.attach(lambda: next(snapshots))
    seen = []

    def write(size: int) -> None:
        append(log, b"x" * size)
        log.commit([position(log.end_offset)])
        assert log.recovered is not None
        seen.append(log.recovered.snapshot)

    write(10)
    write(10)
    clock.advance(60_000)
    write(10)
    log.roll()
    write(10)
    write(3800)
    write(100)
    assert seen == [b"first", b"first", b"by age", b"on demand", b"on demand", b"by bytes"]
    assert segment_names(tmp_path / "log") == [f"{base:020d}.log" for base in (0, 2, 3, 5)]


def test_a_batch_larger_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    records = append(log, b"small") + append(log, b"x" * 20_000) + append(log, b"small")
    log.commit([position(1)])
    assert read_all(log) == records
    assert len(log.read(1, 100)) > 20_000
    assert read_all(reopen_copy(log)) == records
    assert segment_names(tmp_path / "log") == [f"{base:020d}.log" for base in (0, 1, 2)]


async def test_an_orderly_stop_trims_and_the_next_start_goes_on(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    records = fill(log, Random(8), 3)
    append(log, b"uncommitted")
    size = sum(map(len, read_slices(log)))
    await log.close()
    assert sum(path.stat().st_size for path in (tmp_path / "log").glob("*.log")) == size
    again = open_log(tmp_path / "log", boot_id="another boot")
    assert read_all(again) == records
    assert again.end_offset == len(records), "after an orderly stop no offset is skipped, whatever the boot"
    records += fill(again, Random(9), 3, first_number=4)
    assert read_all(again) == records


@pytest.mark.parametrize("kept_entries", [0, 1, 5])
async def test_positions_that_vanish_after_an_orderly_stop_are_missed(tmp_path: Path, kept_entries: int) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=10**6))
    records = fill(log, Random(17), 8)
    await log.close()
    source = next((tmp_path / "log").glob("*.source"))
    head = source.stat().st_size - 8 * 144
    source.write_bytes(source.read_bytes()[: head + kept_entries * 144])
    again = open_log(tmp_path / "log", log.config)
    assert again.end_offset == len(records), "no offset that was served is used again"
    assert read_all(again) == records[: len(read_all(again))]
    assert len(again.notes) == 1
    assert (again.recovered.position if again.recovered else 1000) == 1000 + kept_entries


def test_subscribers_may_come_and_go_while_they_are_called(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    calls: list[str] = []

    def once() -> None:
        calls.append("once")
        end_once()
        log.subscribe(lambda: calls.append("late"))

    end_once = log.subscribe(once)
    log.subscribe(lambda: calls.append("always"))
    for number in range(2):
        append(log, b"value")
        log.commit([position(number + 1)])
    assert calls == ["once", "always", "always", "late"]
    end_once()


def test_a_position_without_records_moves_the_resume_point_only(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.commit([SourcePosition(1, 500)])
    assert log.recovered is None
    assert segment_names(tmp_path / "log") == []
    append(log, b"value")
    log.commit([position(1)])
    wakes: list[None] = []
    log.subscribe(lambda: wakes.append(None))
    log.commit([SourcePosition(2, 7777)])
    assert wakes == []
    for opened in (log, reopen_copy(log)):
        assert opened.recovered is not None
        assert (opened.recovered.file_number, opened.recovered.position) == (2, 7777)
        assert opened.high_watermark == 1


def test_recovered_source_is_snapshot_and_what_came_after(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", snapshot=b"uuid and set")
    one, other = b"source-1" * 2, b"source-2" * 2
    append(log, b"value", timestamps_ms=[FIRST_TIME_MS])
    log.commit(
        [
            SourcePosition(3, 100, GtidInterval(one, 11, 11)),
            SourcePosition(3, 200, GtidInterval(one, 12, 12)),
            SourcePosition(3, 300, GtidInterval(other, 5, 5)),
        ]
    )
    append(log, b"value", b"older", timestamps_ms=[FIRST_TIME_MS + 9, FIRST_TIME_MS + 3])
    log.commit([SourcePosition(3, 400, GtidInterval(one, 13, 13)), SourcePosition(4, 44)])
    expected = RecoveredSource(
        b"uuid and set", 4, 44, (GtidInterval(other, 5, 5), GtidInterval(one, 11, 13)), FIRST_TIME_MS + 3
    )
    assert log.recovered == expected
    assert reopen_copy(log).recovered == expected


def test_a_commit_needs_a_position(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    append(log, b"value")
    with pytest.raises(ValueError, match="position of at least one transaction"):
        log.commit([])


@pytest.mark.parametrize("call", ["write", "create", "truncate"])
def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path, call: str) -> None:
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files)
    records = fill(log, Random(10), 2)
    attempts = 0
    random = Random(11)
    for number in range(3, 40):
        batch = append_until_refused(log, files, call, random)
        attempts += log.end_offset == batch[0].offset
        if log.end_offset == batch[0].offset:
            assert read_all(log) == records
            log.append(encode_batch(log.end_offset, [r.value for r in batch], [r.timestamp_ms for r in batch]))
        records += batch
        log.commit([position(number)])
    assert attempts > 3
    assert read_all(log) == records
    assert read_all(reopen_copy(log)) == records


def test_the_error_of_a_full_disk_names_the_cause(tmp_path: Path) -> None:
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files)
    fill(log, Random(10), 1)
    files.failing = {"write"}
    with pytest.raises(LogWriteError, match=r"log of topic cn_\S+ could not be appended to \(No space left") as caught:
        append(log, b"value")
    assert caught.value.errno == errno.ENOSPC
    assert f"{log.directory}); make room on its disk, or lower retention" in str(caught.value)


class LaterTruncatesFail(CountingFiles):
    """Lets `spared` calls of `truncate` through."""

    def __init__(self, spared: int) -> None:
        super().__init__()
        self.spared = spared

    def truncate(self, descriptor: int, size: int) -> None:
        if not self.spared:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.spared -= 1
        super().truncate(descriptor, size)


@pytest.mark.parametrize("spared", range(7))
def test_a_log_that_cannot_be_reopened_leaves_nothing_open(tmp_path: Path, spared: int) -> None:
    """Reopening the active segment cuts and extends its four files in seven calls; any of them may be refused."""
    log = open_log(tmp_path / "log")
    records = fill(log, Random(10), 5)
    files = LaterTruncatesFail(spared)
    with pytest.raises(LogWriteError, match="could not be opened"):
        reopen_copy(log, files=files)
    assert files.open_paths == {}
    assert read_all(reopen_copy(log, files=LaterTruncatesFail(7))) == records


class FailingIndexFiles(FailingFiles):
    """Refuses to create one file of a segment, and nothing else."""

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        if create and self.failing == {path.suffix}:
            raise OSError(self.number, os.strerror(self.number))
        return super().open(path, create=create, write=write)


@pytest.mark.parametrize("refused", ["unlink", ".index", ".timeindex", ".tmp"])
def test_nothing_of_a_dropped_transaction_is_left_when_the_system_refused_on_the_way(
    refused: str, tmp_path: Path
) -> None:
    """The log goes on beyond the segments of the dropped transaction, and the next start must find none of them."""
    files = FailingIndexFiles()
    config = small(segment_bytes=2000)
    log = open_log(tmp_path / "t-0", config, files=files)
    records = append(log, b"kept")
    log.commit([position(1)])
    while len(segment_names(log.directory)) < 3:
        append(log, b"dropped" * 60)
    files.failing = {refused}
    if refused != "unlink":
        with pytest.raises(LogWriteError):
            append_another_segment(log)
    else:
        with pytest.raises(LogWriteError):
            log.rollback()
    files.failing = set()
    log.rollback()
    for number in range(2, 40):
        records += append(log, b"kept" * 30)
        log.commit([position(number)])
    log.flush()
    for each in (log, reopen_copy(log)):
        assert [read_all(each, 1, record.offset)[0] for record in records] == records


def append_another_segment(log: SegmentLog) -> None:
    for _ in range(6):
        append(log, b"dropped" * 60)


def append_until_refused(log: Log, files: FailingFiles, call: str, random: Random) -> list[Sample]:
    """Try one batch while `call` fails; whether it was taken shows in the end offset."""
    files.failing = {call}
    first = log.end_offset
    values = [random.randbytes(150) for _ in range(3)]
    batch = [Sample(first + i, FIRST_TIME_MS, value) for i, value in enumerate(values)]
    with suppress(LogWriteError):
        log.append(encode_batch(first, values, [FIRST_TIME_MS] * 3))
    files.failing = set()
    return batch


def test_a_commit_that_is_refused_publishes_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files)
    records = append(log, b"first")
    log.commit([position(1)])
    records += append(log, b"second")
    files.failing = {"write"}
    with pytest.raises(LogWriteError, match="could not be committed to"):
        log.commit([position(2), SourcePosition(1, 1003, GtidInterval(b"other", 1, 1))])
    assert log.high_watermark == 1
    assert reopen_copy(log).high_watermark == 1
    files.failing = set()
    log.commit([position(2)])
    assert read_all(log) == records
    assert log.recovered is not None
    assert log.recovered.intervals == (GtidInterval(b"source-uuid-0001", 1, 2),)
    assert reopen_copy(log).recovered == log.recovered


def test_damage_in_the_middle_is_named_with_file_and_position(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=10**5, index_interval_bytes=10**5))
    for number in range(1, 6):
        append(log, b"value")
        log.commit([position(number)])
    size = len(log.read(0, 1))
    path = tmp_path / "log" / f"{0:020d}.log"
    data = bytearray(path.read_bytes())
    data[2 * size + 7] ^= 1
    path.write_bytes(data)
    again = open_log(tmp_path / "log", log.config)
    assert len(again.read(1, 1)) == size
    with pytest.raises(CorruptLog, match=rf"{path}, byte {2 * size}: no record batch begins there"):
        again.read(2, 1)
    assert len(again.read(3, 1)) == size, "behind the next commit everything is there"


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
@pytest.mark.parametrize("how", ["missing", "empty", "zeros", "garbage", "of another log"])
async def test_indexes_that_are_wrong_are_rebuilt(tmp_path: Path, suffix: str, how: str) -> None:
    log = open_log(tmp_path / "log")
    records = fill(log, Random(12), 40)
    other = open_log(tmp_path / "other")
    fill(other, Random(13), 40)
    for closed in (log, other):
        await closed.close()
    for path in (tmp_path / "log").glob(f"*{suffix}"):
        spoil(path, how, sorted((tmp_path / "other").glob(f"*{suffix}"))[-2])
    again = open_log(tmp_path / "log")
    assert read_all(again, max_bytes=900) == records
    for record in records:
        assert again.read(record.offset, 1).view.nbytes
        expected = next(r for r in records if r.timestamp_ms >= record.timestamp_ms)
        assert again.offset_for_timestamp(record.timestamp_ms) == (expected.offset, expected.timestamp_ms)


def spoil(path: Path, how: str, other: Path) -> None:
    size = path.stat().st_size
    if how == "missing":
        path.unlink()
    else:
        contents = {"empty": b"", "zeros": bytes(size), "garbage": Random(14).randbytes(size), "of another log": b""}
        path.write_bytes(other.read_bytes() if how == "of another log" else contents[how])


async def test_opening_reads_no_more_of_a_large_log_than_of_a_small_one(tmp_path: Path) -> None:
    counted = []
    for transactions in (40, 1200):
        directory = tmp_path / str(transactions)
        log = open_log(directory, small(segment_bytes=20_000))
        fill(log, Random(15), transactions)
        for how in ("killed", "orderly"):
            files = CountingFiles()
            opened = open_log(directory, small(segment_bytes=20_000), files=files)
            assert opened.high_watermark == log.high_watermark
            counted.append((how, files.calls["open"], files.calls["map"], files.calls["read"]))
            assert files.read_bytes < 20_000
            await opened.close()
    assert counted[:2] == counted[2:]


def test_a_batch_costs_one_write_of_the_log_and_one_of_the_positions(tmp_path: Path) -> None:
    files = CountingFiles()
    log = open_log(tmp_path / "log", small(segment_bytes=10**6, index_interval_bytes=10**6), files=files)
    append(log, b"value")
    log.commit([position(1)])
    before = files.calls.copy()
    for number in range(2, 12):
        append(log, b"value")
        log.commit([position(number)])
    assert files.calls - before == {"write": 20}


def test_closed_segments_keep_nothing_open_beyond_a_few_mappings(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=300))
    records = fill(log, Random(16), 80)
    log.flush()
    assert read_all(log) == records
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if f"{tmp_path}/log/" in line]
    logs = {line.split()[-1] for line in mapped if line.endswith(".log")}
    assert 0 < len(logs) <= 18 < len(segment_names(tmp_path / "log"))


@pytest.mark.parametrize("setting", [{"segment_bytes": 0}, {"segment_bytes": 1 << 32}, {"reserve_offsets": 0}])
def test_settings_that_cannot_work_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        small(**setting)


def test_a_source_position_that_cannot_be_opened_now_is_a_failure_that_passes(tmp_path: Path) -> None:
    """Out of file descriptors: capture tries again behind a LogWriteError, and stands still behind anything else."""
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files)
    append(log, b"a")
    log.commit([position(1)])
    files.failing, files.number = {"open"}, errno.EMFILE
    with pytest.raises(LogWriteError, match="Too many open files"):
        _ = log.recovered
    files.failing = set()
    assert log.recovered is not None


def test_a_flush_that_fails_for_want_of_file_descriptors_is_taken_back_once_there_are_some(tmp_path: Path) -> None:
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files)
    append(log, b"durable")
    log.commit([position(1)])
    log.flush()
    append(log, b"not durable")
    log.commit([position(2)])
    files.failing, files.number = {"sync", "open"}, errno.EMFILE
    log.flush()
    for _ in range(2):
        with pytest.raises(LogWriteError, match="Too many open files"):
            log.rollback()
    files.failing = set()
    log.rollback()
    assert [record.value for record in read_all(log)] == [b"durable"]
    assert log.recovered is not None
    assert log.recovered.position == position(1).position
    records = append(log, b"again")
    log.commit([position(2)])
    log.flush()
    assert [record.offset for record in records] == [2]
