"""What survives what, with which setting: the promises of the README, one test each.

The disk of these tests (`tests.storage.medium`) keeps after a loss of power what was flushed and nothing else: the
worst that may happen. What may be left in between is tried in `test_crash_states`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from storage.config import LogConfig
from storage.segment_log import SegmentLog
from tests.storage.medium import Medium, MemoryFiles
from tests.storage.samples import Sample, read_all, small
from tests.storage.story import Driver, History


class Machine:
    """A disk, and the runs of a log on it."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self._directory = directory
        self._config: LogConfig = small(segment_bytes=1500, reserve_offsets=100, **settings)
        self._source = History().source
        self._boot = 1
        self._medium = Medium()
        self.run = self._start()

    @property
    def log(self) -> SegmentLog:
        return self.run.log

    def kill(self) -> None:
        """The process ends as by kill -9, and the next one begins."""
        self._end()
        self.run = self._start()

    def lose_power(self) -> None:
        """The machine ends; of what was not flushed nothing is left."""
        self._end()
        self._medium = Medium(self._medium.flushed())
        self._boot += 1
        self.run = self._start()

    def catch_up(self) -> None:
        """Let the source send what the log does not have."""
        while self.run.count < len(self._source):
            self.run.deliver()

    def _end(self) -> None:
        for step in self.run.files.steps:
            self._medium.apply(step)

    def _start(self) -> Driver:
        self._medium = self._medium.clone()
        files, history = MemoryFiles(self._medium.seen()), History(self._source)
        boot_id = f"boot-{self._boot}"
        return Driver(self._directory, files, history, self._config, boot_id=boot_id, random=Random(self._boot))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.mkdir()
    return path


def deliver(machine: Machine, count: int) -> list[Sample]:
    for number in range(count):
        machine.run.deliver(1 + number % 3)
    return read_all(machine.log)


def values(records: list[Sample]) -> list[bytes]:
    return [record.value for record in records]


def test_a_killed_process_loses_nothing_and_repeats_nothing(directory: Path) -> None:
    machine = Machine(directory)
    served = deliver(machine, 20)
    for _ in range(3):
        machine.kill()
        assert machine.log.notes == ()
        assert read_all(machine.log) == served
        served = deliver(machine, 3)


def test_a_loss_of_power_loses_what_was_written_since_the_last_flush_and_nothing_before(directory: Path) -> None:
    machine = Machine(directory)
    flushed = deliver(machine, 10)
    machine.run.flush()
    served = deliver(machine, 10)
    machine.lose_power()
    assert len(machine.log.notes) == 1
    assert read_all(machine.log) == flushed
    machine.catch_up()
    again = [record for record in read_all(machine.log) if record.offset >= served[-1].offset + 1]
    assert values(again) == values(served[len(flushed) :]), "captured again, above every offset that was served"


def test_a_consumer_sees_records_twice_after_a_loss_of_power_and_never_misses_one(directory: Path) -> None:
    machine = Machine(directory)
    deliver(machine, 5)
    machine.run.flush()
    read = deliver(machine, 5)
    machine.lose_power()
    machine.catch_up()
    read += read_all(machine.log, offset=read[-1].offset + 1)
    assert list(dict.fromkeys(values(read))) == values(read_all(machine.log))
    assert len(values(read)) > len(set(values(read)))


def test_before_visible_shows_nothing_that_a_loss_of_power_takes_back(directory: Path) -> None:
    machine = Machine(directory, flush_before_visible=True)
    read = deliver(machine, 10)
    for crash in (machine.lose_power, machine.kill, machine.lose_power):
        crash()
        assert read_all(machine.log) == read
        machine.run.deliver(2)
        read += read_all(machine.log, offset=read[-1].offset + 1)
    assert len(values(read)) == len(set(values(read)))
    assert values(read) == values(read_all(machine.log))


def test_an_orderly_stop_is_durable_and_the_next_start_goes_on_without_a_gap(directory: Path) -> None:
    machine = Machine(directory)
    served = deliver(machine, 10)
    asyncio.run(machine.log.close())
    machine.lose_power()
    assert machine.log.notes == ()
    assert read_all(machine.log) == served
    assert machine.log.end_offset == served[-1].offset + 1


def test_what_was_flushed_after_a_kill_survives_a_loss_of_power(directory: Path) -> None:
    """The killed process had begun the files, and nothing of them was flushed by it."""
    machine = Machine(directory)
    served = deliver(machine, 10)
    machine.kill()
    machine.run.flush()
    machine.lose_power()
    assert read_all(machine.log) == served


@pytest.mark.parametrize(("settings", "survives"), [({"flush_bytes": 400}, True), ({}, False)])
async def test_flush_size_bounds_what_a_loss_of_power_takes(
    directory: Path, monkeypatch: pytest.MonkeyPatch, settings: Any, survives: bool
) -> None:
    """An interval that does not end, and bytes that do: only they begin a flush."""
    machine = Machine(directory, flush_interval_ms=3_600_000, **settings)
    log, flushed = machine.log, asyncio.Event()
    end_flush = log.end_flush

    def note(*ended: Any) -> None:
        end_flush(*ended)
        flushed.set()

    monkeypatch.setattr(log, "end_flush", note)
    log.start()
    deliver(machine, 10)
    if survives:
        await flushed.wait()
    await log.close(orderly=False)
    machine.lose_power()
    assert bool(read_all(machine.log)) is survives
