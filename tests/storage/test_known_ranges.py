"""What many readers ask for is found once: how often the log is walked, and what ends that an answer is known."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from storage.cold import CHUNK_BYTES, SEEN_MS, ColdReads
from storage.errors import LogReadError
from storage.log import NotResident, resident
from storage.segment_bytes import PLACES_MAX, SegmentBytes
from storage.segment_log import SegmentLog
from storage.segments import MAPPED_SEGMENTS_MAX
from tests.fakes import ManualClock
from tests.storage.samples import TOPIC, append, fill, position, small


class Resident:
    """A residency that is told what to say."""

    def __init__(self) -> None:
        self.is_warm = True

    def resident_bytes(self, address: int, start: int, end: int) -> int:
        return end - start if self.is_warm else 0


class Scene:
    """A log of some batches, and how often it was walked."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.residency = ManualClock(), Resident()
        self.cold = ColdReads(residency=self.residency, clock=self.clock)
        config = small(segment_bytes=1 << 20)
        self.log = SegmentLog.open(directory, TOPIC, config, self.clock, boot_id="boot-1", cold=self.cold)
        self.log.attach(lambda: b"snapshot")
        for number in range(10):
            self.commit(number)
        self.walks = 0
        walk = SegmentBytes.walk

        def counted(*arguments, **settings):
            self.walks += 1
            return walk(*arguments, **settings)

        monkeypatch.setattr(SegmentBytes, "walk", counted)

    def commit(self, number: int) -> None:
        append(self.log, bytes([number]) * 100, b"second")
        self.log.commit([position(number)])

    def read(self, offset: int, max_bytes: int = 1 << 16) -> bytes:
        with self.log.read(offset, max_bytes) as part:
            return bytes(part.view)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = Scene(tmp_path / "log", monkeypatch)
    yield made
    made.cold.close()
    made.log.release()


def test_what_was_asked_for_is_found_once_for_all_who_ask_for_it(scene: Scene) -> None:
    first = scene.read(7, 300)
    walked = scene.walks
    assert walked
    assert [scene.read(7, 300) for _ in range(50)] == [first] * 50
    assert scene.walks == walked
    assert scene.read(7, 400) != first
    assert scene.walks > walked


def test_each_reader_has_a_lease_of_its_own(scene: Scene) -> None:
    parts = [scene.log.read(0, 1 << 16) for _ in range(3)]
    data = bytes(parts[0].view)
    parts[0].close()
    assert [bytes(part.view) for part in parts[1:]] == [data, data]


def test_what_is_written_behind_it_belongs_to_the_next_answer(scene: Scene) -> None:
    before = scene.read(0)
    scene.read(0, 300)
    scene.commit(10)
    after = scene.read(0)
    assert after.startswith(before)
    assert len(after) > len(before)
    scene.log.rollback()
    append(scene.log, b"not committed")
    assert scene.read(0) == after


async def test_what_left_memory_is_not_known_any_more(scene: Scene) -> None:
    data = scene.read(0)
    scene.clock.advance(SEEN_MS + 1)
    scene.residency.is_warm = False
    with pytest.raises(NotResident):
        scene.read(0)
    walked = scene.walks
    assert await resident(lambda: scene.read(0)) == data
    assert scene.walks > walked


async def test_damage_that_comes_back_from_the_medium_is_seen(scene: Scene) -> None:
    data = scene.read(0)
    (path,) = scene.log.directory.glob("*.log")
    with path.open("r+b") as file:
        file.seek(len(data) // 2)
        file.write(bytes([data[len(data) // 2] ^ 1]))
    scene.clock.advance(SEEN_MS + 1)
    scene.residency.is_warm = False
    before_damage = await resident(lambda: scene.read(0))
    assert data.startswith(before_damage)
    assert len(before_damage) < len(data)


class PartlyResident(Resident):
    """Nothing is in memory from a place on."""

    def __init__(self) -> None:
        super().__init__()
        self.missing_from: int | None = None

    def resident_bytes(self, address: int, start: int, end: int) -> int:
        if self.missing_from is None:
            return end - start
        return max(min(end, self.missing_from), start) - start


async def test_what_is_read_ahead_for_another_is_looked_at_again(tmp_path: Path) -> None:
    clock, residency = ManualClock(), PartlyResident()
    cold = ColdReads(residency=residency, clock=clock)
    config = small(segment_bytes=1 << 30)
    log = SegmentLog.open(tmp_path / "log", TOPIC, config, clock, boot_id="boot-1", cold=cold)
    log.attach(lambda: b"snapshot")
    for number in range(12):
        append(log, bytes([number]) * (CHUNK_BYTES // 4))
        log.commit([position(number)])
    with log.read(10, CHUNK_BYTES) as known:
        data = bytes(known.view)
    (path,) = log.directory.glob("*.log")
    content = path.read_bytes()
    damaged = content.index(data) + len(data) - 2
    residency.missing_from = (
        2 * CHUNK_BYTES
    )  # the system takes it out, and who reads what is before it has it brought back
    log.read(0, 3 * CHUNK_BYTES // 2).close()
    with path.open("r+b") as file:
        file.seek(damaged)
        file.write(bytes([content[damaged] ^ 1]))
    residency.missing_from = None
    with log.read(10, CHUNK_BYTES) as seen:
        assert data.startswith(bytes(seen.view))
        assert len(seen) < len(data)
    cold.close()
    log.release()


def test_a_file_that_was_cut_is_an_error_for_who_asks_again(scene: Scene) -> None:
    data = scene.read(0)
    (path,) = scene.log.directory.glob("*.log")
    with path.open("r+b") as file:
        file.truncate(len(data) - 1)
    with pytest.raises(LogReadError):
        scene.read(0)


def test_only_so_many_answers_are_kept(scene: Scene) -> None:
    for size in range(2 * PLACES_MAX):
        scene.read(0, size)
    (segment,) = scene.log._segments.ordered
    assert len(segment._log.places._ranges) == PLACES_MAX


def test_a_long_log_is_not_known_for_longer_than_it_is_mapped(tmp_path: Path) -> None:
    cold = ColdReads()
    log = SegmentLog.open(tmp_path / "log", TOPIC, small(), ManualClock(), boot_id="boot-1", cold=cold)
    log.attach(lambda: b"snapshot")
    fill(log, Random(1), 600)
    segments = log._segments.ordered
    assert len(segments) > 2 * MAPPED_SEGMENTS_MAX
    for offset in range(log.log_start_offset, log.high_watermark):
        log.read(offset, 500).close()
    known = [segment for segment in segments if segment._log.places._ranges or segment._log.places._served]
    assert 0 < len(known) <= MAPPED_SEGMENTS_MAX
    cold.close()
    log.release()


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_is_the_same_whether_it_is_known_or_not(tmp_path: Path, seed: int) -> None:
    random, cold = Random(seed), ColdReads(residency=Resident(), clock=ManualClock())
    log = SegmentLog.open(tmp_path / "log", TOPIC, small(), ManualClock(), boot_id="boot-1", cold=cold)
    log.attach(lambda: b"snapshot")
    for first in range(1, 60, 6):
        fill(log, random, 6, first)
        asked = [
            (random.randrange(log.log_start_offset, log.high_watermark + 1), random.choice([0, 1, 150, 900, 5000]))
            for _ in range(40)
        ]
        for offset, max_bytes in asked * 2:
            for at_least_one in (True, False):
                with log.read(offset, max_bytes, at_least_one=at_least_one) as known:
                    for segment in log._segments.ordered:
                        segment._log.places.clear()
                    with log.read(offset, max_bytes, at_least_one=at_least_one) as found:
                        assert bytes(known.view) == bytes(found.view)
    cold.close()
    log.release()
