"""Warnings about disks: told once when they begin, once when they are over, over all logs of a disk."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from broker.disks import LOOK_INTERVAL_MS, DiskWatch
from storage.disk import LogDisk
from tests.fakes import ManualClock

ROOM = LogDisk(device=1, free_bytes=1 << 40, used_bytes=0, needed_bytes=1 << 30, bytes_per_s=1000)
TIGHT = ROOM._replace(free_bytes=1 << 20)


def test_a_warning_is_told_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "binwire.disk")
    clock, disks = ManualClock(), [(Path("/a/topics"), ROOM), (Path("/b/topics"), None)]
    watch = DiskWatch(lambda: disks, clock)
    watch.look()
    assert (watch.warnings(), caplog.messages) == ({}, [])
    disks[0] = (Path("/a/topics"), TIGHT)
    watch.look()
    assert caplog.messages == [], "looked at just now"
    clock.advance(LOOK_INTERVAL_MS)
    for _ in range(3):
        watch.look()
        clock.advance(LOOK_INTERVAL_MS)
    [told] = caplog.messages
    assert told.startswith("the disk of /a/topics will be full about ")
    assert watch.warnings()[1].startswith("the disk of /a/topics will be full about ")
    disks[0] = (Path("/a/topics"), ROOM)
    assert watch.warnings() == {}
    assert caplog.messages[1:] == ["the disk of /a/topics has room again for what retention needs"]


def test_logs_of_one_disk_are_warned_of_together() -> None:
    half = ROOM._replace(free_bytes=(3 << 30) // 2)
    alone = DiskWatch(lambda: [(Path("/a"), half)], ManualClock())
    together = DiskWatch(lambda: [(Path("/a"), half), (Path("/b"), half)], ManualClock())
    apart = DiskWatch(lambda: [(Path("/a"), half), (Path("/b"), half._replace(device=2))], ManualClock())
    assert (alone.warnings(), apart.warnings()) == ({}, {})
    assert list(together.warnings()) == [1]
    assert "retention needs 2.0 GiB" in together.warnings()[1]
