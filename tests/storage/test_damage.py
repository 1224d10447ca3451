"""Bits flipped, files cut, pages lost and files gone, anywhere: no wrong record is served and no offset used again.

Every file of a log is damaged, after a kill, an orderly stop and a loss of power. The log opens correctly or refuses
in one sentence; what is damaged behind its back is refused to its reader in one. Nothing else is ever raised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from storage.errors import StorageError
from storage.records import iter_batches, iter_records
from storage.segment_log import SegmentLog
from storage.state import read_state
from tests.storage.medium import MemoryFiles
from tests.storage.samples import Sample
from tests.storage.story import CONFIG, Driver, History

_ROUNDS = 400
_ROUNDS_LONG = 20_000


def flip(data: bytearray, random: Random) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def cut(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data)) :]


def lose_page(data: bytearray, random: Random) -> None:
    start = random.randrange(len(data)) // 512 * 512
    data[start : start + 512] = bytes(len(data[start : start + 512]))


def lose_end(data: bytearray, random: Random) -> None:
    """As long as it was, but with zeros from somewhere on."""
    start = random.randrange(len(data))
    data[start:] = bytes(len(data) - start)


DAMAGES: tuple[Callable[[bytearray, Random], None], ...] = (flip, flip, cut, lose_page, lose_end)


def record_run(directory: Path, *, is_orderly: bool) -> tuple[dict[str, bytes], History]:
    """A log of several closed segments and an active one, flushed here and there."""
    files, history = MemoryFiles(), History()
    driver = Driver(directory, files, history, CONFIG, boot_id="boot-1", random=Random(5))
    for number in range(14):
        driver.deliver((1, 2, 9, 1)[number % 4], sources=1 + number % 3)
        if number % 5 == 4:
            driver.flush()
    if is_orderly:
        driver.stop_and_start()
    return {name: file.content for name, file in files.files.items()}, history


def read_what_is_served(log: SegmentLog, seen: dict[int, Sample]) -> int:
    """As a consumer that jumps over what it is refused; returns how many records it got."""
    offset, count = log.log_start_offset, 0
    while offset < log.high_watermark:
        try:
            with log.read(offset, 300) as part:
                data = bytes(part.view)
        except StorageError as error:
            require_sentence(error)
            offset += 1
            continue
        if not data:
            break
        for batch in iter_batches(data):
            for record in iter_records(batch):
                expected = seen[record.offset]
                assert (record.timestamp_ms, record.value) == (expected.timestamp_ms, expected.value)
                count += 1
            offset = batch.header.next_offset
    return count


def require_sentence(error: StorageError) -> None:
    """One that a person can read."""
    assert "\n" not in str(error)
    assert len(str(error)) > 40


def damage_again_and_again(directory: Path, rounds: int, *, is_orderly: bool, boot_id: str) -> Counter[str]:
    contents, history = record_run(directory, is_orderly=is_orderly)
    outcomes: Counter[str] = Counter()
    random = Random(f"{is_orderly} {boot_id}")
    names = sorted(contents)
    unknown = set() if is_orderly or boot_id != "boot-1" else looks_unwritten_when_cut(contents)
    for number in range(rounds):
        name = names[number % len(names)]
        damaged = bytearray(contents[name])
        how = random.choice(DAMAGES)
        if damaged and not (how is cut and name in unknown):
            how(damaged, random)
        left = {**contents, name: bytes(damaged)}
        if number % 23 == 0 and name not in unknown:
            del left[name]
        try:
            outcomes[try_damaged(directory, left, history, boot_id)] += 1
        except BaseException as error:
            error.add_note(f"round {number}: {how.__name__} of {name}")
            raise
    return outcomes


def looks_unwritten_when_cut(contents: dict[str, bytes]) -> set[str]:
    """The `.source` files that reach beyond what the state knows: cut short, or gone, they are what a kill may leave.

    Nothing can tell a commit that is gone without a trace from one that never was. (A loss of power leaves a gap.)
    """
    state = read_state(MemoryFiles(contents), Path())
    assert state is not None
    sources = sorted(name for name in contents if name.endswith(".source"))
    ends = [*(int(name[:20]) for name in sources[1:]), state.durable_offset + 1]
    return {name for name, end in zip(sources, ends, strict=True) if end > state.durable_offset}


def try_damaged(directory: Path, contents: dict[str, bytes], history: History, boot_id: str) -> str:
    """Open what is left, read all of it, let the source send again, and read again."""
    high_watermark = history.moments[-1].high_watermark
    seen = dict(history.seen)
    try:
        driver = Driver(
            directory, MemoryFiles(contents), History(history.source), CONFIG, boot_id=boot_id, random=Random(0)
        )
    except StorageError as error:
        require_sentence(error)
        return "refused"
    log = driver.log
    found = read_what_is_served(log, seen)
    for asked in list(seen.values())[::5]:
        try:
            answer = log.offset_for_timestamp(asked.timestamp_ms)
        except StorageError as error:
            require_sentence(error)
            continue
        assert answer is None or answer[0] not in seen or seen[answer[0]].timestamp_ms == answer[1]
    assert log.end_offset >= high_watermark, "an offset that was served would be used again"
    try:
        driver.deliver()
    except StorageError as error:
        require_sentence(error)
        return "opened, and cannot be written"
    return "whole" if found == len(seen) else "less" if found else "empty"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.mkdir()
    return path


CASES = [(False, "boot-1"), (False, "boot-2"), (True, "boot-1"), (True, "boot-2")]


@pytest.mark.parametrize(("is_orderly", "boot_id"), CASES)
def test_damage_of_a_log_is_refused_or_cut_and_never_served(directory: Path, is_orderly: bool, boot_id: str) -> None:
    outcomes = damage_again_and_again(directory, _ROUNDS, is_orderly=is_orderly, boot_id=boot_id)
    print(dict(outcomes))
    assert outcomes["whole"] > 10
    assert outcomes["less"] > 5
    assert outcomes["refused"] < _ROUNDS // 10


@pytest.mark.torture
@pytest.mark.parametrize(("is_orderly", "boot_id"), CASES)
def test_more_damage(directory: Path, is_orderly: bool, boot_id: str) -> None:
    print(dict(damage_again_and_again(directory, _ROUNDS_LONG, is_orderly=is_orderly, boot_id=boot_id)))
