"""What a retention needs of a disk, and when the disk is full: worked out, and measured of a real log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.config import HOUR_MS, LogConfig
from storage.disk import (
    RATE_WINDOW_MS,
    AppendRate,
    LogDisk,
    needed_bytes,
    seconds_until_full,
    warning,
)
from storage.disk_meter import DiskMeter
from storage.files import Files
from storage.words import shown_bytes
from tests.fakes import ManualClock
from tests.storage.samples import append, open_log, position, small

if TYPE_CHECKING:
    from pathlib import Path

    from storage.segment_log import SegmentLog

NOW_MS = 1_700_000_000_000
MIB, GIB = 1 << 20, 1 << 30
DAY_S = 86_400


def disk(rate: float, used: int, needed: int | None, free: int = 10 * GIB) -> LogDisk:
    return LogDisk(1, free, used, needed, rate)


def test_the_rate_is_that_of_the_last_hour() -> None:
    rate = AppendRate()
    assert rate.per_second() == 0
    for second in range(0, 7200, 10):
        rate.note(NOW_MS + second * 1000, min(second, 3600) * 5000)
    assert rate.per_second() == pytest.approx(0, abs=20)
    rate.note(NOW_MS + 7200_000, 3600 * 5000 + 3600 * 100)
    assert rate.per_second() == pytest.approx(100, rel=0.01)


def test_the_first_second_says_little() -> None:
    rate = AppendRate([(NOW_MS, 0)])
    rate.note(NOW_MS + 1000, 6000)
    assert rate.per_second() == 100


def test_a_clock_that_is_set_back_begins_anew() -> None:
    rate = AppendRate()
    rate.note(NOW_MS, 0)
    rate.note(NOW_MS + 60_000, 10**9)
    rate.note(NOW_MS - HOUR_MS, 10**9 + 1)
    rate.note(NOW_MS - HOUR_MS + 60_000, 10**9 + 6001)
    assert rate.per_second() == 100


@pytest.mark.parametrize(
    ("config", "rate", "needed"),
    [
        (LogConfig(segment_bytes=GIB), 0, 0),
        (LogConfig(segment_bytes=GIB), 10 * MIB, DAY_S * 10 * MIB + GIB),
        (LogConfig(segment_bytes=GIB), 1000, DAY_S * 1000 + 3600 * 1000),
        (LogConfig(segment_bytes=GIB, retention_bytes=5 * GIB), 10 * MIB, 5 * GIB),
        (LogConfig(segment_bytes=GIB, retention_bytes=5 * GIB), 1000, DAY_S * 1000 + 3600 * 1000),
        (LogConfig(segment_bytes=GIB, retention_bytes=100), 10 * MIB, GIB),
        (LogConfig(retention_ms=None), 1000, None),
    ],
)
def test_what_a_retention_needs(config: LogConfig, rate: float, needed: int | None) -> None:
    assert needed_bytes(config, rate) == needed


def test_logs_of_one_disk_fill_it_together() -> None:
    one, other = disk(10, 0, 1000), disk(30, 500, 6500)
    assert seconds_until_full([one, other], 7000) is None
    assert seconds_until_full([one, other], 400) == 10
    assert seconds_until_full([one, other], 4000) == 100
    assert seconds_until_full([one, other], 4000 + 300) == 110
    assert seconds_until_full([disk(10, 2000, 1000)], 0) is None, "what it holds goes before it needs more"
    assert seconds_until_full([disk(0, 0, 0)], 0) is None
    assert seconds_until_full([disk(10, 0, None)], 1000) == 100


@example(logs=[(2, 145), (3, 2), (9, 66)], free=212)
@example(logs=[(2, 144), (3, 2), (9, 66)], free=212)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2000)), min_size=1, max_size=5), st.integers(0, 5000))
def test_when_it_is_full_is_what_a_second_by_second_run_finds(logs: list[tuple[int, int]], free: int) -> None:
    left, second = [growth for _, growth in logs], 0
    while free >= 0 and any(rate and remaining > 0 for (rate, _), remaining in zip(logs, left, strict=True)):
        grown = [min(rate, max(0, remaining)) for (rate, _), remaining in zip(logs, left, strict=True)]
        if sum(grown) > free:
            break
        free, left = free - sum(grown), [have - more for have, more in zip(left, grown, strict=True)]
        second += 1
    else:
        second = -1
    found = seconds_until_full([disk(rate, 0, growth) for rate, growth in logs], initial_free(logs, free, left))
    if second < 0:
        assert found is None
    else:
        assert found is not None
        assert second - 1e-6 <= found <= second + 1 + 1e-6


def initial_free(logs: list[tuple[int, int]], free: int, left: list[int]) -> int:
    """What was free before the run took what it took."""
    return free + sum(growth - remaining for (_, growth), remaining in zip(logs, left, strict=True))


def test_the_warning_says_when_how_much_and_what_to_do() -> None:
    logs = [disk(100 * 1024, GIB, 9 * GIB, free=2 * GIB), disk(1024 * 1024, GIB, 90 * GIB, free=2 * GIB)]
    assert warning(logs, "/data/topics", NOW_MS, is_standing=False) == (
        "the disk of /data/topics will be full about 2023-11-14 22:44 UTC (in 31 minutes) at the current rate of 1.1 "
        "MiB/s: retention needs 99.0 GiB, 2.0 GiB are used and 2.0 GiB free; make room, or lower retention or "
        "retention_size"
    )


def test_a_disk_that_is_full_is_said_to_be() -> None:
    told = warning([disk(1000, 0, GIB, free=0)], "/data", NOW_MS, is_standing=True)
    assert (told or "").startswith(
        "the disk of /data is full at the current rate of 1.0 KiB/s: retention needs 1.0 GiB,"
    )


def test_a_warning_is_over_with_some_room_more_than_needed() -> None:
    def at(free: int, *, is_standing: bool) -> bool:
        return warning([disk(1000, 0, 1000 * MIB, free)], "/", NOW_MS, is_standing=is_standing) is not None

    assert at(999 * MIB, is_standing=False)
    assert not at(1001 * MIB, is_standing=False)
    assert at(1050 * MIB, is_standing=True)
    assert not at(1110 * MIB, is_standing=True)


def test_what_is_kept_for_ever_is_warned_of_a_day_before() -> None:
    def at(rate: float) -> str | None:
        return warning([disk(rate, 5, None, GIB)], "/", NOW_MS, is_standing=False)

    assert at(GIB / DAY_S * 0.9) is None
    assert "nothing bounds what is kept" in (at(GIB / DAY_S * 1.1) or "")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1536, "1.5 KiB"), (200 * 1024, "200 KiB"), (3 * GIB, "3.0 GiB")],
)
def test_sizes_are_shown_with_the_unit_that_fits(size: int, text: str) -> None:
    assert shown_bytes(size) == text


# ---- measured ----


def grown(log: SegmentLog, clock: ManualClock, seconds: int, first_number: int) -> int:
    """Append 1,000 bytes of payload a second; returns the next number."""
    for number in range(first_number, first_number + seconds):
        append(log, os.urandom(1000))
        log.commit([position(number)])
        clock.advance(1000)
    return first_number + seconds


def test_a_log_tells_what_it_takes_and_how_fast_it_grows(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_bytes=50_000, retention_ms=HOUR_MS), clock=clock)
    log.measure_disk()()
    grown(log, clock, 600, 1)
    append(log, b"rolled back" * 1000)
    log.rollback()
    log.measure_disk()()
    found = log.disk
    assert found is not None
    assert found.bytes_per_s == pytest.approx(1100, rel=0.05)
    assert found.needed_bytes == pytest.approx(1100 * 3600 + 50_000, rel=0.05)
    used = sum(path.stat().st_blocks * 512 for path in (tmp_path / "log").iterdir())
    assert found.used_bytes == used
    assert found.device == tmp_path.stat().st_dev


def test_after_a_restart_the_rate_is_that_of_what_is_stored(tmp_path: Path) -> None:
    clock = ManualClock()
    config = small(segment_bytes=100_000, retention_ms=HOUR_MS)
    log = open_log(tmp_path / "log", config, clock=clock)
    grown(log, clock, 3000, 1)
    again = open_log(tmp_path / "log", config, clock=clock)
    again.measure_disk()()
    assert again.disk is not None
    assert again.disk.bytes_per_s == pytest.approx(1100, rel=0.1)
    grown(again, clock, 100, 3001)
    again.measure_disk()()
    assert again.disk.bytes_per_s == pytest.approx(1100, rel=0.1)
    clock.advance(2 * RATE_WINDOW_MS)
    again.measure_disk()()
    assert again.disk.bytes_per_s < 600, "it was silent since"


class NoSpaceTold(Files):
    def space(self, directory: Path) -> tuple[int, int]:
        raise PermissionError(13, "Permission denied")


async def test_a_disk_that_may_not_be_looked_at_ends_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(flush_interval_ms=1), files=NoSpaceTold())
    log.start()
    append(log, b"value")
    log.commit([position(1)])
    await log.upkeep.turn()
    assert log.disk is None
    await log.close()


async def test_the_task_looks_at_once(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(flush_interval_ms=1))
    log.start()
    append(log, b"value")
    log.commit([position(1)])
    while log.disk is None:
        await log.upkeep.turn()
    await log.close()


def test_files_that_go_while_it_looks_are_left_out(tmp_path: Path) -> None:
    class Going(Files):
        def occupied_bytes(self, path: Path) -> int:
            path.unlink()
            return super().occupied_bytes(path)

    (tmp_path / "0.log").write_bytes(b"x")
    meter = DiskMeter(Going(), tmp_path, LogConfig())
    meter.measure(NOW_MS, 0)
    assert meter.latest is not None
    assert meter.latest.used_bytes == 0
